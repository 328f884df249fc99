"""Grades a point tracker on clips whose tracks are known exactly, and takes its time.

    python benchmarks/tracks.py
    python benchmarks/tracks.py alltracker --checkout ../alltracker --weights alltracker.pth

Textured layers under affine motion that hide each other, 320x192 and 768x448; a plain translation; and the ground of
the tests' closed-form scene, aliased chequers that all look alike, the worst there is. Points start in the first and in
the middle frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogs.query import select
from catalogs.root import Root
from pipelines.estimators import tapvid, tracks
from pipelines.timeline import Timeline
from pipelines.views import View
from tests.pipelines.moving import Moving, scene, slide
from tests.pipelines.rendered import scenes_catalog


def clips(folder: str) -> Iterator[tuple[str, Moving]]:
    for seed in range(5):
        yield f"layers 320x192x24, {seed}", scene(seed)
    for seed in range(2):
        yield f"layers 768x448x24, {seed}", scene(seed + 10, size=(768, 448), movers=4)
    start = np.random.default_rng(0).uniform((104, 40), (216, 152), (200, 2))
    places = start + np.arange(24)[:, None, None] * (2.3, -1.6)
    size = (320, 192)
    inside = ((places >= 0) & (places < size)).all(-1)
    yield "translation 320x192x24", Moving(frames=slide((2.3, -1.6), size, 24), pixels=places, visible=inside)
    root = Root.open(folder, create=True)
    line = Timeline(width=320, height=192, frames=17, fps=Fraction(24))
    scenes_catalog(root, size=(line.width, line.height, line.frames))
    for row in select(root, "scenes").to_pylist():
        if not row["twin"]:
            view = View(root=root, row=row, timeline=line)
            ground = (
                view.tracks["body"] == view.bodies["ground"]
            )  # the others' chequers do not move with them
            pixels, visible = (view.tracks[name][:, ground] for name in ("pixels", "visible"))
            yield f"chequers, {row['camera']}", Moving(frames=view.frames, pixels=pixels, visible=visible)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("estimator", nargs="?", default="dis")
    for option in ("weights", "checkout"):
        parser.add_argument(f"--{option}", default="")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    follow = tracks.load(given.estimator, weights=given.weights, checkout=given.checkout)
    print(f"{follow.card.name}, {follow.card.license}, weights {follow.weights[:12] or 'none'}")
    print(f"{'':34}  d_avg  d_seen  occlusion  median px  frames/s")
    grades = []
    with tempfile.TemporaryDirectory() as folder:
        for name, clip in clips(folder):
            height, width = clip.frames[0].shape[:2]
            for start in (0, len(clip.frames) // 2):
                these = np.flatnonzero(clip.visible[start])
                asked = np.column_stack([np.full(len(these), start), clip.pixels[start, these]])
                begin = time.perf_counter()
                found = follow(clip.frames, asked)
                rate = len(clip.frames) / (time.perf_counter() - begin)
                grade = tapvid.grade(
                    found, clip.pixels[:, these], clip.visible[:, these], asked, width, height
                )
                grades.append(dataclasses.astuple(grade))
                row(f"{name}, from {start}", grades[-1], f"{rate:10.1f}")
    row("mean", np.mean(grades, axis=0))


def row(name: str, grade: Sequence[float], rate: str = "") -> None:
    d_avg, d_seen, occlusion, median = grade
    print(f"{name:34}{d_avg:7.3f}{d_seen:8.3f}{occlusion:11.3f}{median:11.2f}{rate}", flush=True)


if __name__ == "__main__":
    main()
