"""A clip in which ``tiny_dwpose`` finds a person, and something moves before a still wall."""

from __future__ import annotations

import cv2
import numpy as np

from tests.pipelines.moving import texture

SIDE = 320
"""Pixels of the square picture, half as large as the tiny detector's."""

CELL = (9 * 16, 8 * 16)
"""Left and top of a blue cell, 16 pixels wide; the person's box is 48 x 96 pixels around it."""

DOTS = ((150, 105), (170, 125), (155, 165))
"""Where the person's red, green and blue are."""

THING, STEP = 60, 9
"""Side of what moves, from the left to the right below the person, and its pixels a frame."""


def clip(count: int = 9, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames, and what moves [F, H, W]."""
    rng = np.random.default_rng(seed)
    wall = (0.4 * texture(SIDE, SIDE, rng)).astype(np.uint8)
    wall[CELL[1] - 2 : CELL[1] + 18, CELL[0] - 2 : CELL[0] + 18] = (0, 0, 252)
    for channel, at in enumerate(DOTS):
        spot = np.zeros((SIDE, SIDE), np.uint8)
        cv2.circle(spot, at, 3, 255, -1)
        wall[..., channel] = np.maximum(wall[..., channel], spot)
    thing = (0.4 * texture(THING, THING, rng) + 60).astype(np.uint8)
    frames, moves = [], np.zeros((count, SIDE, SIDE), bool)
    for n in range(count):
        at = slice(SIDE - THING - 20, SIDE - 20), slice(20 + STEP * n, 20 + STEP * n + THING)
        frame = wall.copy()
        frame[at] = thing
        moves[n][at] = True
        frames.append(frame)
    return frames, moves
