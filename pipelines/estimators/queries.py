"""Which points to follow: a jittered grid where there is texture, and a seeded, spread choice of what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STARTS = (0.25, 0.75)
"""Where in the clip points are laid out, as parts of its length: no frame is farther than a quarter from one of them,
so that what comes into the picture or leaves it is followed too."""

SMALLEST = 0.01
"""Share of the picture below which what points may lie on gets no finer grid."""

TEXTURE = 4e-5
"""Least smaller eigenvalue of the structure tensor (:func:`texture`) of a point that can be followed. Of a plain
picture under noise of 2 levels of 255 one pixel in 100 has 3e-5; the softest tenth of a blurry texture has 8e-5."""


def grid(
    frames: Sequence[NDArray[np.uint8]],
    count: int,
    rng: np.random.Generator,
    where: NDArray[np.bool_] | None = None,
) -> Array:
    """Lay out points: one at random in each cell of a square grid, where there is texture.

    Args:
        frames: F times RGB [H, W, 3].
        count: About so many in each of the frames of :data:`STARTS`; fewer where there is no texture.
        rng: Where in its cell.
        where: Pixels that points may lie on, [F, H, W]; None for all. The smaller they are, the finer is the grid.

    Returns:
        [N, 3]: frame, x, y in pixels, pixel centres at +0.5.
    """
    height, width = frames[0].shape[:2]
    if where is not None:
        count = round(count / max(float(where.mean()), SMALLEST))
    across = max(1, round(np.sqrt(count * width / height)))
    down = max(1, round(count / across))
    cells = np.stack(np.meshgrid(np.arange(across), np.arange(down)), -1).reshape(-1, 2)
    found = []
    for frame in sorted({round(part * (len(frames) - 1)) for part in STARTS}):
        points = (cells + rng.uniform(size=cells.shape)) * (width / across, height / down)
        x, y = points.astype(int).T
        rich = texture(frames[frame])[y, x] >= TEXTURE
        if where is not None:
            rich &= where[frame, y, x]
        found.append(np.column_stack([np.full(rich.sum(), frame), points[rich]]))
    return np.concatenate(found)


def texture(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The smaller eigenvalue of the structure tensor at every pixel, [H, W]: 0 on plain areas and along edges."""
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return np.asarray(cv2.cornerMinEigenVal(luma, 7, ksize=3), np.float32)


def reach(pixels: NDArray[np.floating[Any]], visible: NDArray[np.bool_]) -> Array:
    """Diagonal of the box that each point stays in while it is seen, pixels: [F, N, 2] and [F, N] to [N]."""
    where = visible[..., None]
    low = np.min(pixels, axis=0, where=where, initial=np.inf)
    high = np.max(pixels, axis=0, where=where, initial=-np.inf)
    return np.asarray(np.linalg.norm(np.maximum(high - low, 0), axis=-1), np.float64)


def choose(
    pixels: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    count: int,
    distance: float,
    bias: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw points by lot that keep apart.

    Args:
        pixels: [F, N, 2].
        visible: [F, N].
        count: At most so many.
        distance: Pixels that two points keep between them in every frame that both are seen in, on average.
        bias: Points are drawn with weights (1 px + :func:`reach`) ** bias; 0 makes all equal.
        rng: The lot.

    Returns:
        Their indices, in order.
    """
    weights = (1 + reach(pixels, visible)) ** bias
    # Exponential clocks (Efraimidis and Spirakis 2006): in order, a weighted draw without replacement.
    order = np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")
    chosen: list[int] = []
    for index in order.tolist():
        if len(chosen) == count:
            break
        both = visible[:, chosen] & visible[:, [index]]
        apart = np.linalg.norm(pixels[:, chosen] - pixels[:, [index]], axis=-1)
        mean = np.where(both, apart, 0).sum(0) / np.maximum(both.sum(0), 1)
        if not (both.any(0) & (mean < distance)).any():
            chosen.append(index)
    return np.sort(np.array(chosen, np.int64))
