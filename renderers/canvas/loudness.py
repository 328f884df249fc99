"""Audio intensity: the loudness curve of a clip, and the noise that carries it to the model.

A curve is float64 [k]: RMS levels in dB of full scale over 32 ms, 8 ms apart, the first centred on the first sample
(512 and 128 samples at 16 kHz). Arrays of sound are float [samples, channels].
"""

from __future__ import annotations

import csv
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Sound = NDArray[np.floating[Any]]
Curve = NDArray[np.float64]

WINDOW, HOP = 0.032, 0.008
"""Seconds."""

FLOOR = -80.0
"""dB; what is quieter counts as this."""

LOUDEST = -16.0
"""dB RMS of the loudest moment of a reference: the noise peaks some 12 dB over its RMS, and must not clip."""

SEED = 0
"""Of the carrier: always the same noise, so that a reference differs from another by its loudness alone."""

_PERIOD = 10  # seconds until the carrier repeats
_LOWEST = 80.0  # Hz: slower waves are too few in a window to have a steady level


def envelope(samples: Sound, rate: int, *, smoothing: int = 1) -> Curve:
    """The loudness curve of a sound.

    Args:
        samples: [n, channels]; the channels' powers are averaged. Windows that reach over an end hold what is there.
        rate: Sample rate, Hz.
        smoothing: Points of the median filter, odd; one for none.

    Returns:
        [1 + floor(n / rate / HOP)] dB, at least :data:`FLOOR`.
    """
    power = np.append(0, np.cumsum(np.mean(np.square(samples, dtype=float), axis=1)))
    centres = _times(len(samples) / rate) * rate
    begin = np.clip(np.round(centres - WINDOW / 2 * rate).astype(int), 0, len(samples))
    end = np.clip(np.round(centres + WINDOW / 2 * rate).astype(int), 0, len(samples))
    mean = (power[end] - power[begin]) / np.maximum(end - begin, 1)
    curve: Curve = 10 * np.log10(np.maximum(mean, 10 ** (FLOOR / 10)))
    return np.asarray(ndimage.median_filter(curve, smoothing, mode="nearest"))


def carrier(curve: Curve, length: int, rate: int, seed: int = SEED) -> NDArray[np.float32]:
    """Pink noise as loud as the curve: the reference audio of "audio intensity".

    Noise rather than a tone, which would leave most mel bins at their floor (correlation of their mean with the curve
    0.8 to 0.9, against 0.99).

    Args:
        curve: dB, as :func:`envelope` gives it; what is missing at the end is as loud as its last point.
        length: Samples.
        rate: Sample rate, Hz.
        seed: Of the noise. Its phases are the same at every rate.

    Returns:
        [length, 2], both channels alike. Its peaks are some 12 dB over its RMS and may pass full scale.

    Raises:
        ValueError: The curve is empty or not finite.
    """
    if not len(curve) or not np.isfinite(curve).all():
        raise ValueError("a loudness curve needs points, and finite ones")
    noise = np.resize(_pink(rate, seed), length)
    clock, times = np.arange(length) / rate, _times(length / rate)
    wanted = np.maximum(np.interp(times, np.arange(len(curve)) * HOP, curve), FLOOR)
    # Noise is uneven and a window averages what the curve does in it: correct the gain by what it came to.
    shaped, gain = noise, np.zeros(len(times))
    for _ in range(4):
        gain += wanted - envelope(shaped[:, None], rate)
        shaped = noise * 10 ** (np.interp(clock, times, gain) / 20)
    return np.repeat(shaped[:, None], 2, axis=1).astype(np.float32)


def reference(curve: Curve, length: int, rate: int) -> NDArray[np.float32]:
    """The curve's :func:`carrier` with its loudest moment at :data:`LOUDEST`: what the model is shown.

    How loud a clip is as a whole is a matter of its recording; the control is how its loudness changes.
    """
    return carrier(curve - curve.max() + LOUDEST if len(curve) else curve, length, rate)


