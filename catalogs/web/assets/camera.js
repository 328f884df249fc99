// Where the cameras go: paths and frusta in space, the present frame's bold; drag to look from elsewhere.
import {el, few} from "./dom.js";

const COLOUR = {reference: "--reference", target: "--target"};
const FRUSTA = 8;

export class Cameras {
  constructor({paths, unit}) {
    Object.assign(this, {paths, unit, turn: -0.6, tilt: 0.5, frame: 0});
    this.words = el("p");
    this.canvas = el("canvas", {tabIndex: 0, title: "drag, or use the arrow keys with Shift, to look from elsewhere"});
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "camera paths in space");
    this.canvas.onpointerdown = event => this.canvas.setPointerCapture(event.pointerId);
    this.canvas.onpointermove = event => { if (event.buttons) this.look(event.movementX / 120, event.movementY / 120); };
    this.canvas.onkeydown = event => {
      const [x, y] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] || [0, 0];
      if (!event.shiftKey || (!x && !y)) return;
      event.stopPropagation();
      event.preventDefault();
      this.look(0.1 * x, 0.1 * y);
    };
    const every = paths.flatMap(path => path.eyes), ends = [0, 1, 2].map(axis => every.map(eye => eye[axis]));
    this.low = ends.map(values => Math.min(...values));
    this.high = ends.map(values => Math.max(...values));
    const extent = Math.max(...this.high.map((value, axis) => value - this.low[axis]));
    this.reach = extent > 1e-6 ? 0.3 * extent : 1;
    this.size = extent + 2.2 * this.reach;
    this.element = el("div", {className: "camera"}, this.canvas, this.words);
  }

  look(turn, tilt) {
    this.turn += turn;
    this.tilt = Math.min(Math.max(this.tilt + tilt, -1.5), 1.5);
    this.draw(this.frame);
  }

  project([x, y, z], width, height) {
    const [a, b, c] = [x, y, z].map((value, axis) => value - (this.low[axis] + this.high[axis]) / 2);
    const [sin, cos] = [Math.sin(this.turn), Math.cos(this.turn)], scale = Math.min(width, height) * 1.4 / this.size;
    const depth = a * sin + b * cos;
    return [width / 2 + scale * (a * cos - b * sin),
            height / 2 - scale * (c * Math.cos(this.tilt) + depth * Math.sin(this.tilt))];
  }

  draw(frame) {
    this.frame = frame;
    const sharp = devicePixelRatio || 1, {width, height} = this.canvas.getBoundingClientRect(), style = getComputedStyle(this.canvas);
    if (!width) return;
    [this.canvas.width, this.canvas.height] = [width * sharp, height * sharp];
    const pen = this.canvas.getContext("2d");
    pen.scale(sharp, sharp);
    const line = (points, colour, wide, alpha = 1) => {
      Object.assign(pen, {strokeStyle: colour, lineWidth: wide, globalAlpha: alpha, lineJoin: "round"});
      pen.beginPath();
      for (const point of points) pen.lineTo(...this.project(point, width, height));
      pen.stroke();
    };
    this.floor(line, style.getPropertyValue("--rule"));
    for (const path of this.paths) {
      const colour = style.getPropertyValue(COLOUR[path.name]), last = path.eyes.length - 1;
      for (let n = 0; n < FRUSTA; n++) this.frustum(line, path, Math.round(n * last / (FRUSTA - 1)), colour, 1, 0.3);
      line(path.eyes, colour, 2.5);
      this.frustum(line, path, Math.min(frame, last), colour, 2.2, 1);
    }
    this.words.textContent = this.paths.map(path =>
      `${path.name} ${path.fov[Math.min(frame, path.fov.length - 1)].toFixed(1)}° wide`).join(" · ")
      + ` · grid ${few(this.reach)} ${this.unit || "units"}`;
  }

  floor(line, colour) {
    const step = this.reach, z = this.low[2] - 0.5 * this.reach;
    const [left, near] = [0, 1].map(axis => Math.floor(this.low[axis] / step - 1) * step);
    const [right, far] = [0, 1].map(axis => Math.ceil(this.high[axis] / step + 1) * step);
    for (let x = left; x <= right + step / 2; x += step) line([[x, near, z], [x, far, z]], colour, 1);
    for (let y = near; y <= far + step / 2; y += step) line([[left, y, z], [right, y, z]], colour, 1);
  }

  frustum(line, path, frame, colour, wide, alpha) {
    const eye = path.eyes[frame], axes = path.axes[frame], half = Math.tan(path.fov[frame] * Math.PI / 360);
    const corner = (u, v) => [0, 1, 2].map(axis => eye[axis] + this.reach
      * (u * half * axes[axis] + v * half / path.aspect * axes[3 + axis] + axes[6 + axis]));
    const [a, b, c, d] = [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)];
    line([a, b, c, d, a], colour, wide, alpha);
    line([a, eye, c], colour, wide / 2, alpha);
    line([b, eye, d], colour, wide / 2, alpha);
  }
}
