"""Points followed through a clip to tell how its camera moves: chains of Lucas-Kanade steps, checked there and back.

Unlike :mod:`pipelines.estimators.flow` this follows corners only, and each for as long as it lasts: a few
milliseconds a frame, precise to a tenth of a pixel, and blind to what has no corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators.queries import TEXTURE, texture

Array = NDArray[np.float64]
Gray = NDArray[np.uint8]

CORNERS, FEWEST = 400, 40
"""At most so many points are followed from one frame; a frame with fewer than the second has no texture."""

LONGEST, FRESH = 0.3, 0.6
"""A chain ends where less than this share of its points is left, and the next begins where this share still was."""

HELD = 0.2
"""Least share of the points that get from a frame to the next, unless a cut is between."""

STILL = 0.35
"""Least share of the corners that stay in place in every frame of a static camera: people may cover the rest."""

BACK = 0.7
"""Pixels that a step there and back may miss its beginning by."""

WINDOW = (15, 15)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Points of one frame, followed through the frames after it.

    Attributes:
        start: That frame.
        pixels: Where they are in the frames from it on, pixel centres at +0.5, [L, N, 2].
        alive: Whether they were followed so far, [L, N].
    """

    start: int
    pixels: Array
    alive: NDArray[np.bool_]


def tolerance(width: int) -> float:
    """Pixels that a point of a chain may be off: its steps drift by about so much."""
    return max(1.0, 0.002 * width)


def follow(grays: Sequence[Gray]) -> list[Chain]:
    """Chains that overlap and together cover the clip.

    Args:
        grays: Two or more pictures [H, W].

    Raises:
        UnusableClip: ``no_texture`` or ``cut_inside``.
    """
    chains, start = list[Chain](), 0
    while start < len(grays) - 1:
        points = corners(grays[start])
        if len(points) < FEWEST:
            raise UnusableClip("no_texture", f"frame {start} has {len(points)} corners, {FEWEST} are needed")
        places, alive = [points], [np.ones(len(points), bool)]
        for number in range(start + 1, len(grays)):
            moved, kept = _step(grays[number - 1], grays[number], places[-1])
            held = float(kept[alive[-1]].mean())
            if held < HELD:
                raise UnusableClip(
                    "cut_inside",
                    f"{held:.0%} of the points get from frame {number - 1} to the next: a cut or a whip pan",
                )
            kept &= alive[-1]
            if kept.mean() < LONGEST and number > start + 1:
                break
            places.append(np.where(kept[:, None], moved, places[-1]))
            alive.append(kept)
        chains.append(Chain(start=start, pixels=np.stack(places), alive=np.stack(alive)))
        if start + len(places) == len(grays):
            return chains
        start += max(1, int(np.flatnonzero(np.mean(alive, axis=1) >= FRESH)[-1]))
    return chains


def corners(gray: Gray) -> Array:
    """Points [N, 2] that can be followed, spread over a picture, the best first."""
    apart = np.sqrt(gray.size / CORNERS) / 2
    rich = (texture(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)) >= TEXTURE).astype(np.uint8)
    found = cv2.goodFeaturesToTrack(gray, CORNERS, 1e-4, apart, mask=rich, blockSize=7)
    return np.zeros((0, 2)) if found is None else found[:, 0].astype(np.float64) + 0.5


def stillness(grays: Sequence[Gray], reference: int) -> tuple[float, float]:
    """How much of the picture stays where it was.

    Args:
        grays: Pictures [H, W].
        reference: Number of the frame that the others are compared with, place by place.

    Returns:
        The least share, over all frames, of the reference's corners that are within half a :func:`tolerance` of their
        place, and the median distance in pixels of those that are.
    """
    points = corners(grays[reference])
    if len(points) < FEWEST:
        return 0.0, 0.0
    near, shares, distances = tolerance(grays[0].shape[1]) / 2, [1.0], [0.0]
    for gray in grays:
        moved, kept = _step(grays[reference], gray, points, levels=1)
        distance = np.linalg.norm(moved - points, axis=1)
        still = kept & (distance < near)
        shares.append(float(still.mean()))
        distances.extend(distance[still])
    return min(shares), float(np.median(distances))


def _step(here: Gray, there: Gray, points: Array, levels: int = 3) -> tuple[Array, NDArray[np.bool_]]:
    """Where points of one picture are in another, and whether they come back from there and are inside."""
    start = (points - 0.5).astype(np.float32)[:, None]
    moved, good, _ = cv2.calcOpticalFlowPyrLK(here, there, start, None, winSize=WINDOW, maxLevel=levels)  # type: ignore[call-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(there, here, moved, None, winSize=WINDOW, maxLevel=levels)  # type: ignore[call-overload]
    places = moved[:, 0].astype(np.float64) + 0.5
    height, width = here.shape
    inside = ((places >= 0) & (places < (width, height))).all(axis=1)
    near = np.linalg.norm((back - start)[:, 0], axis=1) < BACK
    return places, (good[:, 0] > 0) & (returned[:, 0] > 0) & near & inside
