"""The pinhole camera: intrinsics, extrinsics, projection.

Pixels: the first pixel's centre is (0.5, 0.5), so the picture spans [0, W] x [0, H]. Camera axes are OpenCV's (x right,
y down, z forward); extrinsics are world-to-camera. Depth is planar: z in the camera, not the length of the ray.
Leading axes (``...``, as a rule the frames) broadcast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renderers.scenes.spec import Camera

Array = NDArray[np.float64]


def intrinsics(camera: Camera, lens: ArrayLike, width: int, height: int) -> Array:
    """K in pixels, float64 [N, 3, 3], for focal lengths in millimetres [N], as Blender has it.

    The fitted side is the width (fit HORIZONTAL, or AUTO with W >= H) or the height; f = lens * side / sensor, where
    AUTO takes ``sensor_width`` for either (Blender manual, Cameras, Sensor Fit). Shifting the lens by a fraction of the
    fitted side moves the picture's content against it: left by ``shift_x``, down by ``shift_y``.
    """
    horizontal = camera.sensor_fit == "HORIZONTAL" or (camera.sensor_fit == "AUTO" and width >= height)
    side = width if horizontal else height
    sensor = camera.sensor_height if camera.sensor_fit == "VERTICAL" else camera.sensor_width
    focal = np.atleast_1d(np.asarray(lens, dtype=np.float64)) * side / sensor
    matrix = np.zeros((len(focal), 3, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = focal
    matrix[:, 0, 2] = width / 2 - camera.shift_x * side
    matrix[:, 1, 2] = height / 2 + camera.shift_y * side
    matrix[:, 2, 2] = 1.0
    return matrix


def world_to_camera(c2w: Array) -> Array:
    """Inverse of rigid transforms [..., 4, 4]; its own inverse."""
    rotation = np.swapaxes(c2w[..., :3, :3], -1, -2)
    w2c = np.zeros_like(c2w)
    w2c[..., :3, :3] = rotation
    w2c[..., :3, 3:] = -rotation @ c2w[..., :3, 3:]
    w2c[..., 3, 3] = 1.0
    return w2c


def project(points: ArrayLike, K: Array, w2c: Array) -> tuple[Array, Array]:
    """Where world points appear.

    Args:
        points: World positions [..., P, 3].
        K: In pixels [..., 3, 3].
        w2c: World-to-camera [..., 4, 4].

    Returns:
        Pixels [..., P, 2] and planar depths in metres [..., P]. Pixels of points that are not in front of the camera
        (depth <= 0) are NaN.
    """
    inside = (
        np.asarray(points, dtype=np.float64) @ np.swapaxes(w2c[..., :3, :3], -1, -2) + w2c[..., None, :3, 3]
    )
    depth = inside[..., 2]
    ahead = np.where(depth > 0.0, depth, np.nan)
    pixels = (inside / ahead[..., None]) @ np.swapaxes(K, -1, -2)
    return pixels[..., :2], depth


def unproject(depth: ArrayLike, K: Array, w2c: Array) -> Array:
    """World positions [..., H, W, 3] of the pixel centres of planar depth maps [..., H, W]; see ``project``."""
    depth = np.asarray(depth, dtype=np.float64)
    height, width = depth.shape[-2:]
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    rays = pixels @ np.swapaxes(np.linalg.inv(K), -1, -2)
    inside = rays * depth.reshape(*depth.shape[:-2], -1, 1)
    c2w = world_to_camera(w2c)
    points = inside @ np.swapaxes(c2w[..., :3, :3], -1, -2) + c2w[..., None, :3, 3]
    return np.asarray(points.reshape(*points.shape[:-2], height, width, 3))


def fov(K: Array, width: int) -> Array:
    """Horizontal field of view, degrees [...]: 2 atan(W / 2 fx), which ignores a shifted lens."""
    return np.asarray(np.degrees(2.0 * np.arctan(width / (2.0 * K[..., 0, 0]))))


def opencv_to_blender(c2w: Array) -> Array:
    """World matrices [..., 4, 4] of Blender cameras (x right, y up, looking along -z) from OpenCV camera-to-world."""
    return np.asarray(c2w * np.array([1.0, -1.0, -1.0, 1.0]))
