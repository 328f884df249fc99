"""Masks: packing them for storage, drawing them by lot, growing them, filling a clip with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FILL = (0x66, 0xFF, 0x00)
"""RGB of what the model must fill in (read off the authors' published examples)."""


def pack(name: str, mask: NDArray[np.bool_] | NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """A boolean array at one bit a pixel, with its shape, under ``name`` and ``name_shape``."""
    return {name: np.packbits(mask), f"{name}_shape": np.array(mask.shape, np.int32)}


def unpack(name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """What :func:`pack` packed."""
    shape = tuple(int(side) for side in arrays[f"{name}_shape"])
    return np.unpackbits(arrays[name], count=int(np.prod(shape))).reshape(shape).view(np.bool_)


def fill(frames: Sequence[NDArray[np.uint8]], mask: NDArray[np.bool_]) -> list[NDArray[np.uint8]]:
    """Frames [H, W, 3] with the masked pixels of ``mask`` [F, H, W] set to :data:`FILL`."""
    filled = []
    for frame, hole in zip(frames, mask, strict=True):
        picture = frame.copy()
        picture[hole] = FILL
        filled.append(picture)
    return filled


def dilate(mask: NDArray[np.bool_], pixels: float, frames: int) -> NDArray[np.bool_]:
    """Grow a mask in space and time.

    Args:
        mask: [F, H, W].
        pixels: Radius of a disc: a pixel is added if another's centre is no farther.
        frames: As many before and after.
    """
    grown = mask.copy()
    for shift in range(1, min(frames, len(mask) - 1) + 1):
        grown[shift:] |= mask[:-shift]
        grown[:-shift] |= mask[shift:]
    for frame in grown:
        if pixels >= 1 and frame.any():
            away = cv2.distanceTransform((~frame).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            frame[:] = away <= pixels + 1e-3  # it is rounded to single precision
    return grown


def filled_share(frames: Sequence[NDArray[np.uint8]]) -> float:
    """Share of the pixels of frames [H, W, 3] that are :data:`FILL`."""
    return float(np.mean([(frame == FILL).all(-1).mean() for frame in frames]))


def box(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One to three boxes, each 10 to 50% of a side, still through the clip. ``shape`` is [F, H, W]."""
    _, height, width = shape
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 4)):
        h, w = (rng.uniform(0.1, 0.5, 2) * (height, width)).astype(int)
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        mask[y : y + h, x : x + w] = True
    return np.broadcast_to(mask, shape).copy()


def strokes(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Two to five brush strokes: random walks of a round brush, still through the clip."""
    _, height, width = shape
    mask = np.zeros((height, width), np.uint8)
    short = min(height, width)
    for _ in range(rng.integers(2, 6)):
        steps = int(rng.integers(4, 10))
        turns = np.cumsum(rng.normal(0, 0.7, steps)) + rng.uniform(0, 2 * np.pi)
        hops = rng.uniform(0.08, 0.2, steps) * short
        walk = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * hops[:, None], 0)
        points = (walk + rng.uniform(0.1, 0.9, 2) * (width, height)).astype(np.int32)
        brush = max(3, int(rng.uniform(0.04, 0.12) * short))
        cv2.polylines(mask, [points], False, 255, brush, cv2.LINE_8)
        for x, y in points:
            cv2.circle(mask, (int(x), int(y)), brush // 2, 255, -1)
    return np.broadcast_to(mask > 0, shape).copy()


def blobs(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One to three ellipses that drift, turn and breathe through the clip."""
    frames, height, width = shape
    pictures = np.zeros(shape, np.uint8)
    time = np.arange(frames) / max(1, frames - 1)
    for _ in range(rng.integers(1, 4)):
        start, velocity = rng.uniform(0.2, 0.8, 2), rng.uniform(-0.4, 0.4, 2)
        centre = np.clip(start + time[:, None] * velocity, 0.05, 0.95) * (width, height)
        axes = rng.uniform(0.08, 0.25, 2) * min(height, width)
        breath = 1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * (time * rng.uniform(0.5, 2) + rng.uniform()))
        angle = rng.uniform(0, 360) + time * rng.uniform(-90, 90)
        for index in range(frames):
            size = np.maximum(1, axes * breath[index]).astype(int).tolist()
            at = centre[index].astype(int).tolist()
            cv2.ellipse(pictures[index], at, size, float(angle[index]), 0, 360, 255, -1)
    return pictures > 0


def frame_outside(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Everything outside a crop of 50 to 90% of each side: the outpainting mask, still through the clip."""
    _, height, width = shape
    h, w = (rng.uniform(0.5, 0.9, 2) * (height, width)).astype(int)
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    mask = np.ones((height, width), bool)
    mask[y : y + h, x : x + w] = False
    return np.broadcast_to(mask, shape).copy()