def resample(curve: Curve, seconds: float) -> Curve:
    """The curve stretched or squeezed to a clip of ``seconds``: [1 + floor(seconds / HOP)]."""
    places = np.linspace(0, len(curve) - 1, len(_times(seconds)))
    return np.asarray(np.interp(places, np.arange(len(curve)), curve))


def from_csv(path: Path) -> Curve:
    """A curve from lines of ``seconds,dB``, with straight lines between them; a first line may name the columns.

    Returns:
        From zero to the last line's time; before the first line's it is level.

    Raises:
        ValueError: There is no line, one is not two finite numbers, times do not rise from zero on, or a level is
            over 0 dB.
    """
    points: list[tuple[float, float]] = []
    with open(path, newline="", encoding="utf-8-sig") as lines:
        for number, line in enumerate(csv.reader(lines), 1):
            try:
                if line:
                    seconds, level = map(float, line)
                    points.append((seconds, level))
            except ValueError:
                if number > 1 or line[0][:1].isdigit():
                    raise ValueError(f"{path}, line {number}: not two numbers: {','.join(line)}") from None
    if not points:
        raise ValueError(f"{path}: no lines of seconds,dB")
    times, levels = np.array(points).T
    if not np.isfinite(points).all() or (np.diff(times, prepend=-1e-9) <= 0).any() or (levels > 0).any():
        raise ValueError(f"{path}: times must rise from zero on, and levels be finite and at most 0 dB")
    return np.asarray(np.maximum(np.interp(_times(times[-1]), times, levels), FLOOR))


def from_picture(path: Path, seconds: float, floor_db: float = -60.0) -> Curve:
    """A curve drawn by hand: a dark line on light paper, without axes.

    Args:
        path: A picture that OpenCV reads; what is transparent is paper.
        seconds: What its width stands for.
        floor_db: What its lower edge stands for; the upper one is 0 dB.

    Returns:
        [1 + floor(seconds / HOP)] dB. A column's level is the middle of its ink; where there is none, a straight line.

    Raises:
        ValueError: It is no picture, or there is no line on it.
    """
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype.kind != "u":
        raise ValueError(f"{path}: not a picture")
    picture = picture.astype(float) / np.iinfo(picture.dtype).max
    picture = picture[..., None] if picture.ndim == 2 else picture
    grey = picture[..., :3].mean(axis=-1)
    if picture.shape[-1] == 4:
        grey = 1 - (1 - grey) * picture[..., 3]
    paper, darkest = float(np.median(grey)), float(grey.min())
    if paper - darkest < 0.2:
        raise ValueError(f"{path}: no dark line on light paper")
    ink = np.clip((paper - grey) / (paper - darkest) - 0.5, 0, None)
    drawn = np.flatnonzero(ink.sum(axis=0))
    rows = (np.arange(len(ink)) + 0.5) @ ink[:, drawn] / ink[:, drawn].sum(axis=0)
    times = (drawn + 0.5) / ink.shape[1] * seconds
    return np.asarray(np.interp(_times(seconds), times, floor_db * rows / len(ink)), np.float64)


def _times(seconds: float) -> Curve:
    """Where the points of a clip's curve lie, seconds."""
    return np.arange(1 + math.floor(seconds / HOP + 1e-9), dtype=np.float64) * HOP


@functools.lru_cache(maxsize=4)
def _pink(rate: int, seed: int) -> Sound:
    """Ten seconds of pink noise of unit power that repeat without a seam, from :data:`_LOWEST` Hz up."""
    bins = np.arange(1, _PERIOD * rate // 2)
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(bins))
    spectrum = np.append(0, np.exp(1j * phases) / np.sqrt(bins) * (bins >= _LOWEST * _PERIOD))
    noise: Sound = fft.irfft(spectrum, _PERIOD * rate)
    noise /= noise.std()
    noise.flags.writeable = False
    return noise
