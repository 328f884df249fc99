"""Depth: the reference is depth in grey, near is bright, normalised over the clip; the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas.depth import decode_log, encode_log, gray


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of depth.

    Attributes:
        min_covered: Clips with depth on less than this share of their pixels are rejected.
    """

    min_covered: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.min_covered <= 1:
            raise ValueError("min_covered must lie in [0, 1]")


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Planar depth in metres as 16-bit logarithms [F, H, W]."""
    assert clip.view is not None
    return {"depth": encode_log(clip.view.depth)}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Grey, near is bright, what has no depth is black."""
    return gray(decode_log(signal["depth"]))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Share of the pixels that have a depth, and the nearest and farthest of it."""
    depth = decode_log(signal["depth"])
    known = np.isfinite(depth)
    if known.mean() < params.min_covered:
        raise UnusableClip("no_depth", f"only {known.mean():.0%} of the pixels have a depth")
    return {
        "depth_covered": float(known.mean()),
        "depth_near_m": float(depth[known].min()),
        "depth_far_m": float(depth[known].max()),
    }


MODALITY = Modality(
    name="depth",
    summary="depth in grey, near is bright -> the clip",
    params=Params,
    signal=None,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=3000,
    gray=True,
    schema=pa.schema(
        [("depth_covered", pa.float64()), ("depth_near_m", pa.float64()), ("depth_far_m", pa.float64())]
    ),
)
