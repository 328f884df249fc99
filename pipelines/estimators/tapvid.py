"""How good point tracks are: the measures of TAP-Vid (Doersch et al., arXiv 2211.03726, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.tracks import Tracks

Array = NDArray[np.float64]

WITHIN = (1, 2, 4, 8, 16)
"""Pixels of a picture of 256x256."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """How near tracks are to the truth, in all frames but their queries'.

    Attributes:
        d_avg: Share of the points that are truly seen whose places are within :data:`WITHIN`, mean of the five; also
            counts those that the estimator holds to be hidden.
        d_seen: The same of those that the estimator holds to be seen too: what a canvas shows.
        occlusion: Share of all points for which it is right whether they are seen.
        median_px: Median error of what ``d_avg`` counts, in pixels of the clip.
    """

    d_avg: float
    d_seen: float
    occlusion: float
    median_px: float


def grade(
    found: Tracks,
    pixels: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    queries: Array,
    width: int,
    height: int,
) -> Grade:
    """Compare tracks with exact ones.

    Args:
        found: What an estimator gave.
        pixels: The exact places [F, N, 2].
        visible: Where they are truly seen, [F, N]; at least once besides the queries.
        queries: [N, 3]: frame, x, y.
        width: Of the clip's pictures.
        height: Of the clip's pictures.
    """
    others = np.arange(len(pixels))[:, None] != queries[:, 0].astype(int)
    miss = found.pixels - pixels
    error = np.linalg.norm(miss * (256 / width, 256 / height), axis=-1)

    def near(counted: NDArray[np.bool_]) -> float:
        return float(np.mean([(error[counted] < limit).mean() for limit in WITHIN])) if counted.any() else 0.0

    seen = visible & others
    return Grade(
        d_avg=near(seen),
        d_seen=near(seen & found.visible),
        occlusion=float((visible == found.visible)[others].mean()),
        median_px=float(np.median(np.linalg.norm(miss, axis=-1)[seen])),
    )
