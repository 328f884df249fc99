"""Frames per CPU-second of each installed decoder backend, through ``pipelines.decoders``.

    python benchmarks/decode.py [FILES…]

Without files it makes a 720p H.264 clip (B-frames, a keyframe every 250 frames, grain). Sequential decodes
the whole file; sparse opens it anew for each of twelve single frames spread over it, as a pipeline does
for twelve clips. CPU time counts every thread, so one that prefetches pays for it. Best of three rounds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.decoders import BACKENDS, choose, frames
from pipelines.probe import Probe, probe

SPOTS = 12


def clip(path: Path, count: int = 300) -> Path:
    import av
    import cv2

    random = np.random.default_rng(0)
    rough = random.integers(0, 256, (90, 160, 3)).astype(np.uint8)
    scene = cv2.resize(rough, (2400, 1350), interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, 4, (8, 720, 1280, 1)).astype(np.int16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"crf": "20", "preset": "fast", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for n in range(count):
            view = scene[n : n + 720, 3 * n : 3 * n + 1280] + grain[n % 8]
            frame = av.VideoFrame.from_ndarray(np.clip(view, 0, 255).astype(np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def sequential(found: Probe, backend: str) -> int:
    return sum(1 for _ in frames(found, backend))


def sparse(found: Probe, backend: str) -> int:
    step = found.duration / SPOTS
    starts = [found.video.start + step * n for n in range(SPOTS)]
    return sum(1 for at in starts for _ in frames(found, backend, at, at + Fraction(1, 1000)))


def rate(work: Callable[[Probe, str], int], found: Probe, backend: str) -> float:
    best = 0.0
    for _ in range(3):
        begin = time.process_time()
        count = work(found, backend)
        best = max(best, count / (time.process_time() - begin))
    return best


def table(path: Path) -> None:
    found = probe(path)
    video = found.video
    default, _ = choose(found)
    print(f"{path.name}: {video.codec} {video.width}x{video.height}, {float(found.duration):.1f} s")
    print(f"{'backend':12}{'sequential':>12}{'ratio':>8}{'sparse':>12}{'ratio':>8}")
    base: tuple[float, float] | None = None
    for backend in sorted(BACKENDS, key=lambda name: name != default):
        if backend != "pyav" and find_spec(backend) is None:
            print(f"{backend:12}{'not installed':>20}")
            continue
        used, reason = choose(found, backend)
        if used != backend:
            print(f"{backend:12}  {reason}")
            continue
        speeds = rate(sequential, found, backend), rate(sparse, found, backend)
        base = base or speeds
        cells = "".join(f"{speed:12.1f}{speed / one:8.2f}" for speed, one in zip(speeds, base, strict=True))
        print(f"{backend:12}{cells}{'  default' if backend == default else ''}", flush=True)


def main() -> None:
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            table(Path(name))
        return
    with tempfile.TemporaryDirectory() as folder:
        table(clip(Path(folder) / "720p.mp4"))


if __name__ == "__main__":
    main()
