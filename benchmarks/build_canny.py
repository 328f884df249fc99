"""Canny at 768x448x49 from 720p clips: samples per CPU-second, against a bare script, in one run.

    python benchmarks/build_canny.py [--minutes 2]

Ray's own processes are counted. Memory: each worker's peak in the last quarter of the build over that in the second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from meter import Usage, measure

from catalogs.query import select
from catalogs.root import Root
from pipelines.writers import write_video

WORK = Path("bench/canny")
RESOLUTION = "768x448x49"
CLIPS_EACH = 4
SAMPLES_A_SECOND = 2.2  # guess for two cores, only to choose how many sources make the build last long enough


def source(path: Path, seed: int) -> None:
    """A 720p clip like footage: a panned, zoomed, grainy still life of many edges, without cuts."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((1100, 2000, 3), np.uint8)
    scene[:] = cv2.resize(
        rng.integers(60, 200, (6, 10, 3), dtype=np.uint8), (2000, 1100), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(140):
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        centre = (int(rng.integers(0, 2000)), int(rng.integers(0, 1100)))
        size = (int(rng.integers(10, 120)), int(rng.integers(10, 120)))
        cv2.ellipse(scene, centre, size, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    grain = rng.normal(0, 4, (8, 720, 1280, 1)).astype(np.float32)

    def frames():
        for n in range(49 * CLIPS_EACH + 3):
            x, y = 300 + 250 * np.sin(n / 60 + seed), 190 + 150 * np.cos(n / 80)
            view = cv2.getRectSubPix(scene, (1280, 720), (x + 640, y + 360))
            yield np.clip(view + grain[n % 8], 0, 255).astype(np.uint8)

    write_video(path, frames(), Fraction(24), crf=23, preset="ultrafast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    cores = os.cpu_count() or 1
    wanted = max(4, round(parser.parse_args().minutes * 60 * SAMPLES_A_SECOND * cores / 2 / CLIPS_EACH))
    clips = WORK / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    base = min(wanted, 8)
    for index in range(base):
        if not (clips / f"{index:04}.mp4").exists():
            source(clips / f"{index:04}.mp4", index)
    for index in range(base, wanted):
        # The same pictures under another hash: an empty box of its own at the end.
        data = (clips / f"{index % base:04}.mp4").read_bytes() + b"\0\0\0\x10free" + index.to_bytes(8, "big")
        (clips / f"{index:04}.mp4").write_bytes(data)
    for surplus in sorted(clips.glob("*.mp4"))[wanted:]:
        surplus.unlink()
    shutil.rmtree(WORK / "root", ignore_errors=True)
    shutil.rmtree(WORK / "bare", ignore_errors=True)

    print(
        f"{wanted} sources of 720p, {wanted * CLIPS_EACH} samples of {RESOLUTION}, {cores} cores", flush=True
    )
    ours = measure(
        [
            sys.executable,
            "-m",
            "pipelines",
            "canny",
            "--input",
            str(clips),
            "--root",
            str(WORK / "root"),
            "--resolution",
            RESOLUTION,
        ],
        watch="pipelines.worker",
    )
    bare = measure(
        [sys.executable, "benchmarks/bare_canny.py", str(clips), str(WORK / "bare"), RESOLUTION, str(cores)]
    )
    built = select(Root.open(str(WORK / "root")), "canny", ["sample_id"]).num_rows
    expected = len(list((WORK / "bare").glob("*-canny.mp4")))
    if not built == expected == wanted * CLIPS_EACH:
        raise SystemExit(f"the two differ: {built} samples built, {expected} by the bare script")
    report("build", ours, built)
    report("bare", bare, expected)
    for kind, cpu in sorted(ours.by_kind.items(), key=lambda item: -item[1]):
        print(f"    {kind:20} {cpu:7.1f} CPU s  {cpu / ours.cpu:6.1%}")
    print(f"samples per CPU-second, build / bare: {bare.cpu / ours.cpu:.3f}  (goal 0.85)")
    print(f"samples per second of wall time, build / bare: {bare.wall / ours.wall:.3f}")
    growth = [max(b) / max(a) for a, b in map(halves, ours.memory.values()) if a and b]
    print(
        f"worker memory, last quarter / second quarter: {max(growth):.2f}"
        if growth
        else "too short for memory"
    )


def report(name: str, usage: Usage, samples: int) -> None:
    print(
        f"{name:6} {samples / usage.cpu:.3f} samples per CPU s   {usage.cpu:7.1f} CPU s  {usage.wall:7.1f} s"
    )


def halves(readings: list[tuple[float, int]]) -> tuple[list[int], list[int]]:
    """Resident bytes in the second and in the last quarter of a process's life."""
    begin, end = readings[0][0], readings[-1][0]
    quarter = (end - begin) / 4
    second = [size for at, size in readings if begin + quarter <= at < begin + 2 * quarter]
    last = [size for at, size in readings if at >= begin + 3 * quarter]
    return second, last


if __name__ == "__main__":
    main()
