// One sample whole: the pair, what it is, where it came from, and what people say of it.
import {byId, definitions, el, typing} from "./dom.js";
import {Player} from "./player.js";

const KEYS = [["space", "play"], ["← →", "one frame"], [", .", "speed"], ["r t b n", "what is heard"], ["↑ ↓", "other sample"],
  ["Esc", "close"]];

export class Detail {
  constructor(source, data, moved, reviewed) {
    Object.assign(this, {source, gutter: data.gutter, moved, reviewed, player: null, card: null});
    this.dialog = byId("detail");
    this.dialog.addEventListener("close", () => { this.player?.close(); this.player = this.card = null; moved(null); });
    this.dialog.addEventListener("keydown", event => this.key(event));
  }

  async show(id, card) {
    this.card = card;
    this.player?.close();
    this.player = null;
    const name = el("h2", {id: "detail-name", textContent: card.id});
    const known = this.source.writes ? [...KEYS, ["a x u", "accept, reject, undo"]] : KEYS;
    const keys = el("span", {className: "quiet keys"}, ...known.map(([key, what]) =>
      el("span", {}, el("kbd", {textContent: key}), ` ${what}`)));
    const close = el("button", {type: "button", textContent: "Close", onclick: () => this.dialog.close()});
    const sheet = el("div", {className: "sheet"}, el("p", {textContent: "reading …"}));
    this.dialog.replaceChildren(el("div", {className: "line"}, name, keys, close), sheet);
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const sample = await this.source.sample(id, card);
      if (this.card !== card) return;
      if ("review" in sample) {  // of now, and also of a sample that is on another page
        Object.assign(card, {review: sample.review, review_note: sample.review_note});
        this.reviewed(card);
      }
      this.player = new Player(sample, this.source, this.gutter);
      name.textContent = `${sample.id.slice(0, 12)} · ${sample.where}`;
      this.reviews = el("div");
      this.story = el("div");
      sheet.replaceChildren(this.player.element, this.words(sample, id));
      this.player.draw();
      this.player.button.focus();
      const {story, reviews} = await this.source.story(id, card);
      if (this.card !== card) return;
      this.said(reviews);
      this.story.replaceChildren(...told(story));
    } catch (error) {
      if (this.card === card) (this.story?.isConnected ? this.story : sheet).replaceChildren(
        el("p", {className: "problem", textContent: error.message}));
    }
  }

  words(sample, id) {
    return el("aside", {className: "side"},
      el("p", {className: sample.caption ? "caption" : "caption none", textContent: sample.caption || "no caption"}),
      el("div", {className: "figures"}, ...sample.figures.map(([name, value]) =>
        el("span", {textContent: `${name} `}, el("b", {textContent: value})))),
      ...(this.source.writes ? [this.form(id)] : this.stood()),
      el("details", {open: true}, el("summary", {textContent: "Story"}), this.story),
      el("details", {}, el("summary", {textContent: "Every column"}), definitions(sample.provenance)));
  }

  stood() {
    const {review, review_note: note} = this.card;
    return review || note ? [el("p", {className: review || ""}, [review && `${review}ed`, note].filter(Boolean).join(": "))] : [];
  }

  form(id) {
    this.verdicts = ["accept", "reject"].map(verdict => el("button", {type: "button", textContent: verdict,
      className: verdict, onclick: () => this.say({verdict: this.card.review === verdict ? "" : verdict})}));
    this.note = el("input", {placeholder: "note", aria: {label: "note"}, value: this.card.review_note || ""});
    this.error = el("p", {className: "problem", role: "alert", hidden: true});
    this.id = id;
    this.mark();
    return el("form", {className: "review", onsubmit: event => { event.preventDefault(); this.say({note: this.note.value}); }},
      el("div", {className: "line"}, ...this.verdicts), el("div", {className: "line"}, this.note,
        el("button", {textContent: "Save note"})), this.error, this.reviews);
  }

  mark() {
    for (const button of this.verdicts) button.setAttribute("aria-pressed", button.textContent === this.card.review);
  }

  async say(said) {
    const card = this.card;
    try {
      const {review, review_note, reviews} = await this.source.review(this.id, card, said);
      Object.assign(card, {review, review_note});
      this.reviewed(card);
      if (this.card !== card) return;
      this.error.hidden = true;
      this.mark();
      this.said(reviews);
    } catch (error) {
      Object.assign(this.error, {textContent: error.message, hidden: false});
    }
  }

  said(reviews) {
    this.reviews.replaceChildren(...reviews.map(({review, review_note: note, reviewer, reviewed_at: when}) => {
      const verdict = review === "" ? "taken back" : review ? `${review}ed` : "";
      return el("p", {textContent: [when.slice(0, 16), reviewer, verdict, note ? `“${note}”` : ""].filter(Boolean).join("  ")});
    }));
  }

  key(event) {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const {key, target} = event, verdict = {a: "accept", x: "reject", u: ""}[key];
    if (key === " " && /^(BUTTON|SUMMARY)$/.test(target.tagName) && !target.classList.contains("play")) return;
    if (key === "ArrowDown" || key === "ArrowUp") this.moved(key === "ArrowDown" ? 1 : -1);
    else if (verdict !== undefined && this.source.writes && this.player) this.say({verdict});
    else if (!this.player?.key(key)) return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function told(story) {
  return Object.entries(story).flatMap(([section, what]) => [el("h3", {textContent: section}),
    definitions(Array.isArray(what) ? what.map(({stage, ...rest}) => [stage, flat(rest)])
      : Object.entries(what).map(([name, value]) => [name, flat(value)]))]);
}

function flat(value) {
  if (Array.isArray(value)) return value.map(flat).join(" to ");
  if (value && typeof value === "object") return Object.entries(value).filter(([, each]) => each !== null)
    .map(([name, each]) => `${name} ${flat(each)}`).join("  ");
  return typeof value === "number" ? String(+value.toPrecision(6)) : String(value ?? "");
}
