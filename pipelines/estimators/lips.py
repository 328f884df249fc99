"""Lips and voice: how much each face that is seen looks like the one that is heard.

Two cues, measured per face and moment. A speaker's lips move: the mean speed of their opening is about 0.4 of the
eyes' distance a second in speech and 0.08 in faces that listen, smile or yawn (speed separates them, not how wide the
mouth is open). And they move with the sound: where the lips part, up to four times a second, it gets louder a little
later. These numbers and those below were measured on the clips of ``benchmarks/who_is_talking.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

Array = NDArray[np.float64]

SPAN = 0.4
"""Seconds, sigma of the Gaussian window that the lips' speed is averaged in."""

SYNC_SPAN = 0.6
"""Seconds, sigma of the window that lips and sound are compared in."""

BAND = (0.7, 4.0)
"""Hz: what is compared of the lips' opening and of the sound's level."""

LAGS = (0.0, 0.17)
"""Seconds that the sound comes after the lips, from and to; people differ."""

RESTING = 0.12
"""Speed of lips, eye distances a second, that is as often listening as speaking."""

STILL = 0.04
"""Speed that is no more than the estimator's noise."""

CHANCE = 0.1
"""Correlation of lips and sound that is as often another's voice as not."""

SPEED_WEIGHT, SYNC_WEIGHT = 2.5, 3.0
"""Nats for a factor of e in speed, and for 1 in correlation."""

MEMORY = 0.8
"""Seconds after which evidence is new: scores are in nats per so much speech."""


def evidence(mouths: NDArray[np.floating[Any]], level: Array, fps: float) -> Array:
    """How much more each face looks like the speaker than nobody does.

    Args:
        mouths: Opening of the lips, [F, P], NaN where not seen; see :class:`pipelines.estimators.faces.Faces`.
        level: The sound's, dB, in each frame's time, [F]; see :func:`levels`.
        fps: Frames a second.

    Returns:
        [F, P] nats per :data:`MEMORY` seconds against nobody's being the speaker; 0 where a mouth was not seen for a
        while.
    """
    scores = np.zeros(mouths.shape)
    for face, opening in enumerate(np.asarray(mouths, float).T):
        seen = np.isfinite(opening)
        if seen.sum() < 2:
            continue
        whole = np.interp(np.arange(len(opening)), np.flatnonzero(seen), opening[seen])
        trust = ndimage.gaussian_filter1d(seen.astype(float), SPAN * fps, mode="nearest")
        speed = ndimage.gaussian_filter1d(np.abs(np.gradient(whole)) * fps * seen, SPAN * fps, mode="nearest")
        speed = np.maximum(speed / np.maximum(trust, 1e-3), STILL)
        together = _synchrony(_band(whole, fps), _band(level, fps), fps)
        moved = np.clip(
            np.log(speed / RESTING), -1, 1
        )  # enough is enough: some open their mouths less than others
        scores[:, face] = SPEED_WEIGHT * moved + SYNC_WEIGHT * (together - CHANCE)
        scores[:, face] *= np.clip(2 * trust, 0, 1)
    return scores


def levels(samples: NDArray[np.floating[Any]], rate: int, fps: float, count: int) -> Array:
    """The sound's level in each of ``count`` frames' time, dB; what is 40 dB below the loud parts counts as that."""
    power = np.append(0, np.cumsum(np.square(samples, dtype=float).mean(axis=1)))
    at = np.clip(np.rint(np.arange(count + 1) / fps * rate).astype(int), 0, len(samples))
    mean = np.diff(power[at]) / np.maximum(np.diff(at), 1)
    db = 10 * np.log10(mean + 1e-12)
    return np.asarray(np.maximum(db, np.percentile(db, 95) - 40))


def covered(stretches: NDArray[np.float64], fps: float, count: int) -> NDArray[np.bool_]:
    """Which of ``count`` frames have their middle in one of the stretches [N, 2], seconds."""
    middle = (np.arange(count)[:, None] + 0.5) / fps
    return np.asarray(((middle >= stretches[:, 0]) & (middle < stretches[:, 1])).any(axis=1))


def _band(values: Array, fps: float) -> Array:
    """The part of a curve between the frequencies of :data:`BAND`, without delay."""
    low, high = BAND[0], min(BAND[1], 0.45 * fps)
    sos = signal.butter(2, (low, high), "band", fs=fps, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, values, padlen=min(len(values) - 1, round(2 * fps))))


def _synchrony(lips: Array, level: Array, fps: float) -> Array:
    """Correlation around each moment, with what is heard in the next moments, [F]."""

    def mean(values: Array) -> Array:
        return np.asarray(ndimage.gaussian_filter1d(values, SYNC_SPAN * fps, mode="constant"))

    lags = range(round(LAGS[0] * fps), round(LAGS[1] * fps) + 1)
    later = np.mean([ndimage.shift(level, -lag, order=0, mode="nearest") for lag in lags], axis=0)
    power = np.sqrt(mean(lips**2) * mean(later**2))
    return np.asarray(mean(lips * later) / np.maximum(power, 1e-9))
