"""Point clouds drawn through cameras: what another camera would see of the surfaces one frame saw.

A point is a patch of surface, as large and as slanted as the pixel saw it (surface splatting, Zwicker et al. 2001, with
its projection's bounding box for a kernel), so that a surface stays closed when it comes nearer or turns.

Extrinsics are world-to-camera 4x4, OpenCV axes (x right, y down, z forward), metres; K in pixels; pixel centres at
+0.5; depth is planar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from renderers.canvas.masks import FILL

OVERLAP = 1.2
"""Sides of a drawn patch over those of its projection. 1 tiles a plane, more closes what curves; at 2 a cloud drawn
through its own camera would no longer be the frame."""

LARGEST = 4.0
"""Half a drawn patch's longest side in pixels: surfaces that are magnified more have holes."""

STEEPEST = 12.0
"""The steepest a patch is taken to be, metres along the camera's axis for one across it: 12 is 5 degrees of grazing."""

PERCENTILES = (1.0, 99.0)
"""Of depth, between which :func:`position_colours` spreads its blue."""

_MARGIN = int(2 * LARGEST) + 1  # pixels around the picture, for the patches that reach over its border
_CHUNK = 1 << 15  # points at a time, so that what is computed of them stays in the cache


@dataclass(frozen=True, kw_only=True)
class Points:
    """Coloured points in the world.

    Attributes:
        xyz: Float32 [N, 3], world, metres.
        rgb: uint8 [N, 3].
        across: Float32 [N, 3], world, metres: from a point to where its right neighbour is on the surface.
        down: Float32 [N, 3], the same for the neighbour below.
    """

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    across: NDArray[np.float32]
    down: NDArray[np.float32]


def cloud(
    frame: NDArray[np.uint8],
    depth: NDArray[np.floating[Any]],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    *,
    edge: float | None = None,
) -> Points:
    """The points one frame saw, a point per pixel.

    Args:
        frame: uint8 [H, W, 3], or any colours, such as :func:`position_colours`.
        depth: [H, W], metres along the camera's axis; infinite, NaN or not positive where there is nothing.
        intrinsics: K [3, 3].
        extrinsics: World to camera [4, 4].
        edge: Drop the pixels on either side of a depth edge: those with a neighbour (left, right, above, below) farther
            or nearer by more than this fraction, or with nothing. Estimated depth has a ramp there, points that float
            between the surfaces; 0.1 suits it. Exact depth has none: leave it out.
    """
    height, width = depth.shape
    if frame.shape != (height, width, 3):
        raise ValueError(f"a frame of shape {frame.shape} does not go with a depth of shape {depth.shape}")
    seen = np.isfinite(depth) & (depth > 0)
    depth = np.where(seen, depth, np.nan).astype(np.float32)
    if edge is not None:
        near = np.where(seen, 1 / depth, np.float32(0))  # inverse depth, where nothing is a depth as well
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        limit = np.float32(1 + edge)
        seen &= (cv2.dilate(near, cross) <= limit * near) & (near <= limit * cv2.erode(near, cross))
    # A point is depth * ray + position, with a ray [3] linear in the pixel's column and row; float32 only from there.
    turn = extrinsics[:3, :3].T
    lift = turn @ np.linalg.inv(intrinsics)
    columns = lift[:, 0] * (np.arange(width)[:, None] + 0.5)
    rows = lift[:, 1] * (np.arange(height)[:, None] + 0.5) + lift[:, 2]
    position = -turn @ extrinsics[:3, 3]
    at = np.flatnonzero(seen)
    z = depth.take(at)
    steepest = STEEPEST / np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]).astype(np.float32) * z
    slopes = [np.clip(_slope(depth, axis).take(at), -steepest, steepest) for axis in (1, 0)]
    xyz, across, down = (np.empty((z.size, 3), np.float32) for _ in range(3))
    for axis in range(3):
        ray = (rows[:, None, axis].astype(np.float32) + columns[None, :, axis].astype(np.float32)).take(at)
        xyz[:, axis] = z * ray + np.float32(position[axis])
        for step, slope, pixel in zip((across, down), slopes, lift[axis, :2], strict=True):
            step[:, axis] = z * np.float32(pixel) + slope * ray
    return Points(xyz=xyz, rgb=frame.reshape(-1, 3).take(at, 0), across=across, down=down)


def merge(clouds: Sequence[Points]) -> Points:
    """Several clouds as one."""
    return Points(
        xyz=np.concatenate([one.xyz for one in clouds]),
        rgb=np.concatenate([one.rgb for one in clouds]),
        across=np.concatenate([one.across for one in clouds]),
        down=np.concatenate([one.down for one in clouds]),
    )


def draw(
    points: Points,
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    width: int,
    height: int,
    *,
    fill: tuple[int, int, int] = FILL,
) -> NDArray[np.uint8]:
    """The points a camera sees, uint8 [H, W, 3], ``fill`` where there is none; see :func:`draw_depth`."""
    return draw_depth(points, intrinsics, extrinsics, width, height, fill=fill)[0]


