"""A camera that turns and zooms where it stands: rotations and focal lengths from followed points.

Two pictures of it are related by a homography K' R K^-1 whatever the scene is (Hartley and Zisserman, Multiple View
Geometry, 2nd ed., section 8.4). Homographies say where to begin, :mod:`pipelines.estimators.bundle` fits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.bundle import Fit, Pairs, State, solve
from pipelines.estimators.camera_tracks import Chain

Array = NDArray[np.float64]

BEGINNINGS = (1.0, 0.5, 2.0)
"""A fit begins at the assumed focal length times these."""

ZOOMS, GAIN = 0.02, 0.8
"""A lens zooms if letting it takes the loss to less than this part, and then its logarithm spans more than this."""


def turning(chains: Sequence[Chain], found: Pairs, frames: int, middle: Array, focal: float) -> Fit:
    """Fit a camera that stands.

    Args:
        chains: What was followed.
        found: Pairs of it, to fit.
        frames: Number of frames.
        middle: Of the picture, pixels.
        focal: The assumed focal length, pixels: where fits begin, and what is left where the pictures do not say.
    """
    fits = []
    for begin in BEGINNINGS:
        state = _rough(chains, frames, middle, begin * focal, int(found.point.max()) + 1)
        fits.append(solve(found, state, focal, zooms=False, moves=False))
    zooms = [solve(found, fit.state, focal, zooms=True, moves=False) for fit in fits]
    return best(fits, zooms)


def best(steady: Sequence[Fit], zooms: Sequence[Fit]) -> Fit:
    """The best of fits with one focal length; of those with one for each frame where that is worth it."""
    one, other = (min(fits, key=lambda fit: fit.loss) for fits in (steady, zooms))
    worth = other.loss < GAIN * one.loss and float(np.ptp(other.state.logs)) > ZOOMS
    return other if worth else one


def nearest_rotation(homography: Array, focal: float) -> Array:
    """R [3, 3] for which K R K^-1 is nearest to a homography between pixels from the middle of the picture."""
    k = np.diag([focal, focal, 1.0])
    inside = np.linalg.inv(k) @ homography @ k
    u, _, v = np.linalg.svd(inside * np.sign(np.linalg.det(inside)))
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v)


def _rough(chains: Sequence[Chain], frames: int, middle: Array, focal: float, points: int) -> State:
    """Where to begin: rotations from a homography of each pair."""
    rotation = np.tile(np.eye(3), (frames, 1, 1))
    for chain in chains:
        for step in range(1, len(chain.alive)):
            alive = chain.alive[step]
            if alive.sum() >= 8:
                here, there = (chain.pixels[each, alive] - middle for each in (0, step))
                homography, _ = cv2.findHomography(here, there, cv2.RANSAC, 2.0)
                if homography is not None:
                    turn = nearest_rotation(np.asarray(homography, np.float64), focal)
                    rotation[chain.start + step] = turn @ rotation[chain.start]
    logs = np.full(frames, np.log(focal))
    return State(logs=logs, rotation=rotation, shift=np.zeros((frames, 3)), inverse=np.ones(points))
