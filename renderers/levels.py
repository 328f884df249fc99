"""How loud, how high, how wide, and whether it is fit to use: measures of sound, float [samples, channels]."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Sound = NDArray[np.floating[Any]]

SPEECH_LUFS = -23.0
"""The programme loudness of EBU R 128."""

CEILING = -1.0
"""The highest true peak allowed, dBFS (EBU R 128 and most platforms)."""

_BLOCK = 0.4  # seconds of a BS.1770 gating block
_SILENT = -60.0  # dBFS
_OFFSET = 0.01
_CLIPPED = 1e-4  # share of samples


def lufs(samples: Sound, rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4), LUFS.

    Sound under one gating block of 400 ms is measured as one block of its own length, so that only the absolute gate
    at -70 LUFS works on it. Two equal channels are 3 LU louder than one of them alone.

    Args:
        samples: [n, 1 or 2].
        rate: Sample rate, Hz.

    Returns:
        Minus infinity where there is nothing above -70 LUFS, or nothing at all.
    """
    import pyloudnorm

    if len(samples) < 2:
        return -math.inf
    block = min(_BLOCK, (len(samples) - 0.5) / rate)  # half a sample less, for rounding
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # means of no blocks, where all are gated
        meter = pyloudnorm.Meter(rate, block_size=block)
        found = float(meter.integrated_loudness(np.asarray(samples, float)))
    return -math.inf if math.isnan(found) else found


def to_lufs(samples: Sound, rate: int, target: float = SPEECH_LUFS) -> NDArray[np.float32]:
    """The sound at another loudness; peaks may pass full scale.

    Raises:
        ValueError: There is nothing in it that gain could make as loud.
    """
    power = float(np.mean(np.square(samples, dtype=float))) if samples.size else 0.0
    # Measured at about the level it will have: quiet sound lies under the absolute gate in part, louder it does not.
    level = samples * (10 ** (target / 20) / math.sqrt(power)) if power > 0 else samples
    now = lufs(level, rate)
    if now == -math.inf:
        raise ValueError("silence has no loudness to change")
    return np.asarray(level * 10 ** ((target - now) / 20), np.float32)


def snr_db(speech: Sound, bed: Sound, rate: int) -> float:
    """Speech over bed, dB: the difference of their integrated loudness.

    Loudness is gated, so pauses do not count as quiet speech; and it is weighted as ears do, so that rumble under the
    voice counts for little.
    """
    return lufs(speech, rate) - lufs(bed, rate)


def true_peak_db(samples: Sound, rate: int) -> float:
    """Highest peak of the waveform between the samples too, dBFS (BS.1770-4 annex 2: oversampled to 4 x 48 kHz).

    Args:
        samples: [n, channels].
        rate: Sample rate, Hz; below 48 kHz 4 times as many samples still miss less than 0.7 dB.

    Returns:
        Minus infinity for silence.
    """
    if not len(samples):
        return -math.inf
    factor = 4 if rate < 96_000 else 2
    peak = float(np.abs(signal.resample_poly(samples, factor, 1, axis=0)).max())
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def limit_gain(samples: Sound, rate: int, ceiling: float = CEILING) -> float:
    """The gain, at most one, that keeps the true peak at or below ``ceiling`` dBFS."""
    if not len(samples) or float(np.abs(samples).max()) < 10 ** (ceiling / 20) / 3:
        return 1.0  # between samples a wave rises to twice their height at most, or so
    over = true_peak_db(samples, rate) - ceiling + 1e-3  # rounding to float32 must not bring it back over
    return float(10 ** (-max(0.0, over) / 20))


def bandwidth(samples: Sound, rate: int, share: float = 0.99) -> float:
    """The frequency below which ``share`` of the energy lies, Hz; zero for silence."""
    if not len(samples):
        return 0.0
    frequencies, power = signal.welch(samples, rate, nperseg=min(2048, len(samples)), axis=0)
    total = np.cumsum(power.sum(axis=1))
    if total[-1] <= 0:
        return 0.0
    return float(frequencies[np.searchsorted(total, share * total[-1])])


def problem(samples: Sound, rate: int) -> tuple[str, str] | None:
    """What makes sound useless, if anything.

    Args:
        samples: [n, channels]; full scale is one.
        rate: Sample rate, Hz.

    Returns:
        A reason and a message about the first of these that holds, or None:

        * ``empty``: no samples;
        * ``not_finite``: NaN or infinite samples;
        * ``dc_offset``: a channel's mean is over 0.01 and over a tenth of its RMS about the mean;
        * ``silence``: the RMS about the mean is under -60 dBFS;
        * ``clipped``: over 0.01% of a channel's samples, and ten, lie within 0.1% of its peak, and more than in the
          tenth below it. A waveform that was cut off piles up there, even at another level; others thin out.
    """
    if samples.size == 0:
        return "empty", "no samples"
    channels, count = (
        np.ascontiguousarray(samples.T),
        len(samples),
    )  # sums along memory are four times as fast
    total = channels.sum(axis=1, dtype=float)
    if not np.isfinite(total).all():
        finite = np.isfinite(samples)
        first = int(np.argmin(finite.all(axis=1))) / rate
        return "not_finite", f"{int((~finite).sum())} samples are not finite, the first at {first:.3f} s"
    mean = total / count
    power = np.array([np.dot(channel, channel) for channel in channels.astype(float)]) / count
    rms = np.sqrt(np.maximum(power - mean**2, 0))
    if (np.abs(mean) > np.maximum(_OFFSET, rms / 10)).any():
        return "dc_offset", f"the mean is {mean[np.argmax(np.abs(mean))]:+.3f} of full scale"
    level = 20 * math.log10(max(float(np.sqrt(np.mean(rms**2))), 1e-10))
    if level < _SILENT:
        return "silence", f"{level:.0f} dBFS RMS is under {_SILENT:.0f}"
    size = np.abs(channels)
    peak = size.max(axis=1, keepdims=True)
    top = np.count_nonzero(size >= 0.999 * peak, axis=1)
    below = np.count_nonzero(size >= 0.9 * peak, axis=1) - top
    clipped = np.where((top > max(_CLIPPED * count, 10)) & (top > below) & (peak[:, 0] > 0.1), top, 0).max()
    if clipped:
        return "clipped", f"{100 * clipped / count:.2f}% of the samples are cut off at the peak"
    return None
