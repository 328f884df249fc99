"""Paths of cameras: brought to frame 0's axes, and filled in where frames are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from renderers.scenes.cameras import world_to_camera

Array = NDArray[np.float64]


def posed(rotation: Array, shift: Array) -> Array:
    """Matrices [F, 4, 4] of rotations [F, 3, 3] and translations [F, 3]."""
    matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = rotation, shift
    return matrices


def square(poses: Array) -> Array:
    """Matrices [F, 4, 4] of poses [F, 3, 4] or [F, 4, 4], their rotations made exact."""
    return posed(Rotation.from_matrix(poses[:, :3, :3]).as_matrix(), poses[:, :3, 3])


def rebased(extrinsics: Array) -> Array:
    """The same cameras [F, 4, 4] (world to camera) in the first one's axes: the first is the identity."""
    moved = square(extrinsics @ world_to_camera(extrinsics[0]))
    moved[0] = np.eye(4)
    return moved


def filled(frames: NDArray[np.integer], extrinsics: Array, focal: Array, count: int) -> tuple[Array, Array]:
    """Cameras of all frames from those of some.

    Between two of them the rotation is spherically interpolated, the centre and the logarithm of the focal length
    linearly; before the first and after the last it is theirs.

    Args:
        frames: Their numbers, rising, [R].
        extrinsics: World to camera [R, 4, 4].
        focal: Pixels [R].
        count: How many frames there are.

    Returns:
        Extrinsics [count, 4, 4] and focal lengths [count].
    """
    if len(frames) == 1:
        return np.repeat(extrinsics, count, axis=0), np.repeat(focal, count)
    times = np.clip(np.arange(count), frames[0], frames[-1])
    c2w = np.tile(np.eye(4), (count, 1, 1))
    known = world_to_camera(extrinsics)
    c2w[:, :3, :3] = Slerp(frames, Rotation.from_matrix(known[:, :3, :3]))(times).as_matrix()
    for axis in range(3):
        c2w[:, axis, 3] = np.interp(times, frames, known[:, axis, 3])
    return world_to_camera(c2w), np.exp(np.interp(times, frames, np.log(focal)))
