"""A small picture of one camera: its path and what it sees from above, and its field of view over the frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from catalogs.describe import Row
from catalogs.spectrum import COLOUR, PANEL

Array = NDArray[np.float64]

_RULE, _TEXT = "#262a33", "#b8bfcc"
_FINER = 3  # drawn so many times as large, then shrunk: lines without steps
_FRUSTA = 7
_SPREAD = 10.0  # least degrees between the ends of the field of view's axis


def has_cameras(row: Row) -> bool:
    """Whether a row says where its camera is: 16 numbers a frame in ``extrinsics``, a number in ``fov``."""
    return bool(row.get("extrinsics")) and bool(row.get("fov"))


def camera_panel(row: Row, size: tuple[int, int]) -> Image.Image:
    """Draw the cameras of a row: from above on the left half, the field of view on the right half.

    Up is the mean of what is up in the camera's pictures, and frame 0 looks to the panel's top, so that it is the same
    picture whichever way the world's axes go. Frusta get brighter over time; the dot is frame 0.

    Args:
        row: With ``extrinsics`` (world to camera, OpenCV axes) and ``fov`` (horizontal, degrees).
        size: Width and height in pixels.
    """
    width, height = (_FINER * side for side in size)
    panel = Image.new("RGB", (width, height), PANEL)
    draw, half = ImageDraw.Draw(panel), width // 2
    draw.line([(half, 0), (half, height)], _RULE, _FINER)
    _from_above(draw, row, (half, height))
    _field_of_view(draw, row, (half, width, height))
    return panel.resize(size, Image.Resampling.LANCZOS)


def above(row: Row) -> tuple[Array, Array]:
    """A row's eyes and viewing directions on the ground: float64 [F, 2] each, x to the right of frame 0, y ahead of it.

    Both are in the unit of the extrinsics; the directions' lengths are the cosines of their slopes.
    """
    w2c = np.array(row["extrinsics"], float).reshape(-1, 4, 4)
    rotation = w2c[:, :3, :3]
    eyes = -np.einsum("nji,nj->ni", rotation, w2c[:, :3, 3])
    flat = ground(rotation)[:, :2]
    return (eyes - eyes[0]) @ flat, rotation[:, 2] @ flat


def ground(rotation: Array) -> Array:
    """Axes to look at cameras in: right of frame 0, ahead of it on the ground, and up, the columns of [3, 3].

    Up is the mean of what is up in the pictures.

    Args:
        rotation: World to camera [F, 3, 3], OpenCV axes.
    """
    up = -rotation[:, 1].mean(axis=0)
    up /= np.linalg.norm(up)
    ahead = rotation[0, 2] - (rotation[0, 2] @ up) * up
    if np.linalg.norm(ahead) < 1e-6:  # it looks straight down or up: ahead is what is up in its picture
        ahead = np.cross(rotation[0, 0], up)
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up], axis=-1)


def _from_above(draw: Any, row: Row, box: tuple[int, int]) -> None:
    eyes, looks = above(row)
    count = len(eyes)
    shown = sorted({round(n) for n in np.linspace(0, count - 1, min(_FRUSTA, count))})
    extent = float(np.ptp(eyes, axis=0).max())
    reach = 0.35 * extent if extent > 1e-6 else 1.0
    tangents = np.tan(np.radians(np.array(row["fov"], float)) / 2)[:, None]
    aside = np.stack([looks[:, 1], -looks[:, 0]], -1) * tangents
    corners = [eyes + reach * (looks + side * aside) for side in (-1, 1)]
    every = np.concatenate([eyes, *(corner[shown] for corner in corners)])
    low, high = every.min(axis=0), every.max(axis=0)
    margin, head = 8 * _FINER, 14 * _FINER
    room = np.array([box[0] - 2 * margin, box[1] - margin - head])
    scale = float((room / np.maximum(high - low, 1e-9)).min())
    middle = (low + high) / 2

    def at(point: Array) -> tuple[float, float]:
        x, y = scale * (point - middle)
        return box[0] / 2 + x, head + room[1] / 2 - y

    for n in shown:
        colour = _between(_RULE, COLOUR["target"], 0.35 + 0.5 * n / max(1, count - 1))
        left, right = (at(corner[n]) for corner in corners)
        draw.line([at(eyes[n]), left, right, at(eyes[n])], colour, _FINER)
    draw.line([at(eye) for eye in eyes], COLOUR["target"], 2 * _FINER)
    (x, y), dot = at(eyes[0]), 3 * _FINER
    draw.ellipse([x - dot, y - dot, x + dot, y + dot], COLOUR["target"])
    draw.text((5 * _FINER, 3 * _FINER), "camera from above", _TEXT, _font())


def _field_of_view(draw: Any, row: Row, box: tuple[int, int, int]) -> None:
    left, right, height = box
    fov = np.array(row["fov"], float)
    low, high = float(fov.min()), float(fov.max())
    text = f"field of view {low:.1f}°" if high - low < 0.1 else f"field of view {low:.1f}° to {high:.1f}°"
    draw.text((left + 5 * _FINER, 3 * _FINER), text, _TEXT, _font())
    spread = max(high - low, _SPREAD)
    x = (
        np.linspace(left + 8 * _FINER, right - 8 * _FINER, len(fov))
        if len(fov) > 1
        else np.array([left, right])
    )
    level = (fov - (low + high) / 2) / spread
    y = 18 * _FINER + (height - 26 * _FINER) * (0.5 - level)
    draw.line(list(zip(x.tolist(), np.resize(y, len(x)).tolist(), strict=True)), COLOUR["target"], 2 * _FINER)


def _between(one: str, two: str, share: float) -> tuple[int, ...]:
    ends = [np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) for colour in (one, two)]
    return tuple(int(level) for level in (1 - share) * ends[0] + share * ends[1])


def _font() -> Any:
    return ImageFont.load_default(size=11 * _FINER)
