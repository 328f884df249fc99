// The page: its state is in the address after the #, so that back, forward and a link to a sample work.
import {byId, el, typing} from "./dom.js";
import {Folder, Served} from "./source.js";
import {charts} from "./charts.js";
import {cards, move, pager} from "./grid.js";
import {Detail} from "./detail.js";
import {narrowed} from "./words.js";

const SIZE = 60;
const data = JSON.parse(byId("data").textContent);
const source = data.static ? new Folder(data) : new Served(data);
const [first, given] = split(data.catalog);
const pins = {};  // the version that a catalog had when it was first seen here
const state = {id: first, where: "", sort: "", descending: false, page: 0, sample: ""};
let shown = {rows: [], columns: [], total: 0, catalog: first}, asked = "", counted = "";
let turning = 0;  // to the first or last sample of a page that is on its way
const detail = new Detail(source, data, by => by === null ? leave() : beside(by), card =>
  document.querySelector(`.card[data-id="${CSS.escape(card.id)}"]`)?.fill());

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function go(changes) {
  Object.assign(state, changes);
  const told = Object.entries(state).filter(([name, value]) => value && !(name === "id" && value === first));
  const hash = new URLSearchParams(told.map(([name, value]) => [name, value === true ? 1 : value])).toString();
  if (hash === location.hash.slice(1)) update();
  else location.hash = hash;  // which updates
}

function read() {
  const told = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, {id: told.get("id") || first, where: told.get("where") || "", sort: told.get("sort") || "",
    descending: told.get("descending") === "1", page: Math.max(parseInt(told.get("page")) || 0, 0), sample: told.get("sample") || ""});
}

async function update() {
  const {id, where, sort, descending, page} = state, question = JSON.stringify([id, where, sort, descending, page]);
  if (question !== asked) {
    asked = question;
    byId("where").value = where;  // not when a sample opens or closes: what is being typed stays
    byId("grid").classList.add("waiting");
    try {
      const found = await source.page({id: pins[id] || id, where, sort, descending, start: page * SIZE, size: SIZE});
      if (asked !== question) return;
      const pages = Math.max(Math.ceil(found.total / SIZE), 1);
      if (page >= pages) return go({page: pages - 1});
      shown = found;
      pins[id] = found.catalog;
      fail("");
      draw(pages);
      if (turning) {
        const ids = shown.rows.map(row => row.id);
        state.sample = (turning > 0 ? ids : ids.reverse()).find(one => one !== state.sample) ?? state.sample;
      }
      turning = 0;
    } catch (error) {
      if (asked === question) fail(error.message);
    }
    byId("grid").classList.remove("waiting");
  }
  if (!byId("stats").hidden) count();
  const others = data.static ? data.samples : [{id: state.sample}];  // a link may lead to one of another page
  const card = state.sample && [...shown.rows, ...others].find(row => row.id === state.sample);
  if (card && detail.card?.id !== card.id) detail.show(shown.catalog, card);
  else if (!card && detail.dialog.open) detail.dialog.close();
}

function draw(pages) {
  const {total, catalog, rows, columns} = shown, whole = data.static && data.total > data.samples.length;
  document.title = shown.selection;
  byId("name").textContent = catalog;
  byId("count").textContent = `${total.toLocaleString("en")} sample${total === 1 ? "" : "s"}`
    + (whole ? ` of the first ${data.samples.length.toLocaleString("en")} of ${data.total.toLocaleString("en")}` : "");
  byId("grid").replaceChildren(...cards(rows, row => go({sample: row.id})));
  byId("pages").hidden = pages < 2;
  byId("pages").replaceChildren(...pager(state.page, pages, page => { go({page}); scrollTo(0, 0); }));
  byId("sort").replaceChildren(el("option", {value: "", textContent: "as built"}),
    ...columns.map(name => el("option", {value: name, textContent: name, selected: name === state.sort})));
  byId("way").textContent = state.descending ? "↓" : "↑";
  byId("way").setAttribute("aria-label", state.descending ? "descending" : "ascending");
}

function fail(message) {
  Object.assign(byId("error"), {textContent: message, hidden: !message});
  byId("where").setAttribute("aria-invalid", Boolean(message));
}

async function count() {
  const {id, where} = state, question = JSON.stringify([id, where]), panel = byId("stats");
  if (question === counted) return;
  counted = question;
  if (!panel.children.length) panel.replaceChildren(el("p", {textContent: "counting …"}));
  try {
    const stats = await source.stats(pins[id] || id, where);
    if (counted === question) panel.replaceChildren(...charts(stats, narrow, column => shown.columns.includes(column)));
  } catch (error) {
    panel.replaceChildren(el("p", {className: "problem", textContent: error.message}));
  }
}

function narrow(condition, column) {  // what was said of the column before no longer counts
  go({where: state.where ? narrowed(state.where, condition, column, Boolean(data.static)) : condition, page: 0});
}

function beside(by) {
  const ids = [...new Set(shown.rows.map(row => row.id))], at = ids.indexOf(state.sample) + by;  // rows may share one
  if (ids[at]) return go({sample: ids[at]});
  const page = state.page + by;
  if (page < 0 || page * SIZE >= shown.total || at < -1) return;
  turning = by;
  go({page});
}

function leave() {
  const id = state.sample;
  if (id) go({sample: ""});
  document.querySelector(`.card[data-id="${CSS.escape(id)}"]`)?.focus();
}

function statistics() {
  const panel = byId("stats");
  panel.hidden = !panel.hidden;
  byId("show-stats").setAttribute("aria-expanded", !panel.hidden);
  if (!panel.hidden) count();
}

byId("filter").onsubmit = event => { event.preventDefault(); go({where: byId("where").value.trim(), page: 0, sample: ""}); };
byId("where").placeholder = data.static ? "words of the caption, or quality > 0.5 AND motion < 0.1"
  : "an SQL condition, e.g. quality > 0.5 AND caption LIKE '%dog%' AND review IS NULL";
byId("sort").onchange = event => go({sort: event.target.value, page: 0});
byId("way").onclick = () => go({descending: !state.descending, page: 0});
byId("show-stats").onclick = statistics;
byId("catalog").onchange = event => go({id: event.target.value, where: "", sort: "", page: 0, sample: ""});
addEventListener("hashchange", () => { read(); update(); });
document.addEventListener("visibilitychange", () => { if (document.hidden) detail.player?.pause(); });
document.addEventListener("keydown", event => {
  const {key} = event;
  if (typing(event) || detail.dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "/") { byId("where").focus(); byId("where").select(); }
  else if (key === "s") statistics();
  else if (key === "PageDown" || key === "PageUp") document.querySelector(`#pages [aria-label="${
    key === "PageDown" ? "next page" : "page before"}"]:enabled`)?.click();
  else if (!move(key)) return;
  event.preventDefault();
});

source.catalogs().then(names => {
  byId("others").hidden = names.length < 2;
  byId("catalog").replaceChildren(...names.map(name => el("option", {value: name, textContent: name,
    selected: name === state.id.split("@")[0]})));
}).catch(error => fail(error.message));
read();
if (given && !data.static && !location.hash) go({where: given});
else update();
