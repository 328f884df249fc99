"""Clips of the ray-cast room, and their exact cameras as an estimator would give them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pipelines.estimators.cameras import Cameras
from pipelines.modality import Clip
from pipelines.timeline import Timeline
from renderers import room
from renderers.scenes.trajectories import Move


def taken(seed: int, *moves: Move, size: tuple[int, int, int] = (288, 160, 17), movers: int = 0) -> room.Room:
    """A clip of ``size`` width, height and frames."""
    width, height, frames = size
    k, w2c = room.camera_path(moves, frames, width, height, seed=seed)
    return room.render(k, w2c, width, height, seed=seed, movers=movers)


def cameras(clip: room.Room, **options: Any) -> Cameras:
    """The exact cameras from frame 0's on, in metres but not known to be."""
    known = {
        "intrinsics": clip.intrinsics,
        "extrinsics": clip.extrinsics @ np.linalg.inv(clip.extrinsics[0]),
        "motion": "moving",
        "registered": np.ones(len(clip.frames), bool),
        "reprojection_px": 0.25,
        "points": None,
        "seen": None,
        "depth": None,
        "metric": False,
        "confidence": 1.0,
    }
    return Cameras(**{**known, **options})


def as_clip(clip: room.Room) -> Clip:
    """As a build sees it."""
    height, width = clip.depth.shape[1:]
    line = Timeline(width=width, height=height, frames=len(clip.frames), fps=Fraction(24))
    return Clip(frames=clip.frames, audio=None, timeline=line)
