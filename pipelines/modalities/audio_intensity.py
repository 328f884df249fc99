"""Audio intensity: the reference is the clip's loudness carried by noise, the target the clip's sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines import sync
from pipelines.modality import Clip, Modality, Signal, Sound
from renderers import levels
from renderers.canvas import loudness

_HEARD = 40.0  # dB


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of audio-intensity.

    Attributes:
        max_smoothing: The curve is smoothed by a median over a random odd number of points up to this (8 ms each), so
            that the adapter learns to follow coarse curves too; 1 for none.
        min_range: Clips whose loudness varies less than this many dB (5th to 95th percentile) are rejected.
    """

    max_smoothing: int = 31
    min_range: float = 6.0

    def __post_init__(self) -> None:
        if self.max_smoothing < 1 or self.min_range < 0:
            raise ValueError("max_smoothing must be at least 1 and min_range at least 0")


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The loudness curve, dB RMS over 32 ms every 8 ms, and how far it was smoothed."""
    assert clip.audio is not None
    smoothing = 2 * int(rng.integers((params.max_smoothing + 1) // 2)) + 1
    curve = loudness.envelope(clip.audio, clip.timeline.sample_rate, smoothing=smoothing)
    return {"envelope_db": curve, "smoothing": np.array(smoothing)}


def sounds(clip: Clip, signal: Signal, params: Params) -> tuple[Sound, Sound]:
    """Noise as loud as the curve, its loudest moment at a fixed level, and the clip's own sound."""
    assert clip.audio is not None
    rate = clip.timeline.sample_rate
    return loudness.reference(signal["envelope_db"], len(clip.audio), rate), clip.audio


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Loudness, its range, how well the reference carries it, and whether both are in step."""
    assert clip.sounds is not None
    rate, curve = clip.timeline.sample_rate, signal["envelope_db"]
    reference, target = clip.sounds
    low, high = np.percentile(curve, [5, 95])
    if high - low < params.min_range:
        raise UnusableClip("steady", f"loudness varies by {high - low:.1f} dB")
    carried = loudness.envelope(reference, rate)[: len(curve)]
    loud = curve > curve.max() - _HEARD  # what is softer is lost in any recording's noise
    apart = (carried - curve)[loud]
    return {
        "loudness_lufs": levels.lufs(target, rate),
        "loudness_range_db": float(high - low),
        "envelope_error_db": float(np.abs(apart - np.median(apart)).mean()),
        "smoothing": int(signal["smoothing"]),
        "bandwidth_hz": levels.bandwidth(target, rate),
        "sync_ms": sync.check(sync.envelope_offset_ms(reference, target, rate)),
    }


MODALITY = Modality(
    name="audio_intensity",
    summary="loudness carried by noise -> the clip's sound",
    params=Params,
    signal=signal,
    columns=columns,
    estimator="frame-rms",
    estimator_license="Apache-2.0",
    steps=2000,
    media="audio",
    sounds=sounds,
    schema=pa.schema(
        [
            ("loudness_lufs", pa.float64()),
            ("loudness_range_db", pa.float64()),
            ("envelope_error_db", pa.float64()),
            ("smoothing", pa.int64()),
            ("bandwidth_hz", pa.float64()),
            ("sync_ms", pa.float64()),
        ]
    ),
)
