// Sounds on the sound card's clock: all of a pair start on the same sample of it.
let context = null, ears = null;  // opened by the first play of a pair with sound; left and right

export async function awake() {
  if (!context) {
    context = new AudioContext();
    ears = new ChannelMergerNode(context, {numberOfInputs: 2});
    ears.connect(context.destination);
  }
  await Promise.race([context.resume(), new Promise(done => setTimeout(done, 1000))]);
  return context.state === "running";
}

export function now() { return context.currentTime; }

export function heardNow() {  // seconds, of what is leaving the loudspeakers now, not of what is being computed
  const {contextTime, performanceTime} = context.getOutputTimestamp();
  const heard = contextTime + (performance.now() - performanceTime) / 1000;
  return Math.abs(heard - context.currentTime) < 0.5 ? heard : context.currentTime;
}

export class Sound {
  constructor(side, link, source) { Object.assign(this, {side, link, source, buffer: null, node: null}); }

  async load() {
    if (!this.buffer) this.buffer = await context.decodeAudioData(await this.source.bytes(this.link));
  }

  start(when, from, heard, speed) {
    if (!this.buffer) return;
    this.node = new AudioBufferSourceNode(context, {buffer: this.buffer, playbackRate: speed});
    this.alone = new GainNode(context);  // as it is
    this.beside = new GainNode(context, {channelCount: 1, channelCountMode: "explicit"});  // one ear's
    this.node.connect(this.alone).connect(context.destination);
    this.node.connect(this.beside).connect(ears, 0, this.side === "reference" ? 0 : 1);
    this.alone.gain.value = heard === this.side ? 1 : 0;
    this.beside.gain.value = heard === "both" ? 1 : 0;
    this.node.start(when, from);
  }

  hear(heard) {  // within a few ms, not at once: no click
    if (!this.node) return;
    this.alone.gain.setTargetAtTime(heard === this.side ? 1 : 0, context.currentTime, 0.004);
    this.beside.gain.setTargetAtTime(heard === "both" ? 1 : 0, context.currentTime, 0.004);
  }

  stop() {
    if (!this.node) return;
    this.node.stop();
    this.alone.disconnect();
    this.beside.disconnect();
    this.node = null;
  }
}
