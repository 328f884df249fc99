// One pair. Its clock is the sound card's if it has sound, else the page's. All its sounds start on the same sample of
// that clock, and its videos, which are silent, are kept to it by their speed.
import {el} from "./dom.js";
import {awake, heardNow, now, Sound} from "./sound.js";
import {Overlay} from "./overlay.js";
import {Cameras} from "./camera.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2];
const HEARD = {reference: "Reference", target: "Target", both: "Both", none: "None"};

export class Player {
  constructor(sample, source, gutter) {
    Object.assign(this, {sample, gutter, frame: 1 / sample.fps, length: sample.seconds, at: 0, speed: 1,
                         playing: false, sounding: false, heads: []});
    this.videos = Object.entries(sample.videos).map(([side, url]) => (
      {side, url, element: el("video", {muted: true, preload: "auto", playsInline: true, src: url})}));
    this.sounds = Object.entries(sample.sounds).map(([side, sound]) => new Sound(side, sound, source));
    this.overlays = sample.points.map(kind => new Overlay(kind, sample.width, sample.height));
    this.cameras = sample.cameras && new Cameras(sample.cameras);
    this.problems = el("div", {role: "alert"});
    const panes = ["reference", "target"].map(side => this.pane(side)).filter(Boolean);
    const pair = el("div", {className: sample.height > sample.width ? "pair tall" : "pair", onclick: () => this.toggle()}, ...panes);
    this.element = el("section", {className: "player"}, ...(panes.length ? [pair] : []), ...this.strips(), this.bar(),
                      this.problems, ...(this.cameras ? [this.cameras.element] : []));
    this.hear(this.sounds.at(-1)?.side || "none");  // the target, where it has sound
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.seek(this.frame / 2);
  }

  pane(side) {
    const video = this.videos.find(one => one.side === side), {missing, width, height} = this.sample;
    const lost = missing[side === "target" ? "video" : "reference_video"];
    if (!video && !lost) return null;
    const words = el("p", {className: "problem", textContent: lost || "", hidden: !lost});
    const pane = el("div", {className: "pane"}, ...(video ? [video.element] : []), words);
    if (video) video.element.onerror = () => {
      words.textContent = `${side}: this browser cannot play ${video.url.split("/").at(-1)}; is the file whole?`;
      words.hidden = false;
    };
    if (side === "target") pane.append(...this.overlays.map(overlay => overlay.canvas));
    pane.append(el("span", {className: `tag ${side}`, textContent: side}));
    pane.style.aspectRatio = `${width} / ${height}`;
    return pane;
  }

  strips() {
    const {sounds, missing} = this.sample;
    const lost = Object.entries(missing).filter(([column]) => column.endsWith("audio")).map(([column, why]) =>
      el("div", {className: "sound"}, el("p", {className: "problem", textContent: `${column}: ${why}`})));
    return [...Object.entries(sounds).map(([side, sound]) => this.strip(side, sound)), ...lost];
  }

  strip(side, sound) {
    const head = el("i");
    this.heads.push(head);
    const box = el("div", {onclick: event => {
      const {left, width} = box.getBoundingClientRect();
      this.go(((event.clientX - left) / width - this.gutter) / (1 - this.gutter) * this.length);
    }}, el("img", {src: sound.picture, alt: `waveform, loudness and spectrogram of the ${side}`}), head);
    return el("div", {className: `sound ${side}`}, el("p", {textContent: sound.what}), box);
  }

  bar() {
    this.button = el("button", {className: "play", textContent: "Play", onclick: () => this.toggle()});
    this.scrub = el("input", {type: "range", min: 0, max: this.sample.frames - 1, step: 1, value: 0, aria: {label: "frame"},
                              oninput: () => { this.pause(); this.show(+this.scrub.value); }});
    this.time = el("output");
    this.fast = el("select", {aria: {label: "speed"}, onchange: () => this.pace(+this.fast.value)},
      ...SPEEDS.map(speed => el("option", {value: speed, textContent: `${speed}×`, selected: speed === 1})));
    const overlays = this.overlays.map(overlay => el("button", {textContent: overlay.kind.what, aria: {pressed: overlay.shown},
      onclick: event => {
        overlay.show(!overlay.shown);
        event.target.setAttribute("aria-pressed", overlay.shown);
        this.draw();
      }}));
    const choices = this.sounds.map(sound => sound.side);
    if (choices.length === 2) choices.push("both");
    this.voices = new Map([...choices, "none"].map(heard => [heard, el("button", {textContent: HEARD[heard],
      title: heard === "both" ? "reference on the left, target on the right" : "", onclick: () => this.hear(heard)})]));
    const voices = el("div", {className: "voices", role: "group", aria: {label: "heard"}},
                      el("span", {textContent: "hear"}), ...this.voices.values());
    return el("div", {className: "bar"}, this.scrub, this.button,
      el("button", {textContent: "◂", title: "one frame back", aria: {label: "one frame back"}, onclick: () => this.step(-1)}),
      el("button", {textContent: "▸", title: "one frame on", aria: {label: "one frame on"}, onclick: () => this.step(1)}),
      this.time, this.fast, ...overlays, ...(choices.length ? [voices] : []));
  }

