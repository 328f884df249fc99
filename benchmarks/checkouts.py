"""Runs an estimator that lives in a checkout on a clip of which everything is known, and says how it did.

    python benchmarks/checkouts.py depth/depth-anything-3-small --checkout ../Depth-Anything-3
    python benchmarks/checkouts.py tracks/cotracker3 --checkout ../co-tracker --weights scaled_offline.pth

Prints what comes back with its shapes and ranges, the family's errors (``pipelines/grading.py``), and the seconds for a
frame of a second run, beside the first's. The clip is of the textured room (``renderers/room.py``), its camera moves
forwards. Where something is missing it says in one line how to get it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogs.errors import AvcontrolError
from pipelines.estimators import cameras, depth, tracks
from pipelines.grading import FAMILIES
from pipelines.truths import of_the_room

ESTIMATORS = [
    f"{card.family}/{card.name}"
    for card in (*depth.ESTIMATORS, *cameras.ESTIMATORS, *tracks.ESTIMATORS)
    if card.checkout
]


def described(name: str, value: Any) -> str:
    """A field of a result, in one line."""
    if not isinstance(value, np.ndarray):
        return f"  {name:16}{value}"
    known = value[np.isfinite(value)]
    span = f"{known.min():.6g} to {known.max():.6g}" if known.size else "nothing known"
    return f"  {name:16}{value.dtype} {list(value.shape)}, {span}, {known.size / value.size:.0%} finite"


def run(given: argparse.Namespace) -> None:
    """Load, run twice, print."""
    family, _, name = given.estimator.partition("/")
    module = importlib.import_module(f"pipelines.estimators.{family}")
    begin = time.perf_counter()
    estimate = module.load(name, weights=given.weights, checkout=given.checkout, device=given.device)
    card = module.card_of(name)
    print(f"{given.estimator}: {card.summary}; {card.license}, weights {estimate.weights[:12]}")
    print(f"loaded in {time.perf_counter() - begin:.1f} s")
    width, height = given.size
    truth = next(of_the_room(1, width, height, given.frames, given.seed))
    seconds, found = [], None

    def timed(*asked: Any) -> Any:
        nonlocal found
        begin = time.perf_counter()
        found = estimate(*asked)
        seconds.append((time.perf_counter() - begin) / given.frames)
        return found

    for _ in range(2):
        marks = FAMILIES[family].mark(timed, truth, np.random.default_rng(given.seed))
    print(f"{truth.name}, {given.frames} frames of {width}x{height}:")
    assert found is not None
    print(*(described(each.name, getattr(found, each.name)) for each in dataclasses.fields(found)), sep="\n")
    print("errors:", ", ".join(f"{key} {value:.4g}" for key, value in marks.errors.items()))
    print(f"{seconds[1]:.2f} s a frame ({seconds[0]:.2f} the first time)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("estimator", choices=ESTIMATORS, metavar="FAMILY/NAME", help=", ".join(ESTIMATORS))
    for option in ("weights", "checkout"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 192), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--seed", type=int, default=1)
    cv2.setNumThreads(1)
    try:
        run(parser.parse_args())
    except AvcontrolError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
