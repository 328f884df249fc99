"""A face that opens its mouth: the portrait of Grace Hopper that matplotlib brings, with the chin pushed down."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from scipy import ndimage

EYES = 125.0
"""Pixels between the outer corners of her eyes, read off the picture."""

MOUTH = (268, 276)
"""x, y of the middle of her lips."""

FACE = (263, 225, 208)
"""x, y (centre) and side of her face, from the brows to the chin, read off the picture."""


@cache
def portrait(opening: float = 0.0) -> np.ndarray:
    """RGB [600, 512, 3]; ``opening`` in distances between the eyes, up to about 0.3."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    x, y = MOUTH
    half, reach = round(0.3 * EYES), 160
    for column in range(x - half, x + half + 1):
        gap = round(opening * EYES * np.sqrt(1 - ((column - x) / half) ** 2))
        jaw = picture[y : y + reach - gap, column].copy()
        picture[y : y + gap, column] = (40, 10, 10)
        picture[y + gap : y + reach, column] = jaw
    picture.flags.writeable = False
    return picture


def talking(openings: np.ndarray, width: int, height: int, mirrored: bool = False) -> list[np.ndarray]:
    """Frames of her with her mouth so wide open in each, the picture cut to the size."""
    frames = []
    for opening in np.round(openings, 2).tolist():
        picture = portrait(opening)[:, :: -1 if mirrored else 1]
        down = round(512 * height / width)
        frames.append(cv2.resize(picture[:down], (width, height), interpolation=cv2.INTER_AREA))
    return frames


def lips(samples: np.ndarray, rate: int, fps: float, count: int, lead: float = 0.08) -> np.ndarray:
    """Openings, at most 0.25, of a mouth that says the samples [n, 2]: wider where it is louder, a little ahead."""
    loud = np.sqrt(ndimage.gaussian_filter1d(np.square(samples[:, 0], dtype=float), 0.04 * rate))
    at = np.clip(((np.arange(count) + 0.5) / fps + lead) * rate, 0, len(loud) - 1).astype(int)
    return 0.25 * np.minimum(1, loud[at] / (np.percentile(loud, 95) + 1e-9))
