"""What follows a network that gives cameras and depth: brought to our conventions, checked against followed points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators.camera_errors import centres
from pipelines.estimators.camera_path import rebased, square
from pipelines.estimators.camera_tracks import STILL, Chain, follow, stillness
from pipelines.estimators.cameras import Array, Cameras, Frames, confidence
from pipelines.estimators.shared import Network

STANDS = 0.01
"""A camera that never is farther from where it began than this part of the median depth turns at most."""


@dataclass(frozen=True, kw_only=True)
class Networked:
    """A network of :mod:`pipelines.estimators.cameras_worker`, to be called with frames."""

    name: str
    network: Network

    def __call__(self, frames: Frames) -> Cameras:
        """Cameras of a shot; errors of :class:`pipelines.estimators.cameras.Estimator`."""
        found = self.network(frames=np.stack(frames))
        count, (height, width) = len(frames), frames[0].shape[:2]
        intrinsics, small = found["intrinsics"].astype(np.float64), found["depth"].astype(np.float32)
        if (len(intrinsics), len(found["extrinsics"]), len(small)) != (count, count, count):
            raise UnusableClip("estimator_failed", f"{self.name} gives cameras of {len(intrinsics)} frames")
        known = np.isfinite(small)
        finite = [np.isfinite(found["extrinsics"]).all(), np.isfinite(intrinsics).all(), known.any()]
        if not all(finite) or not (small[known] > 0).any():
            raise UnusableClip("not_finite", f"{self.name} gives cameras or depth that are not finite")
        if not (intrinsics[:, (0, 1), (0, 1)] > 0).all():
            raise UnusableClip("estimator_failed", f"{self.name} gives focal lengths that are not positive")
        small[~(small > 0)] = np.nan
        # The nearest pixel's, as there is nothing at the depth between a thing and what is behind it.
        depth = np.stack(
            [cv2.resize(each, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for each in small]
        )
        extrinsics = rebased(square(found["extrinsics"].astype(np.float64)))
        grays = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
        motion = _motion(grays, extrinsics, float(np.nanmedian(depth)))
        if motion == "static":
            extrinsics[:], intrinsics[:] = np.eye(4), np.median(intrinsics, axis=0)
        elif motion == "rotation":
            extrinsics[:, :3, 3] = 0
        error = _error(grays, intrinsics, extrinsics, depth)
        return Cameras(
            intrinsics=intrinsics,
            extrinsics=extrinsics,
            motion=motion,
            registered=np.ones(count, bool),
            reprojection_px=error,
            points=None,
            seen=None,
            depth=depth,
            metric=False,
            confidence=confidence(1.0, error, width, measured=True),
        )


def _motion(
    grays: Sequence[NDArray[np.uint8]], extrinsics: Array, depth: float
) -> Literal["static", "rotation", "moving"]:
    if max(stillness(grays, reference)[0] for reference in (0, len(grays) // 2)) >= STILL:
        return "static"
    reach = np.linalg.norm(centres(extrinsics), axis=1).max()
    return "rotation" if reach < STANDS * depth else "moving"


def _error(
    grays: Sequence[NDArray[np.uint8]], intrinsics: Array, extrinsics: Array, depth: NDArray[np.float32]
) -> float | None:
    """Median distance in pixels from where depth and cameras put points to where they are followed to."""
    if len(grays) < 2:
        return None
    try:
        chains = follow(grays)
    except UnusableClip as error:
        if error.reason == "no_texture":
            return None
        raise
    missed = np.concatenate([reprojected(chain, intrinsics, extrinsics, depth) for chain in chains])
    return float(np.median(missed)) if len(missed) else None


def reprojected(chain: Chain, intrinsics: Array, extrinsics: Array, depth: NDArray[np.float32]) -> Array:
    """Distances in pixels [M] of a chain's points in its other frames to where cameras and depth put them."""
    start = chain.start
    x, y = chain.pixels[0].astype(int).T
    rays = np.column_stack([chain.pixels[0], np.ones(len(x))]) @ np.linalg.inv(intrinsics[start]).T
    inside = rays * depth[start, y, x, None]
    missed = []
    for step in range(1, len(chain.alive)):
        move = extrinsics[start + step] @ np.linalg.inv(extrinsics[start])
        there = (inside @ move[:3, :3].T + move[:3, 3]) @ intrinsics[start + step].T
        good = chain.alive[step] & (there[:, 2] > 0)  # NaN is not
        missed.append(np.linalg.norm(there[good, :2] / there[good, 2:] - chain.pixels[step, good], axis=1))
    return np.concatenate(missed)
