"""Discs that go along lines, as masks."""

from __future__ import annotations

import cv2
import numpy as np


def discs(paths: list[np.ndarray], radius: int = 8, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """Each path's disc alone, [N, F, H, W]; NaN is out of sight."""
    drawn = np.zeros((len(paths), len(paths[0]), size[1], size[0]), np.uint8)
    for pictures, path in zip(drawn, paths, strict=True):
        for picture, at in zip(pictures, path, strict=True):
            if np.isfinite(at).all():
                cv2.circle(picture, tuple(at.round().astype(int).tolist()), radius, 1, -1)
    return drawn > 0


def line(start: tuple[float, float], end: tuple[float, float], count: int = 25) -> np.ndarray:
    return np.linspace(start, end, count)
