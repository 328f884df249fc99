"""Detailing: the reference is the clip at half size, blurred and compressed, the target is the clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas.degrade import Degradation, degrade

DOWNSCALE = 2


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of detailing: ranges that the degradation of each clip is drawn from.

    Attributes:
        min_scale, max_scale: Size relative to the clip (log-uniform).
        max_blur: Gaussian sigma at the reduced size (uniform from 0).
        max_noise: Grey noise, of 255 (uniform from 0).
        min_crf, max_crf: x264 constant rate factor (uniform).
    """

    min_scale: float = 0.125
    max_scale: float = 0.5
    max_blur: float = 1.5
    max_noise: float = 6.0
    min_crf: int = 23
    max_crf: int = 40

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ValueError("scales must satisfy 0 < min_scale <= max_scale <= 1")
        if not 0 <= self.min_crf <= self.max_crf <= 51:
            raise ValueError("crf must satisfy 0 <= min_crf <= max_crf <= 51")
        if self.max_blur < 0 or self.max_noise < 0:
            raise ValueError("max_blur and max_noise must be at least 0")


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The degradation drawn for this clip, and the seed of its noise."""
    return {
        "scale": np.array(np.exp(rng.uniform(np.log(params.min_scale), np.log(params.max_scale)))),
        "blur": np.array(rng.uniform(0, params.max_blur)),
        "noise": np.array(rng.uniform(0, params.max_noise)),
        "crf": np.array(rng.integers(params.min_crf, params.max_crf + 1)),
        "noise_seed": np.array(rng.integers(2**32)),
    }


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The degraded clip at half the target's size."""
    size = (clip.timeline.width // DOWNSCALE, clip.timeline.height // DOWNSCALE)
    return degrade(clip.frames, _how(signal), size, np.random.default_rng(int(signal["noise_seed"])))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """The degradation's figures."""
    return {f"degraded_{name}": value for name, value in asdict(_how(signal)).items()}


def _how(signal: Signal) -> Degradation:
    return Degradation(
        scale=float(signal["scale"]),
        blur=float(signal["blur"]),
        noise=float(signal["noise"]),
        crf=int(signal["crf"]),
    )


MODALITY = Modality(
    name="detailing",
    summary="low-resolution, blurred, compressed clip at half size -> the clip",
    params=Params,
    signal=signal,
    canvas=canvas,
    columns=columns,
    estimator="seeded-degradation",
    estimator_license="Apache-2.0",
    steps=200,
    downscale=DOWNSCALE,
    schema=pa.schema(
        [
            ("degraded_scale", pa.float64()),
            ("degraded_blur", pa.float64()),
            ("degraded_noise", pa.float64()),
            ("degraded_crf", pa.int64()),
        ]
    ),
)
