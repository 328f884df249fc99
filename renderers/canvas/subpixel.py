"""Drawing with OpenCV to a fraction of a pixel: smooth polygons on a larger canvas that is then averaged.

OpenCV's thick lines have every second whole width and its small discs are crosses, which shows on canvases of 144 rows;
polygons are where they should be once they are shrunk by what smoothing adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FARTHEST = 1e5
"""Pixels; coordinates farther out overflow OpenCV's, and are left out."""

FINE = 540
"""The least short side, in pixels, that things are drawn at."""

BLEED = 0.6
"""Pixels of the canvas that OpenCV's smooth polygons reach beyond their outline (measured, for any radius over 1)."""

_SHIFT = 4  # fixed point in sixteenths


def factor(width: int, height: int) -> int:
    """How many times larger than the picture the canvas is."""
    return -(-FINE // min(width, height))


def enlarge(picture: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """The canvas that :func:`shrink` makes this picture of, always a new array."""
    return picture.repeat(times, 0).repeat(times, 1)


def shrink(canvas: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """The mean of each pixel's part of the canvas."""
    height, width = canvas.shape[0] // times, canvas.shape[1] // times
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) if times > 1 else canvas


def polygons(
    canvas: NDArray[np.uint8],
    outlines: NDArray[np.floating[Any]],
    colours: Iterable[tuple[int, ...]],
    times: int,
) -> None:
    """Fill convex polygons, one after the other.

    Args:
        canvas: ``times`` the picture's size, drawn on in place.
        outlines: [N, corners, 2], pixels of the picture, pixel centres at +0.5.
        colours: N of them, RGB.
        times: :func:`factor`.
    """
    fixed = np.rint((outlines * times - 0.5) * 2**_SHIFT).astype(np.int32)  # OpenCV's pixel centres are whole
    for outline, colour in zip(fixed, colours, strict=True):
        cv2.fillConvexPoly(canvas, outline, colour, cv2.LINE_AA, _SHIFT)


def capsules(
    start: NDArray[np.floating[Any]], end: NDArray[np.floating[Any]], radius: float, times: int
) -> NDArray[np.float64]:
    """Outlines [N, 18, 2] of round-ended lines from ``start`` to ``end`` [N, 2]; a disc where those are one point."""
    along, beside, _ = _axes(start, end)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 9)[:, None]
    reach = max(radius - BLEED / times, 0)
    cap, side = reach * np.cos(turn) * along, reach * np.sin(turn) * beside
    return np.concatenate([end[:, None] + cap + side, start[:, None] - cap - side], 1)


def ellipses(
    start: NDArray[np.floating[Any]], end: NDArray[np.floating[Any]], half: float, times: int
) -> NDArray[np.float64]:
    """Outlines [N, 32, 2] of the ellipses whose long axes go from ``start`` to ``end`` [N, 2], of a half width."""
    along, beside, length = _axes(start, end)
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)[:, None]
    bleed = BLEED / times
    reach = (
        np.maximum(length / 2 - bleed, 0) * np.cos(turn) * along
        + max(half - bleed, 0) * np.sin(turn) * beside
    )
    return (start + end)[:, None] / 2 + reach


def _axes(
    start: NDArray[np.floating[Any]], end: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along and beside lines, [N, 1, 2], and the lengths [N, 1, 1]."""
    span = (end - start).astype(np.float64)[:, None]
    length = np.linalg.norm(span, axis=-1, keepdims=True)
    along = np.where(length > 0, span / np.where(length > 0, length, 1), (1, 0))
    return along, np.stack([-along[..., 1], along[..., 0]], -1), length
