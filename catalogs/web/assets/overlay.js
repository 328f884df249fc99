// Followed points over the target: a dot for each that is seen, and where it was in the frames before.
const TRAIL = 10;

export class Overlay {
  constructor(kind, width, height) {
    Object.assign(this, {kind, width, height, shown: kind.what === "tracks"});
    this.canvas = document.createElement("canvas");
    this.canvas.hidden = !this.shown;
    this.at = -1;
  }

  show(shown) {
    this.shown = shown;
    this.canvas.hidden = !shown;
    this.at = -1;
  }

  draw(frame) {
    const {canvas, kind} = this, box = canvas.getBoundingClientRect(), sharp = devicePixelRatio || 1;
    if (!this.shown || !box.width) return;
    const size = `${frame} ${box.width} ${box.height}`;
    if (size === this.at) return;
    this.at = size;
    [canvas.width, canvas.height] = [box.width * sharp, box.height * sharp];
    const pen = canvas.getContext("2d"), scale = canvas.width / this.width, last = Math.min(frame, kind.frames.length - 1);
    const radius = (kind.what === "tracks" ? 2.6 : 1.8) * sharp, count = kind.frames[0].length / 2;
    pen.lineWidth = 1.4 * sharp;
    for (let n = 0; n < count; n++) {
      const colour = `hsl(${Math.round(n * 137.5) % 360} 95% 62%)`, [x, y] = kind.frames[last].slice(2 * n, 2 * n + 2);
      if (kind.what === "tracks") {
        pen.strokeStyle = colour;
        pen.globalAlpha = 0.7;
        pen.beginPath();
        for (let f = Math.max(0, last - TRAIL), down = false; f <= last; f++) {
          const [u, v] = [kind.frames[f][2 * n], kind.frames[f][2 * n + 1]];
          if (u !== null) down ? pen.lineTo(u * scale, v * scale) : pen.moveTo(u * scale, v * scale);
          down = u !== null;
        }
        pen.stroke();
      }
      if (x === null) continue;
      pen.globalAlpha = 1;
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
      pen.fill();
    }
  }
}
