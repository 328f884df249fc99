"""A pose estimator on a clip: frames per second, who is found, and how sure it is of them.

    python benchmarks/pose.py CLIP [--estimator mediapipe|dwpose] [--weights FOLDER] [--frames 49] [--size 768x448]
                              [--strip PICTURE.png]

The first frames of the file, cut and shrunk to the size; decoding is not timed, loading neither. Twice: the second time
everything is warm, and must give the same. A strip shows four frames beside their canvas.
"""

from __future__ import annotations

import argparse
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.decoders import frames
from pipelines.estimators import pose
from pipelines.estimators.wholebody import SEEN
from pipelines.probe import probe
from pipelines.timeline import Timeline, fit
from renderers.canvas import skeleton


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--estimator", default=pose.ESTIMATORS[0].name)
    parser.add_argument("--weights", default="")
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--size", default="768x448")
    parser.add_argument("--strip", type=Path)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    line = Timeline(width=width, height=height, frames=9, fps=Fraction(24))
    decoded = islice(frames(probe(options.clip), "pyav"), options.frames)
    pictures = [fit(frame.pixels, line) for frame in decoded]
    estimate = pose.load(options.estimator, weights=options.weights)
    runs = []
    for _ in range(2):
        begin = time.perf_counter()
        found = estimate(pictures)
        runs.append((len(pictures) / (time.perf_counter() - begin), found))
    (cold, before), (warm, found) = runs
    same = all(
        np.array_equal(getattr(before, name), getattr(found, name), equal_nan=True)
        for name in ("joints", "scores")
    )
    print(
        f"{options.estimator}, {len(pictures)} frames of {options.size}: {cold:.2f}, then {warm:.2f} frames/s"
    )
    print(f"the same both times: {'yes' if same else 'NO'}; people: {found.scores.shape[1]}")
    for person, scores in enumerate(found.scores.swapaxes(0, 1)):
        here = scores[scores.max(-1) > 0]
        body, hands, face = (
            here[:, skeleton.BODY],
            here[:, skeleton.LEFT_HAND.start :],
            here[:, skeleton.FACE],
        )
        print(
            f"  {person}: in {len(here) / len(pictures):.0%} of the frames, {(body >= SEEN).sum(1).mean():.1f} of 17 "
            f"body joints with a mean score of {body[body >= SEEN].mean():.2f}; "
            f"hands {(hands >= SEEN).mean():.0%}, face {(face >= SEEN).mean():.0%}"
        )
    if options.strip:
        rows = [
            np.hstack([pictures[n], skeleton.draw(found.joints[n], found.scores[n], width, height)])
            for n in np.linspace(0, len(pictures) - 1, 4).astype(int)
        ]
        cv2.imwrite(str(options.strip), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
