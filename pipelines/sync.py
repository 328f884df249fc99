"""Is one sound as late as the other? Measured on every sample whose reference and target are both heard."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from catalogs.errors import UnusableClip

Sound = NDArray[np.floating[Any]]

LIMIT_MS = 20.0
"""A sample whose sounds are further apart than this is rejected: about where people notice."""
_ENOUGH = 12_000  # samples a second
_REACH = 0.25  # seconds that are searched on either side


def waveform_offset_ms(a: Sound, b: Sound, rate: int) -> float:
    """How much later ``b`` [n, c] is than ``a``, by their waveforms; for the same sound through a room or a channel.

    The peak of the cross-correlation whitened by its magnitude (GCC-PHAT; Knapp and Carter 1976), which the first
    arrival wins over reverberation; at 12 kHz, where a tenth of a millisecond is still told.
    """
    step = max(1, rate // _ENOUGH)
    low = [sound[: len(sound) // step * step].mean(axis=1).reshape(-1, step).mean(axis=1) for sound in (a, b)]
    size = fft.next_fast_len(2 * max(map(len, low)), real=True)
    spectra = [fft.rfft(sound, size) for sound in low]
    cross = np.conj(spectra[0]) * spectra[1]
    power = np.abs(cross)
    cross = cross / (power + 1e-3 * power.mean() + 1e-12)
    return _lag(fft.irfft(cross, size), round(rate / step))


def envelope_offset_ms(a: Sound, b: Sound, rate: int) -> float:
    """How much later ``b`` [n, c] is than ``a``, by how loud they are; for sounds that share no waveform."""
    hop = max(1, round(rate / 1000))
    rises = []
    for sound in (a, b):
        power = np.square(sound, dtype=float).mean(axis=1)
        level = np.log(signal.fftconvolve(power, np.ones(8 * hop) / (8 * hop), "same")[::hop].clip(1e-10))
        rises.append(level - level.mean())
    size = fft.next_fast_len(2 * len(rises[0]), real=True)
    cross = np.conj(fft.rfft(rises[0], size)) * fft.rfft(rises[1], size)
    return _lag(fft.irfft(cross, size), round(rate / hop))


def check(offset_ms: float) -> float:
    """The offset, if it is small enough.

    Raises:
        UnusableClip: It is over :data:`LIMIT_MS`.
    """
    if abs(offset_ms) > LIMIT_MS:
        raise UnusableClip("out_of_sync", f"target and reference are {offset_ms:+.0f} ms apart")
    return offset_ms


def _lag(correlation: NDArray[np.float64], rate: int) -> float:
    reach = min(round(_REACH * rate), len(correlation) // 2 - 1)
    lags = np.r_[np.arange(reach + 1), np.arange(-reach, 0)]
    return 1000 * float(lags[np.argmax(correlation[lags])]) / rate
