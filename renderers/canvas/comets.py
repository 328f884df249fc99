"""Sparse tracks as comets: every point with the trail of where it was, on black."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.canvas import subpixel

HEAD, TAIL = 8.0, 2.0
"""Radii in pixels of a picture whose short side is 1080: of the point now, and of the oldest drawn."""


def draw(
    tracks: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    width: int,
    height: int,
    *,
    history: int = 50,
) -> list[NDArray[np.uint8]]:
    """Comet trails, F times uint8 [H, W, 3].

    A point's moment of an age (0 is this frame, at most ``history`` - 1) is a round-ended line to its next moment, or a
    dot where that one is not visible or there is none yet; the younger lies over the older. With age the radius goes
    from :data:`HEAD` to :data:`TAIL` and the hue from blue through green and yellow to red.

    Args:
        tracks: [F, N, 2], pixels, pixel centres at +0.5; may be off the picture.
        visible: [F, N]; a moment that is not visible, or NaN, is a gap in the trail.
        width: Of the pictures.
        height: Of the pictures.
        history: Frames that a trail is long, this one included.
    """
    age = np.linspace(0, 1, history)
    radius = (HEAD + (TAIL - HEAD) * age) * min(width, height) / 1080
    colour = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb((1 - a) * 2 / 3, 1, 1)) for a in age]
    with np.errstate(invalid="ignore"):
        shown = visible.astype(bool) & (np.abs(tracks) < subpixel.FARTHEST).all(-1)
    times = subpixel.factor(width, height)
    pictures = []
    for frame in range(len(tracks)):
        canvas = np.zeros((times * height, times * width, 3), np.uint8)
        for old in range(min(history - 1, frame), -1, -1):
            now, after = frame - old, min(frame - old + 1, frame)
            joined = np.where(shown[after, :, None], tracks[after], tracks[now])
            seen = shown[now]
            outlines = subpixel.capsules(tracks[now][seen], joined[seen], radius[old], times)
            subpixel.polygons(canvas, outlines, [colour[old]] * len(outlines), times)
        pictures.append(subpixel.shrink(canvas, times))
    return pictures
