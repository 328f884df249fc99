"""Depth that keeps still: a network that looks at one frame at a time scales each frame's depth a little differently.

Pixels are followed from frame to frame by optical flow. What a pixel's inverse depth does on the way is how much a clip
flickers (:func:`flicker`), and a scale and shift for each frame take most of it out (:func:`steady`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from renderers.canvas.depth import PERCENTILES

GRID = 256
"""Pixels of the longer side of the pictures that flow is found in."""

MEMORY = 48.0
"""Frames over which :func:`steady` forgets, so that the errors of many small steps do not add up."""

FLOOR = 0.1
"""The level of the far end where the near end's is 1, so that logarithms of what is far stay small."""

CUT = 0.2
"""Least share of the pixels that is seen in both of two neighbouring frames of one shot. Over the five cuts of a real
film it was 0.00 to 0.07, elsewhere in that film 0.50 and more."""

_LEAST = 0.05  # part of the pixels that must be followed
_ALIKE = 0.5  # correlation below which two frames' depths have nothing to do with each other
_SIGMAS = 2.5
_ROUNDS = 5
_SKIP = 13  # one pixel in so many is enough to fit two numbers

Values = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Where the pixels of each frame but the last are in the next one, on a grid of h x w.

    Attributes:
        to: x, y counted from the first pixel's centre, in pixels of the grid, [F - 1, h, w, 2].
        seen: Whether the pixel is seen in both frames, [F - 1, h, w].
    """

    to: NDArray[np.float32]
    seen: NDArray[np.bool_]


def follow(frames: Sequence[NDArray[np.uint8]]) -> Motion:
    """Follow all pixels by DIS flow (Kroeger et al., arXiv 1603.03590), there and back.

    A pixel is seen in both frames if that ends near its start: Sundaram et al., Dense point trajectories by
    GPU-accelerated large displacement optical flow (ECCV 2010), equation 5.

    Args:
        frames: RGB [H, W, 3].
    """
    height, width = frames[0].shape[:2]
    shrink = min(1.0, GRID / max(height, width))
    w, h = max(16, round(width * shrink)), max(16, round(height * shrink))
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    grays = [cv2.resize(gray, (w, h), interpolation=cv2.INTER_AREA) for gray in grays]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    home = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    to = np.empty((len(frames) - 1, h, w, 2), np.float32)
    seen = np.empty((len(frames) - 1, h, w), np.bool_)
    for n, (one, two) in enumerate(pairwise(grays)):
        there, back = dis.calc(one, two, None), dis.calc(two, one, None)
        to[n] = home + there
        back = cv2.remap(back, to[n], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        near = _square(there + back) < 0.01 * (_square(there) + _square(back)) + 0.5
        x, y = to[n, ..., 0], to[n, ..., 1]
        seen[n] = near & (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    return Motion(to=to, seen=seen)


def steady(inverse: NDArray[np.float32], motion: Motion) -> NDArray[np.float32]:
    """Give every frame the scale and shift with which followed pixels keep their inverse depth.

    All frames are solved for at once by least squares: two levels of each frame are to agree with the next frame's
    along the flow and, with a weight of 1 / :data:`MEMORY`, with the network's own. So a scene that stands still keeps
    its values, what moves by itself does not count, and over seconds the network's own scale prevails. Frames that
    cannot be followed from one to the next are not tied together.

    Args:
        inverse: Inverse depth of any scale and shift, finite, [F, H, W].
        motion: Of the same frames.

    Returns:
        [F, H, W].
    """
    scale, shift = balance(shrunk(inverse, motion), motion)
    steadied = inverse * scale
    steadied += shift
    return np.asarray(steadied, np.float32)


def balance(small: Values, motion: Motion) -> tuple[Values, Values]:
    """Scale and shift [F, 1, 1] of each frame, for :func:`steady`, from inverse depth on the grid of ``motion``."""
    low, middle, high = np.percentile(
        small.reshape(len(small), -1)[:, ::_SKIP], (25, 50, 75), axis=1
    )  # [F] each
    centre, unit = float(middle.mean()), float((high - low).mean())
    if unit <= 0:
        return np.ones((len(small), 1, 1), np.float32), np.zeros((len(small), 1, 1), np.float32)
    own = (middle[:, None] - centre) / unit + (-0.5, 0.5)  # [F, 2]
    # Unknown are F times scale and shift; a row of the system holds what multiplies them.
    frames, count = np.arange(len(own)), len(own)
    anchors = np.zeros((count, 2, count, 2))
    anchors[frames, :, frames] = np.stack([own, np.ones_like(own)], -1)
    ties = list[NDArray[np.float64]]()
    for n, (before, after) in enumerate(_pairs((small - np.float32(centre)) / np.float32(unit), motion)):
        if len(before) > _LEAST * motion.seen[n].size:
            for one, two in _matches(before[::_SKIP], after[::_SKIP]):
                tie = np.zeros((count, 2))
                tie[n], tie[n + 1] = (-one, -1), (two, 1)
                ties.append(tie)
    system = np.concatenate([anchors.reshape(-1, 2 * count) / MEMORY, np.reshape(ties, (-1, 2 * count))])
    right = np.append(own.ravel() / MEMORY, np.zeros(len(ties)))
    scale, shift = np.linalg.solve(system.T @ system, system.T @ right).reshape(-1, 2).T[..., None, None]
    shift = shift * unit + centre - scale * centre
    return scale.astype(np.float32), shift.astype(np.float32)


def flicker(inverse: NDArray[np.floating[Any]], motion: Motion) -> float | None:
    """Mean absolute change of the logarithm of drawn depth along the flow, a frame; 0.01 is 1%.

    Drawn depth is inverse depth from the clip's far percentile (:data:`FLOOR`) to its near one (1).

    Args:
        inverse: Inverse depth, [F, H, W]; NaN where there is none.
        motion: Of the same frames.

    Returns:
        None where no pixel can be followed.
    """
    return change(shrunk(inverse, motion), motion)


def change(small: Values, motion: Motion) -> float | None:
    """What :func:`flicker` says, of inverse depth on the grid of ``motion``."""
    known = small[np.isfinite(small)]
    if not known.size:
        return None
    low, high = np.percentile(known[:: known.size // 1_000_000 + 1], PERCENTILES).astype(np.float32)
    level = np.log(FLOOR + (1 - FLOOR) * np.clip((small - low) / max(high - low, np.float32(1e-30)), 0, 1))
    changes = [np.abs(after - before) for before, after in _pairs(level, motion)]
    known = np.concatenate([np.zeros(0, np.float32), *changes])
    known = known[np.isfinite(known)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def _square(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors[..., 0] ** 2 + vectors[..., 1] ** 2, np.float32)  # ten times as fast as sum(-1)


def shrunk(values: NDArray[np.floating[Any]], motion: Motion) -> Values:
    """Maps [F, H, W] on the grid of ``motion``, [F, h, w]."""
    h, w = motion.seen.shape[1:]
    frames = [cv2.resize(np.asarray(f, np.float32), (w, h), interpolation=cv2.INTER_AREA) for f in values]
    return np.asarray(frames, np.float32)


def _pairs(values: Values, motion: Motion) -> Iterator[tuple[Values, Values]]:
    """Of every two frames of [F, h, w], the values of pixels seen in both: in the one and in the next."""
    for before, after, to, seen in zip(values[:-1], values[1:], motion.to, motion.seen, strict=True):
        there = cv2.remap(after, to, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield before[seen], np.asarray(there[seen])


def _matches(before: Values, after: Values) -> list[tuple[float, float]]:
    """Two levels of a frame and what they are in the next one; none where the two have little in common.

    By the reduced major axis, whose slope no noise of either frame makes smaller, through what lies near it.
    """
    (low, middle, high), (low_after, middle_after, high_after) = (
        np.percentile(values, (25, 50, 75)) for values in (before, after)
    )
    scale = (high_after - low_after) / (high - low) if high > low else 0.0
    for _ in range(_ROUNDS):
        off = np.abs(after - middle_after - scale * (before - middle))
        kept = off <= _SIGMAS * 1.4826 * np.median(off) + 1e-9
        one, two = before[kept], after[kept]
        if min(one.std(), two.std()) <= 1e-9:
            return []
        middle, middle_after, scale = one.mean(), two.mean(), two.std() / one.std()
    if np.corrcoef(one, two)[0, 1] < _ALIKE:
        return []
    levels = np.percentile(one, (25, 75))
    return [(float(level), float(middle_after + scale * (level - middle))) for level in levels]
