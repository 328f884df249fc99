"""Depth: the reference is depth in grey, near is bright, normalised over the clip; the target is the clip.

Of rendered scenes the signal is depth in metres (``depth``). Of real clips it is an estimator's inverse depth without a
unit (``inverse``, ``ends``; ``holes`` if it knows no depth of some pixels). Both are drawn alike: linear in inverse
depth, from the clip's far to its near percentile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import depth as estimators
from pipelines.estimators.card import Card
from pipelines.estimators.depth_steady import flicker, follow
from pipelines.modality import Clip, Frames, Modality, Signal, place
from renderers.canvas.depth import decode_log, encode_log, gray

_TOP = 65535


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of depth.

    Attributes:
        min_covered: Clips with depth on less than this share of their pixels are rejected.
        estimator: Measures the depth of real clips; see ``avcontrol estimators``.
        weights: Folder or hub name of its weights; "" for its own.
        checkout: Folder of its git repository, where it runs from one.
    """

    min_covered: float = 0.1
    estimator: str = estimators.ESTIMATORS[0].name
    weights: str = place()
    checkout: str = place()

    def __post_init__(self) -> None:
        if not 0 <= self.min_covered <= 1:
            raise ValueError("min_covered must lie in [0, 1]")
        try:
            estimators.card_of(self.estimator)
        except ConfigError as error:
            raise ValueError(f"estimator: {error}") from None


def estimator_of(params: Params) -> Card:
    """What measures real clips."""
    return estimators.card_of(params.estimator)


def weights_of(params: Params) -> str:
    """Hash of its weights."""
    return estimators.weights_hash(params.estimator, weights=params.weights, checkout=params.checkout)


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Relative inverse depth [F, H, W] as 16-bit codes from 0 at the first to 65535 at the second of its ends.

    Of an estimator that has no depth of some pixels the code 0 is theirs alone.
    """
    estimate = estimators.load(params.estimator, weights=params.weights, checkout=params.checkout)
    found = estimate(clip.frames)
    low, high = np.nanmin(found.inverse), np.nanmax(found.inverse)
    holes = {}
    if found.valid is not None:
        low -= (high - low) / np.float32(_TOP - 1)
        holes = {"holes": np.array(True)}
    inverse = found.inverse if found.valid is None else np.where(found.valid, found.inverse, low)
    codes = np.rint((inverse - low) * np.float32(_TOP / (high - low))).astype(np.uint16)
    return {
        "inverse": codes,
        "ends": np.array([low, high], np.float32),
        "flicker": _number(found.flicker),
        **holes,
    }


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Planar depth in metres as 16-bit logarithms [F, H, W]."""
    assert clip.view is not None
    codes = encode_log(clip.view.depth)
    metres = decode_log(codes)
    inverse = np.where(np.isfinite(metres), 1 / metres, np.nan)
    return {"depth": codes, "flicker": _number(flicker(inverse, follow(clip.frames)))}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Grey, near is bright, what has no depth is black."""
    if "inverse" in signal:
        return gray(
            signal["inverse"], inverse=True, valid=signal["inverse"] > 0 if "holes" in signal else None
        )
    return gray(decode_log(signal["depth"]))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """What the depth is of, the share of the pixels that have one, its ends in metres where known, and its flicker."""
    depth = decode_log(signal["depth"]) if "depth" in signal else None
    near = far = None
    covered = 1.0
    if depth is not None or "holes" in signal:
        known = np.isfinite(depth) if depth is not None else signal["inverse"] > 0
        covered = float(known.mean())
        if covered < params.min_covered:
            raise UnusableClip("no_depth", f"only {covered:.0%} of the pixels have a depth")
    if depth is not None:
        near, far = float(depth[known].min()), float(depth[known].max())
    changes = float(signal["flicker"])
    return {
        "depth_unit": "m" if "depth" in signal else "relative",
        "depth_covered": covered,
        "depth_near_m": near,
        "depth_far_m": far,
        "depth_flicker": changes if np.isfinite(changes) else None,
    }


def _number(value: float | None) -> NDArray[np.float32]:
    return np.array(np.nan if value is None else value, np.float32)


MODALITY = Modality(
    name="depth",
    summary="depth in grey, near is bright -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=estimator_of,
    weights_of=weights_of,
    version=2,
    steps=3000,
    gray=True,
    schema=pa.schema(
        [
            ("depth_unit", pa.string()),
            ("depth_covered", pa.float64()),
            ("depth_near_m", pa.float64()),
            ("depth_far_m", pa.float64()),
            ("depth_flicker", pa.float64()),
        ]
    ),
)
