// Where samples come from: the server that gave this page, or the folder it lies in. Both answer alike.
import {el} from "./dom.js";
import {filter} from "./words.js";

export class Served {
  constructor({token}) { this.token = token; this.writes = true; }

  catalogs() { return this.ask("/api/catalogs"); }
  page(asked) { return this.ask("/api/page", {...asked, descending: asked.descending ? 1 : 0}); }
  stats(id, where) { return this.ask("/api/stats", {id, where}); }
  sample(id, card) { return this.ask("/api/sample", {id, sample: card.id}); }
  story(id, card) { return this.ask("/api/story", {id, sample: card.id}); }

  review(id, card, said) {
    const headers = {"Content-Type": "application/json", "X-Token": this.token};
    return this.ask("/api/review", {}, {method: "POST", headers, body: JSON.stringify({id, sample: card.id, ...said})});
  }

  async bytes(sound) {
    const answer = await fetch(sound.url);
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer.arrayBuffer();
  }

  async ask(path, asked = {}, options = {}) {
    let answer;
    try {
      answer = await fetch(`${path}?${new URLSearchParams(asked)}`, options);
    } catch {
      throw new Error("the server does not answer: is `avcontrol catalog serve` still running?");
    }
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.hint ? `${said.error}. ${said.hint}` : said.error);
    return said;
  }
}

export class Folder {
  constructor(data) { Object.assign(this, {data, writes: false}); }

  async catalogs() { return []; }

  async page({where, sort, descending, start, size}) {
    const wanted = filter(where || "", this.data.columns);
    const rows = this.data.samples.filter(card => wanted(card.values));
    if (sort) rows.sort((a, b) => compare(a.values[sort], b.values[sort], descending));
    return {catalog: this.data.catalog, selection: this.data.catalog, total: rows.length, columns: this.data.columns,
            rows: rows.slice(start, start + size)};
  }

  async stats() {
    if (!this.data.stats) throw new Error("no statistics were written with this page");
    return {...this.data.stats, note: "whatever the filter"};
  }

  async sample(id, card) { return this.kept ??= {}, this.kept[card.script] ??= await run(card.script); }
  async story(id, card) { return {story: (await this.sample(id, card)).story || {}, reviews: []}; }
  async bytes(sound) { return Uint8Array.from(atob(await run(sound.script)), c => c.charCodeAt(0)).buffer; }
}

function compare(a, b, descending) {  // what is missing comes last either way
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  return (a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1);
}

// A page in a folder may not read its neighbours' files, but it may run them: they call this.
globalThis.keep = value => { document.currentScript.kept = value; };

async function run(file) {
  const script = el("script", {src: file});
  await new Promise((done, fail) => {
    script.onload = done;
    script.onerror = () => fail(new Error(`${file} is missing from the folder of this page`));
    document.head.append(script);
  });
  script.remove();
  return script.kept;
}
