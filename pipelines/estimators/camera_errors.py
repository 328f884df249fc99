"""How far cameras that were found are from the true ones: focal length, rotation, path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from renderers.scenes.cameras import world_to_camera

if TYPE_CHECKING:
    from pipelines.estimators.cameras import Cameras

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """points -> scale * rotation @ points + shift."""

    scale: float
    rotation: Array
    shift: Array

    def __call__(self, points: Array) -> Array:
        """Points [N, 3] moved."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)


def umeyama(source: Array, target: Array) -> Similarity:
    """The similarity that brings points [N, 3] nearest to others in the least squares sense.

    Umeyama, Least-squares estimation of transformation parameters between two point patterns (PAMI 1991). Where all
    source points coincide the scale is 0 and the rotation one of the many.
    """
    mean, goal = source.mean(axis=0), target.mean(axis=0)
    u, singular, v = np.linalg.svd((target - goal).T @ (source - mean))
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    spread = ((source - mean) ** 2).sum()
    scale = float(singular @ mirror / spread) if spread > 0 else 0.0
    rotation = (u * mirror) @ v
    return Similarity(scale=scale, rotation=rotation, shift=goal - scale * rotation @ mean)


def centres(extrinsics: Array) -> Array:
    """Where cameras [F, 4, 4] (world to camera) stand, [F, 3]."""
    return world_to_camera(extrinsics)[:, :3, 3]


def focal_error(found: Array, true: Array) -> float:
    """Median of |found / true - 1| over the horizontal focal lengths of K [F, 3, 3]."""
    return float(np.median(np.abs(found[:, 0, 0] / true[:, 0, 0] - 1)))


def rotation_error_deg(found: Array, true: Array) -> float:
    """Median angle between rotations relative to frame 0's, degrees; cameras [F, 4, 4], world to camera."""
    one, two = (Rotation.from_matrix(each[:, :3, :3] @ each[0, :3, :3].T) for each in (found, true))
    return float(np.degrees(np.median((one * two.inv()).magnitude())))


def trajectory_error(found: Array, true: Array) -> float:
    """Root mean square distance of the found path from the true one, as a share of the true one's length.

    The found path is scaled, turned and shifted onto the true one first. A true camera that stands has no path, and the
    found one no unit: then it is the found path's root mean square distance from its middle.
    """
    path, truth = centres(found), centres(true)
    length = float(np.linalg.norm(np.diff(truth, axis=0), axis=1).sum())
    if length < 1e-9:
        return float(np.sqrt(((path - path.mean(axis=0)) ** 2).sum(axis=1).mean()))
    miss = umeyama(path, truth)(path) - truth
    return float(np.sqrt((miss**2).sum(axis=1).mean()) / length)


def compare(found: Cameras, intrinsics: Array, extrinsics: Array) -> dict[str, float]:
    """``focal_error``, ``rotation_deg`` and ``trajectory_error`` of cameras against the true K and world to camera."""
    return {
        "focal_error": focal_error(found.intrinsics, intrinsics),
        "rotation_deg": rotation_error_deg(found.extrinsics, extrinsics),
        "trajectory_error": trajectory_error(found.extrinsics, extrinsics),
    }
