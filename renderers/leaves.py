"""Textures like photographs, and sampling them without aliasing: dead leaves and a pyramid of means.

Dead leaves (Lee, Mumford & Huang, "Occlusion models for natural images", IJCV 2001): shapes with radii by the law r^-3
that hide one another have the spectrum, edges and corners of natural pictures at every scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = 6
"""Of a pyramid: each half as wide as the one before."""


def leaves(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A picture [H, W, 3]: ellipses and rectangles of radii from 1.5 pixels on, over noise of every octave."""
    count = max(40, width * height // 110)
    small, large = 1.5, min(width, height) / 3
    even = rng.random(count)
    radius = 1 / np.sqrt(even / small**2 + (1 - even) / large**2)  # the law r^-3 between the two
    centre = rng.uniform((0, 0), (width, height), (count, 2))
    tone = rng.uniform(70, 180) + rng.normal(0, 22, 3)
    shade = np.clip(tone + rng.normal(0, 42, (count, 1)) + rng.normal(0, 14, (count, 3)), 8, 247)
    turn, flat, square = rng.uniform(0, 180, count), rng.uniform(0.4, 1.0, count), rng.random(count) < 0.5
    picture = np.full((height, width, 3), np.clip(tone, 8, 247).astype(np.uint8))
    for k in np.argsort(-radius[: count // 4]).tolist() + list(
        range(count // 4, count)
    ):  # some lie under all others
        box = (tuple(centre[k]), (2 * radius[k], 2 * radius[k] * flat[k]), turn[k])
        if square[k]:
            corners = np.round(cv2.boxPoints(box) * 16).astype(np.int32)
            cv2.fillConvexPoly(picture, corners, shade[k].tolist(), cv2.LINE_AA, 4)
        else:
            cv2.ellipse(picture, box, shade[k].tolist(), cv2.FILLED, cv2.LINE_AA)
    return np.clip(picture + _octaves(rng, width, height)[..., None], 0, 255).astype(np.uint8)


def _octaves(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Noise [H, W] as strong at each scale: the 1/f of natural pictures."""
    total = np.zeros((height, width), np.float32)
    cell = 2
    while cell < min(width, height):
        grid = rng.normal(0, 11, (height // cell + 2, width // cell + 2)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cell *= 2
    return total


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Textures at :data:`LEVELS` scales, all texels in one list.

    Attributes:
        texels: uint8 [T, 3].
        start: Where a texture's level begins, int64 [textures, LEVELS].
        size: Its width and height, int64 [textures, LEVELS, 2].
    """

    texels: NDArray[np.uint8]
    start: NDArray[np.int64]
    size: NDArray[np.int64]


def pyramid(pictures: Sequence[NDArray[np.uint8]]) -> Pyramid:
    """Halve each picture, whose sides are multiples of 2^(LEVELS - 1), again and again by means of 2x2."""
    texels: list[NDArray[np.uint8]] = []
    size = np.zeros((len(pictures), LEVELS, 2), np.int64)
    for n, picture in enumerate(pictures):
        for level in range(LEVELS):
            size[n, level] = picture.shape[1::-1]
            texels.append(picture.reshape(-1, 3))
            picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    lengths = np.array([len(part) for part in texels])
    start = (np.cumsum(lengths) - lengths).reshape(len(pictures), LEVELS)
    return Pyramid(texels=np.concatenate(texels), start=start, size=size)


def sample(textures: Pyramid, which: NDArray[np.integer[Any]], places: Array, footprint: Array) -> Array:
    """Colours [N, 3]: linear in place and in scale between the two levels next to a footprint.

    Args:
        textures: What to sample.
        which: The texture of each sample [N].
        places: Where, in texels of the finest level, [N, 2]; beyond the edge is as the edge.
        footprint: How many of those a sample is wide, [N].
    """
    scale = np.clip(np.log2(np.maximum(footprint, 1e-6)), 0, LEVELS - 1)
    fine = np.minimum(scale.astype(np.int64), LEVELS - 2)
    share = scale - fine
    colour = np.zeros((len(which), 3))
    for level, weight in ((fine, 1 - share), (fine + 1, share)):
        size = textures.size[which, level]
        at = np.clip(places / (1 << level)[:, None] - 0.5, 0, size - 1)
        low = np.minimum(at.astype(np.int64), size - 2)
        right, down = (at - low).T
        first = textures.start[which, level] + low[:, 1] * size[:, 0] + low[:, 0]
        for step, part in (
            (0, (1 - right) * (1 - down)),
            (1, right * (1 - down)),
            (size[:, 0], (1 - right) * down),
            (size[:, 0] + 1, right * down),
        ):
            colour += textures.texels[first + step] * (weight * part)[:, None]
    return colour
