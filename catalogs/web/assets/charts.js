// How the figures are spread: drag over a histogram, or take a value, and it goes into the filter.
import {el, few, svg} from "./dom.js";

export function charts(stats, narrow, can) {  // narrow(condition, column): what to do with a choice, of columns that it can
  const hours = stats.hours >= 1 ? `${few(stats.hours)} hours` : stats.hours >= 1 / 60 ? `${few(60 * stats.hours)} minutes`
    : `${few(3600 * stats.hours)} seconds`;
  const grid = el("div", {className: "charts"},
    ...stats.figures.filter(each => each.max > each.min).map(each => histogram(each, narrow, can)),
    ...stats.values.filter(each => Object.keys(each.counts).length > 1).map(each => values(each, narrow)));
  const same = [...stats.figures.filter(each => each.max === each.min).map(each => [each.column, few(each.min)]),
    ...stats.values.map(each => [each.column, ...Object.keys(each.counts)]).filter(each => each.length === 2)];
  const all = same.map(([name, value]) => `${name} ${value || "(empty)"}`).join(" · ");
  return [el("p", {textContent: `${stats.samples.toLocaleString("en")} samples, ${hours} from `
            + `${stats.sources.toLocaleString("en")} sources${size(stats)}${stats.note ? `, ${stats.note}` : ""}${all ? ` · of all: ${all}` : ""}`}), grid];
}

function size({bytes, bytes_of, files}) {
  if (bytes === undefined) return "";
  const steps = ["B", "kB", "MB", "GB", "TB", "PB"], at = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 5);
  return `, ${bytes_of < files ? "about " : ""}${few(bytes / 1000 ** at)} ${steps[at]} in ${files.toLocaleString("en")} files`;
}

function histogram({column, edges, counts, median, min, max, null: none}, narrow, can) {
  const most = Math.max(...counts), bins = counts.length, at = value => bins * (value - min) / (max - min);
  const chosen = svg("rect", {class: "chosen", y: 0, height: 1, width: 0});
  const picture = svg("svg", {viewBox: `0 0 ${bins} 1`, preserveAspectRatio: "none", role: "img",
      "aria-label": `histogram of ${column}`},
    ...counts.map((count, n) => {
      const bar = svg("rect", {x: n + 0.04, y: 1 - count / most, width: 0.92, height: count / most});
      bar.append(svg("title", {}, `${few(edges[n])} to ${few(edges[n + 1])}: ${count.toLocaleString("en")}`));
      return bar;
    }), svg("line", {x1: at(median), x2: at(median), y1: 0, y2: 1}), chosen);
  let from = null;
  const bin = event => {
    const {left, width} = picture.getBoundingClientRect();
    return Math.min(Math.max(Math.floor((event.clientX - left) / width * bins), 0), bins - 1);
  };
  const mark = event => {
    const [low, high] = [from, bin(event)].sort((a, b) => a - b);
    chosen.setAttribute("x", low);
    chosen.setAttribute("width", high - low + 1);
    return [low, high];
  };
  picture.onpointerenter = () => { picture.style.cursor = can(column) ? "" : "auto"; };
  picture.onpointerdown = event => {
    if (!can(column)) return;
    from = bin(event);
    picture.setPointerCapture(event.pointerId);
    mark(event);
  };
  picture.onpointermove = event => { if (from !== null) mark(event); };
  picture.onpointerup = event => {
    if (from === null) return;
    const [low, high] = mark(event), name = quoted(column);
    from = null;
    const end = high === bins - 1 ? `${name} <= ${max}` : `${name} < ${edges[high + 1]}`;
    narrow(`${name} >= ${edges[low]} AND ${end}`, column);
  };
  const without = none ? `, ${none.toLocaleString("en")} without` : "";
  return el("div", {className: "chart"},
    el("h3", {textContent: column}, el("span", {textContent: `median ${few(median)}${without}`})), picture,
    el("div", {className: "ends"}, el("span", {textContent: few(min)}), el("span", {textContent: few(max)})));
}

function values({column, counts}, narrow) {
  const most = Math.max(...Object.values(counts));
  return el("div", {className: "chart"}, el("h3", {textContent: column}),
    ...Object.entries(counts).slice(0, 6).map(([value, count]) => {
      const button = el("button", {className: "value", type: "button", title: value,
        onclick: () => narrow(`${quoted(column)} = '${value.replaceAll("'", "''")}'`, column)},
        el("span", {textContent: value || "(empty)"}), el("b", {textContent: count.toLocaleString("en")}));
      button.style.setProperty("--share", `${100 * count / most}%`);
      return button;
    }));
}

function quoted(column) { return /^[a-z_]\w*$/i.test(column) ? column : `"${column.replaceAll('"', '""')}"`; }
