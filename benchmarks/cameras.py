"""Grades an estimator of cameras in a room that is known exactly, and takes its time.

    python benchmarks/cameras.py
    python benchmarks/cameras.py depth-anything-3-base --checkout ../Depth-Anything-3

Errors of the focal length (median, relative), of rotations (median, degrees) and of the path (root mean square after
alignment, of its length; of a camera that stands, the found path's spread), the median reprojection error in pixels,
the confidence, and seconds for a frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogs.errors import UnusableClip
from pipelines.estimators import cameras
from pipelines.estimators.camera_errors import compare
from renderers import room
from renderers.scenes.trajectories import Move

PATHS: dict[str, tuple[Move, ...]] = {
    "static": (),
    "pan": (Move(kind="pan", amount=20.0),),
    "zoom": (Move(kind="zoom", amount=1.5),),
    "pan and zoom": (Move(kind="pan", amount=15.0), Move(kind="zoom", amount=1.4)),
    "handheld": (Move(kind="handheld", amount=1.0),),
    "dolly": (Move(kind="dolly", amount=1.2),),
    "truck": (Move(kind="truck", amount=0.8),),
    "arc": (Move(kind="arc", amount=25.0),),
    "arc and zoom": (Move(kind="arc", amount=25.0), Move(kind="zoom", amount=1.4)),
    "dolly zoom": (Move(kind="dolly_zoom", amount=1.35),),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("estimator", nargs="?", default=cameras.ESTIMATORS[0].name)
    for option in ("weights", "checkout"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 192), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--movers", type=int, default=0, help="boxes that cross the room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--paths", nargs="*", default=list(PATHS), choices=list(PATHS))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    estimate = cameras.load(
        given.estimator, weights=given.weights, checkout=given.checkout, device=given.device
    )
    print(f"{estimate.card.name}, {estimate.card.license}, weights {estimate.weights[:12] or 'none'}")
    print(
        f"{'':14}{'motion':>10}{'focal %':>9}{'rotation':>10}{'path %':>8}{'px':>7}{'sure':>6}{'s/frame':>9}"
    )
    width, height = given.size
    for name in given.paths:
        true = room.camera_path(PATHS[name], given.frames, width, height, seed=given.seed)
        clip = room.render(*true, width, height, seed=given.seed, movers=given.movers)
        begin = time.perf_counter()
        try:
            found = estimate(clip.frames)
        except UnusableClip as refused:
            print(f"{name:14}{refused.reason:>10}: {refused.message}", flush=True)
            continue
        seconds = (time.perf_counter() - begin) / given.frames
        error = compare(found, *true)
        px = float("nan") if found.reprojection_px is None else found.reprojection_px
        print(
            f"{name:14}{found.motion:>10}{100 * error['focal_error']:9.2f}{error['rotation_deg']:10.3f}"
            f"{100 * error['trajectory_error']:8.2f}{px:7.3f}"
            f"{found.confidence:6.2f}{seconds:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