  close() {  // give the decoders and the sounds' memory back
    this.pause();
    for (const {element} of this.videos) { element.onerror = null; element.removeAttribute("src"); element.load(); }
    this.sounds = [];
  }

  seek(time) {
    this.at = Math.min(Math.max(time, 0), this.length);
    for (const {element} of this.videos) element.currentTime = this.at;
    this.draw();
  }

  show(frame) {  // the middle of a frame's time, so that rounding cannot show its neighbour
    this.seek((Math.min(Math.max(frame, 0), this.sample.frames - 1) + 0.5) * this.frame);
  }

  index() { return Math.min(Math.floor(this.at / this.frame + 1e-3), this.sample.frames - 1); }

  step(by) {
    this.pause();
    this.show(this.index() + by);
  }

  toggle() { if (this.playing) this.pause(); else this.start(this.at >= this.length - this.frame ? 0 : this.at); }

  go(time) {
    time = Math.min(Math.max(time, 0), this.length - this.frame);
    if (this.playing) this.start(time); else this.show(Math.floor(time / this.frame));
  }

  pace(speed) {
    this.speed = speed;
    this.fast.value = speed;
    if (this.playing) this.start(this.at);
  }

  faster(by) { this.pace(SPEEDS[Math.min(Math.max(SPEEDS.indexOf(this.speed) + by, 0), SPEEDS.length - 1)]); }

  hear(heard) {
    if (!this.voices.has(heard)) return;
    this.heard = heard;
    for (const [name, button] of this.voices) button.setAttribute("aria-pressed", name === heard);
    for (const sound of this.sounds) sound.hear(heard);
  }

  async start(time) {
    this.halt();
    this.playing = true;
    this.button.textContent = "Pause";
    const turn = this.turn = {};
    this.seek(time);
    const sounding = this.sounds.length > 0 && await awake();
    if (sounding) {
      const loaded = await Promise.allSettled(this.sounds.map(sound => sound.load()));
      for (const {reason} of loaded) if (reason) this.say(reason.message);
    } else if (this.sounds.length) this.say("no sound device: played in silence");
    await Promise.all(this.videos.map(({element}) => ready(element)));  // nobody starts before all can
    if (this.turn !== turn) return;
    this.sounding = sounding;
    this.from = time;
    const lead = 0.15;  // time to get everybody ready
    this.zero = (sounding ? now() : this.clock()) + lead;
    if (sounding) for (const sound of this.sounds) sound.start(this.zero, time, this.heard, this.speed);
    this.tick(turn);
  }

  clock() { return this.sounding ? heardNow() : performance.now() / 1000; }  // seconds

  tick(turn) {
    if (this.turn !== turn) return;
    const at = this.from + (this.clock() - this.zero) * this.speed;
    for (const video of this.videos) this.steer(video, at);
    this.at = Math.min(Math.max(at, this.from), this.length);
    this.draw();
    if (at >= this.length) this.start(0);
    else requestAnimationFrame(() => this.tick(turn));
  }

  steer(video, at) {
    const {element} = video;
    if (!video.called) {
      if (at < this.from - 0.02) return;  // it takes a video about so long to start moving
      video.called = true;
      element.playbackRate = this.speed;
      element.play().catch(() => {});
    } else if (!element.seeking && !element.ended) {
      const ahead = element.currentTime - at;
      if (Math.abs(ahead) > 0.4) element.currentTime = at;
      else {
        const rate = this.speed * Math.min(Math.max(1 - ahead / (0.15 * this.speed), 0.5), 2);
        if (Math.abs(rate - element.playbackRate) > 0.02 * this.speed) element.playbackRate = Math.max(rate, 0.0625);
      }
    }
  }

  halt() {
    this.turn = null;
    for (const sound of this.sounds) sound.stop();
    for (const video of this.videos) {
      video.called = false;
      video.element.pause();
      video.element.playbackRate = 1;
    }
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.button.textContent = "Play";
    this.halt();
    this.show(this.index());
  }

  say(problem) {
    if ([...this.problems.children].every(told => told.textContent !== problem))
      this.problems.append(el("p", {className: "problem", textContent: problem}));
  }

  draw() {
    const index = this.index();
    const frames = this.videos.length ? `  ${String(index + 1).padStart(3)}/${this.sample.frames}` : "";
    this.scrub.value = index;
    this.time.textContent = `${this.at.toFixed(2)} s${frames}`;
    for (const head of this.heads)
      head.style.left = `${100 * (this.gutter + (1 - this.gutter) * this.at / this.length)}%`;
    for (const overlay of this.overlays) overlay.draw(index);
    this.cameras?.draw(index);
  }

  key(key) {
    const acts = {" ": () => this.toggle(), ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1),
      Home: () => this.go(0), End: () => this.show(this.sample.frames), ",": () => this.faster(-1), ".": () => this.faster(1),
      r: () => this.hear("reference"), t: () => this.hear("target"), b: () => this.hear("both"), n: () => this.hear("none")};
    acts[key]?.();
    return key in acts;
  }
}

function ready(element) {
  const usable = () => !element.seeking && element.readyState >= 3;
  if (usable() || element.error) return Promise.resolve();
  return new Promise(done => {
    const look = () => { if (usable() || element.error) done(); };
    for (const name of ["canplay", "seeked", "error"]) element.addEventListener(name, look);
    setTimeout(done, 3000);
  });
}