def draw_depth(
    points: Points,
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    width: int,
    height: int,
    *,
    fill: tuple[int, int, int] = FILL,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The points a camera sees, and how far they are.

    A point's patch is the parallelogram of its two steps about it. It covers the pixels whose centres lie in the
    bounding box of its projection (linearised at the point) widened by :data:`OVERLAP`, at least a pixel wide and high,
    at most twice :data:`LARGEST`. A pixel has the colour of the nearest point that covers it. Points behind the camera
    and points that are not finite are ignored.

    Args:
        points: The cloud.
        intrinsics: K [3, 3].
        extrinsics: World to camera [4, 4].
        width: Of the picture.
        height: Of the picture.
        fill: RGB of the holes.

    Returns:
        uint8 [H, W, 3], and float32 [H, W] planar depth in metres, infinite in the holes.
    """
    # One number holds depth and colour: the bits of positive floats order as the floats do, so the smallest number at a
    # pixel is the nearest point, with its colour in the low bytes. Nothing is infinitely far and has the fill's colour.
    stride = width + 2 * _MARGIN
    nothing = _keys(np.array([[np.inf]], np.float32), np.array([[fill]], np.uint8))
    nearest = np.repeat(nothing, (height + 2 * _MARGIN) * stride)
    project = (intrinsics @ extrinsics[:3]).astype(np.float32)
    turn = np.ascontiguousarray(project[:, :3])
    for start in range(0, len(points.xyz), _CHUNK):
        part = slice(start, start + _CHUNK)
        u, v, z = cv2.split(cv2.transform(points.xyz[None, part], project))
        au, av, az = cv2.split(cv2.transform(points.across[None, part], turn))
        du, dv, dz = cv2.split(cv2.transform(points.down[None, part], turn))
        with np.errstate(all="ignore"):  # NaN, infinity and z = 0 fail the comparisons
            u, v = u / z, v / z
            left, wide = _covered(u, (np.abs(au - u * az) + np.abs(du - u * dz)) / z)
            top, high = _covered(v, (np.abs(av - v * az) + np.abs(dv - v * dz)) / z)
            shown = (z > 0) & (left < width) & (top < height) & (left + wide > 0) & (top + high > 0)
        at = np.flatnonzero(shown)
        first = ((top[0, at] + _MARGIN) * stride + left[0, at] + _MARGIN).astype(np.intp)
        keys = _keys(z, points.rgb[None, part])
        _scatter(nearest, stride, first, wide[0, at], high[0, at], keys[0, at])
    inside = nearest.reshape(-1, stride)[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    colour, far = np.ascontiguousarray(inside).view(np.uint32).reshape(height, width, 2).transpose(2, 0, 1)
    picture = np.ascontiguousarray(colour).view(np.uint8).reshape(height, width, 4)
    return cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), np.ascontiguousarray(far).view(np.float32)


def position_colours(depth: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Colours that say where a pixel is, uint8 [H, W, 3]: red = x / W, green = y / H, blue = depth, far is 255.

    Args:
        depth: [H, W], metres; infinite, NaN or not positive where there is nothing (blue 255 there). Blue is linear in
            it between its :data:`PERCENTILES`.
    """
    height, width = depth.shape
    seen = np.isfinite(depth) & (depth > 0)
    near, far = np.percentile(depth[seen], PERCENTILES) if seen.any() else (0.0, 1.0)
    blue = 1 - (far - np.where(seen, depth, far)) / max(far - near, 1e-9)
    red = (np.arange(width)[None] + 0.5) / width
    green = (np.arange(height)[:, None] + 0.5) / height
    colours: NDArray[np.float64] = np.stack(np.broadcast_arrays(red, green, np.clip(blue, 0, 1)), -1)
    return np.rint(255 * colours).astype(np.uint8)


def _slope(depth: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """How much deeper the surface gets in a pixel's step along an axis.

    That is the smaller of the differences to the pixel's two neighbours, none where their signs differ (the minmod
    limiter, Roe 1986), so that neither side of a depth edge leans towards the other. ``depth`` is [H, W], NaN where
    there is nothing.
    """
    gap = np.full_like(np.take(depth, [0], axis), np.nan)
    step = np.diff(depth, axis=axis)
    before, after = np.concatenate([gap, step], axis), np.concatenate([step, gap], axis)
    up, down = np.fmin(before, after), np.fmax(before, after)  # fmin and fmax take the other for a NaN
    slope: NDArray[np.float32] = np.fmax(up, 0) + np.fmin(down, 0)
    return slope


def _covered(
    centre: NDArray[np.float32], side: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first pixel with its centre in a widened box along one axis, and how many there are, at least one."""
    half = np.clip(OVERLAP / 2 * side, 0.5, LARGEST)
    first = np.ceil(centre - half - 0.5)
    return first, np.ceil(centre + half - 0.5) - first


def _keys(z: NDArray[np.float32], rgb: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Depth [1, N] in the high four bytes, colour [1, N, 3] in the low ones (on a little-endian machine)."""
    low = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]
    keys: NDArray[np.uint64] = z.view(np.uint32).astype(np.uint64) << 32 | low
    return keys


def _scatter(
    nearest: NDArray[np.uint64],
    stride: int,
    first: NDArray[np.intp],
    wide: NDArray[np.float32],
    high: NDArray[np.float32],
    keys: NDArray[np.uint64],
) -> None:
    """Lower ``nearest`` to each key throughout its block of pixels, which starts at ``first``."""
    row = 0
    while first.size:
        at, key, end, column = first, keys, wide, 0
        while at.size:
            np.minimum.at(nearest, at + (row * stride + column), key)
            column += 1
            more = np.flatnonzero(end > column)
            at, key, end = at[more], key[more], end[more]
        row += 1
        more = np.flatnonzero(high > row)
        first, keys, wide, high = first[more], keys[more], wide[more], high[more]
