"""Who is talking, drawn: one filled box a head on black, green while it speaks and grey while it is silent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SPEAKING, SILENT = (0, 200, 0), (92, 92, 92)
"""RGB."""


def draw(
    boxes: NDArray[np.floating[Any]], speaking: NDArray[np.bool_], width: int, height: int
) -> NDArray[np.uint8]:
    """The heads of one frame.

    Args:
        boxes: [P, 4]: left, top, right, bottom in pixels of the picture; may be off it; NaN: not there.
        speaking: [P].
        width: Of the picture, pixels.
        height: The same.

    Returns:
        uint8 [H, W, 3], RGB: no other colours than black and the two, edges at whole pixels. Who speaks is drawn last,
        over the others.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    present = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    for index in sorted(present.tolist(), key=lambda index: bool(speaking[index])):
        edges = np.clip(np.rint(boxes[index]), 0, [width, height, width, height]).astype(int)
        picture[edges[1] : edges[3], edges[0] : edges[2]] = SPEAKING if speaking[index] else SILENT
    return picture
