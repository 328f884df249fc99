// A page of samples as cards, and where it stands among all of them.
import {el} from "./dom.js";

const SIGNS = {accept: "✓ accepted", reject: "✗ rejected"};

export function cards(rows, open) {
  if (!rows.length) return [el("p", {className: "empty", textContent: "No sample fits this filter."})];
  return rows.map(row => card(row, open));
}

function card(row, open) {
  const name = row.caption || "no caption";
  const node = el("button", {type: "button", className: "card", title: name, onclick: () => open(row)},
    el("img", {src: row.thumb, alt: "reference and target", loading: "lazy", decoding: "async", width: row.shape[0], height: row.shape[1]}),
    el("p", {className: row.caption ? "" : "none", textContent: name}));
  const small = el("p", {className: "small"});
  node.append(small);
  node.dataset.id = row.id;
  node.fill = () => {
    node.className = `card ${row.review || ""}`;
    small.replaceChildren(
      ...(row.review ? [el("span", {className: row.review, textContent: SIGNS[row.review]})] : []),
      ...(row.review_note ? [el("span", {textContent: "✎", title: row.review_note})] : []),
      el("span", {textContent: `${row.seconds.toFixed(1)} s`}),
      ...row.figures.map(([figure, value]) => el("span", {textContent: `${figure} ${value}`})),
      el("code", {textContent: row.id.slice(0, 8)}));
  };
  node.fill();
  return node;
}

export function pager(page, pages, go) {
  const field = el("input", {type: "number", min: 1, max: pages, value: page + 1, aria: {label: "page"},
    onchange: () => go(Math.min(Math.max(Math.round(+field.value) || 1, 1), pages) - 1)});
  const button = (text, label, to) => el("button", {type: "button", textContent: text, title: label, aria: {label},
    disabled: to < 0 || to >= pages || to === page, onclick: () => go(to)});
  return [button("«", "first page", 0), button("‹", "page before", page - 1), field,
          el("span", {textContent: `of ${pages.toLocaleString("en")}`}),
          button("›", "next page", page + 1), button("»", "last page", pages - 1)];
}

export function move(key) {  // the arrow keys between cards; true if it was one
  const all = [...document.querySelectorAll(".card")], here = all.indexOf(document.activeElement);
  if (!all.length || !key.startsWith("Arrow")) return false;
  const across = all.filter(one => one.offsetTop === all[0].offsetTop).length;
  const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across}[key];
  if (here < 0 && (key === "ArrowUp" || key === "ArrowLeft")) return false;
  all[here < 0 ? 0 : Math.min(Math.max(here + by, 0), all.length - 1)].focus();
  return true;
}
