"""Boxes, ray-cast: what each pixel sees of a room seen from inside and of boxes in it.

Cameras, pixels and depths are those of :mod:`renderers.scenes.cameras`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.scenes import cameras

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A box about its own origin: half its sides [3], and body-to-world [F, 4, 4] (one for all frames: [1, 4, 4])."""

    half: Array
    pose: Array
    label: int = 0

    def at(self, frame: int) -> Array:
        """Body-to-world [4, 4] in a frame."""
        return np.asarray(self.pose[min(frame, len(self.pose) - 1)])


def posed(centre: Array, yaw: float) -> Array:
    """Body-to-world [4, 4] of a box that stands at a centre, turned about the vertical by radians."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    pose = np.eye(4)
    pose[:2, :2], pose[:3, 3] = [[cos, -sin], [sin, cos]], centre
    return pose


def moved(pose: Array, points: Array) -> Array:
    """Points [..., 3] through a rigid transform [4, 4]."""
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def rays_of(K: Array, w2c: Array, pixels: Array) -> Array:
    """Directions in the world [N, 3], 1 long along the viewing axis: a depth is how many of them."""
    inside = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(K).T
    return np.asarray(inside @ w2c[:3, :3])


def points_of(K: Array, w2c: Array, pixels: Array, depth: Array) -> Array:
    """World positions [N, 3] of what pixels [N, 2] see at planar depths [N]."""
    return np.asarray(cameras.world_to_camera(w2c)[:3, 3] + depth[:, None] * rays_of(K, w2c, pixels))


def cast(
    bodies: list[Body], K: Array, w2c: Array, frame: int, pixels: Array
) -> tuple[Array, NDArray[np.int64]]:
    """What pixels [N, 2] of a frame see first: the first body from inside, the others from outside.

    Returns:
        Planar depths [N], and the faces hit [N]: 6 x body + 2 x axis + (1 on its positive side).
    """
    rays, eye = rays_of(K, w2c, pixels), cameras.world_to_camera(w2c)[:3, 3]
    depth, face = np.full(len(rays), np.inf), np.zeros(len(rays), np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        for n, body in enumerate(bodies):
            at = cameras.world_to_camera(body.at(frame))
            chosen = np.arange(len(rays)) if n == 0 else _about(body, K, w2c, frame, pixels)
            if not len(chosen):
                continue
            toward, origin = rays[chosen] @ at[:3, :3].T, moved(at, eye)
            ahead = np.sign(toward)
            if n == 0:  # seen from inside: the first wall in the way
                reach = (ahead * body.half - origin) / toward
                axis = np.nanargmin(reach, axis=1)
                hit = np.take_along_axis(reach, axis[:, None], 1)[:, 0]
                better, side = hit < np.inf, ahead
            else:
                enter = (-ahead * body.half - origin) / toward
                leave = (ahead * body.half - origin) / toward
                axis = np.argmax(enter, axis=1)
                hit = np.take_along_axis(enter, axis[:, None], 1)[:, 0]
                out = np.minimum(np.minimum(leave[:, 0], leave[:, 1]), leave[:, 2])
                better, side = (hit > 0) & (hit <= out) & (hit < depth[chosen]), -ahead
            won = chosen[better]
            depth[won] = hit[better]
            positive = np.take_along_axis(side, axis[:, None], 1)[:, 0] > 0
            face[won] = 6 * n + 2 * axis[better] + positive[better]
    return depth, face


def _about(body: Body, K: Array, w2c: Array, frame: int, pixels: Array) -> NDArray[np.int64]:
    """Which pixels may see a box: those in the rectangle about its corners, or all if it reaches behind the camera."""
    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3), axis=-1).reshape(-1, 3)
    corners, depth = cameras.project(moved(body.at(frame), signs * body.half), K, w2c)
    if (depth > 0.01).all():
        (left, top), (right, bottom), (x, y) = corners.min(0) - 1, corners.max(0) + 1, pixels.T
        return np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
    return np.arange(len(pixels)) if (depth > 0.01).any() else np.zeros(0, np.int64)
