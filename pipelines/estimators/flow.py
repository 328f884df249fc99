"""Point tracks by dense optical flow, chained from frame to frame: no weights, only OpenCV.

DIS (Kroeger et al., Fast Optical Flow using Dense Inverse Search, arXiv 1603.03590) between neighbouring frames, both
ways, says where a point goes to within a pixel; one level of Lucas-Kanade at the point itself says it to within a few
hundredths, so that less drift adds up. A point is seen for as long as going there and back again ends where it began
(Sundaram et al., Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow, ECCV 2010, equation 5).
Once lost it does not come back: nothing here recognises a point after it was hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SLACK, LEAST = 0.01, 1.0
"""A way there and back may miss its beginning by this part of its squared lengths, and by this in px²."""

WINDOW, FARTHEST = 9, 1.0
"""Pixels: what Lucas-Kanade looks at, and how far it may correct the flow. On textured layers that pass each other
(``tests/pipelines/moving.py``) it takes d_avg from 0.85 to 0.89 and the median error from 0.48 to 0.20 px; flow at full
instead of half resolution gives 0.90 and 0.37 px for four times the work."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one frame to the next, or to the one before.

    Attributes:
        here, there: The two pictures, grey [H, W].
        go: Flow from here to there, pixels, [H, W, 2].
        come: Flow from there to here.
    """

    here: NDArray[np.uint8]
    there: NDArray[np.uint8]
    go: NDArray[np.float16]
    come: NDArray[np.float16]

    @property
    def back(self) -> Step:
        """The same from the other side."""
        return Step(here=self.there, there=self.here, go=self.come, come=self.go)


def follow(
    frames: Sequence[NDArray[np.uint8]], queries: Array
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Follow points through a clip, onwards and back from the frames they are given in.

    Args:
        frames: F times RGB [H, W, 3].
        queries: [N, 3]: frame, x, y (pixels, pixel centres at +0.5).

    Returns:
        Places [F, N, 2] in pixels, and a confidence [F, N] in [0, 1]: exp(-miss / allowed miss) of the worst step since
        the query, so a point is seen where it is at least exp(-1); 0 outside the picture. A lost point is moved on by
        the flow there is, and one that has left the picture stays where it left.
    """
    gray = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    steps = [_step(one, two) for one, two in pairwise(gray)]
    places = np.zeros((len(frames), len(queries), 2), np.float32)
    sure = np.zeros((len(frames), len(queries)), np.float32)
    asked = queries[:, 0].astype(int)
    for first in np.unique(asked).tolist():
        these = np.flatnonzero(asked == first)
        points = queries[these, 1:]
        places[first:, these], sure[first:, these] = _chain(points, steps[first:])
        back = [step.back for step in reversed(steps[:first])]
        places[first::-1, these], sure[first::-1, these] = _chain(points, back)
    return places, sure


def sample(field: NDArray[np.floating[Any]], points: Array) -> Array:
    """Bilinear values [N, C] of a field [H, W, C] at [N, 2] (pixels, pixel centres at +0.5), held beyond the border."""
    height, width = field.shape[:2]
    at = np.clip(points - 0.5, 0, (width - 1, height - 1))
    (x, y), (u, v) = at.astype(int).T, (at % 1).T[..., None]
    right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
    upper = field[y, x] * (1 - u) + field[y, right] * u
    lower = field[below, x] * (1 - u) + field[below, right] * u
    return np.asarray(upper * (1 - v) + lower * v, np.float64)


def _step(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> Step:
    """Flow in half precision, 1/32 px at 32 to 64 px, lets that of a whole clip stay in memory."""
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    go, come = (np.asarray(search.calc(*pair, None), np.float16) for pair in ((one, two), (two, one)))
    return Step(here=one, there=two, go=go, come=come)


def _chain(points: Array, steps: Sequence[Step]) -> tuple[Array, Array]:
    """Places [1 + steps, N, 2] and confidence [1 + steps, N]."""
    places, sure = [points], [np.ones(len(points))]
    for step in steps:
        arrived = _refined(step, points, points + sample(step.go, points))
        go, come = arrived - points, sample(step.come, arrived)
        miss = ((go + come) ** 2).sum(-1) / (SLACK * ((go**2).sum(-1) + (come**2).sum(-1)) + LEAST)
        points = np.where(_inside(points, step)[:, None], arrived, points)
        places.append(points)
        sure.append(np.minimum(sure[-1], np.exp(-miss)) * _inside(points, step))
    return np.stack(places), np.stack(sure)


def _refined(step: Step, points: Array, guess: Array) -> Array:
    """Where the window around each point is in the other picture, near the guess; the guess where it cannot be told."""
    if not len(points):
        return guess
    start, end = ((at - 0.5).astype(np.float32)[:, None] for at in (points, guess))
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        step.here,
        step.there,
        start,
        end.copy(),
        winSize=(WINDOW, WINDOW),
        maxLevel=0,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.01),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    moved = found[:, 0] + 0.5
    near = (status[:, 0] > 0) & (np.linalg.norm(moved - guess, axis=-1) < FARTHEST)
    return np.asarray(np.where(near[:, None], moved, guess), np.float64)


def _inside(points: Array, step: Step) -> NDArray[np.bool_]:
    height, width = step.here.shape
    return np.asarray(((points >= 0) & (points < (width, height))).all(-1))
