"""Beds made by formula, for where no recording of a place is at hand: seeded noise with the colour and pulse of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

Sound = NDArray[np.float32]

KINDS: dict[str, tuple[str, ...]] = {
    "room tone": ("room tone", "office", "ventilation", "fan", "computer", "ambience", "studio", "library"),
    "murmur": (
        "murmur",
        "crowd",
        "cafe",
        "restaurant",
        "market",
        "children",
        "classroom",
        "audience",
        "people",
    ),
    "water": ("water", "rain", "shower", "river", "sea", "waves", "fountain", "harbour", "drips"),
    "wind": ("wind", "forest", "leaves", "desert", "birds", "park", "outdoors", "rainforest", "field"),
    "traffic": (
        "traffic",
        "street",
        "city",
        "car",
        "engine",
        "road",
        "train",
        "subway",
        "bus",
        "machine",
        "hum",
    ),
}
"""What can be made, and what it can stand for."""


def bed(kind: str, seconds: float, rate: int, seed: int = 0) -> Sound:
    """A bed of one of :data:`KINDS`, float32 [n, 2], at about -30 dBFS RMS; the two channels are independent.

    Args:
        kind: What it sounds like.
        seconds: Length.
        rate: Samples a second.
        seed: The same seed gives the same samples.
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    channels = [_COLOURS[kind](count, rate, rng) for _ in range(2)]
    sound = np.stack(channels, axis=1)
    return np.asarray(sound * (10 ** (-30 / 20) / np.sqrt(np.mean(sound**2))), np.float32)


def _coloured(count: int, rate: int, rng: np.random.Generator, slope: float, low: float, high: float) -> Any:
    """Noise whose power falls by ``slope`` dB an octave between two edges in Hz, and fast beyond them."""
    frequency = np.maximum(fft.rfftfreq(count, 1 / rate), 1.0)
    gain = 10 ** (-slope / 20 * np.log2(frequency / 1000))
    gain /= np.sqrt(1 + (low / frequency) ** 6) * np.sqrt(1 + (frequency / high) ** 6)
    return fft.irfft(gain * fft.rfft(rng.standard_normal(count)), count)


def _slow(count: int, rate: int, rng: np.random.Generator, per_second: float, depth: float) -> Any:
    """A gain that wanders between 1 - depth and 1 + depth, about ``per_second`` times a second."""
    points = max(4, round(count / rate * per_second) + 3)
    wander = signal.resample(rng.uniform(-1, 1, points), count)
    return 1 + depth * np.clip(wander, -1, 1)


def _room_tone(count: int, rate: int, rng: np.random.Generator) -> Any:
    return _coloured(count, rate, rng, 5, 40, 4000)


def _murmur(count: int, rate: int, rng: np.random.Generator) -> Any:
    """A dozen voices too far to follow: speech-shaped noise, each pulsing at its own syllable rate."""
    voices = [
        _coloured(count, rate, rng, 6, rng.uniform(120, 250), 4000)
        * _slow(count, rate, rng, rng.uniform(3, 6), 0.9)
        for _ in range(12)
    ]
    return np.sum(voices, axis=0)


def _water(count: int, rate: int, rng: np.random.Generator) -> Any:
    return _coloured(count, rate, rng, 1.5, 400, 12_000) * _slow(count, rate, rng, 8, 0.3)


def _wind(count: int, rate: int, rng: np.random.Generator) -> Any:
    return _coloured(count, rate, rng, 6, 60, 2500) * _slow(count, rate, rng, 0.5, 0.8)


def _traffic(count: int, rate: int, rng: np.random.Generator) -> Any:
    """Tyres and engines: low noise that swells as cars pass, over a hum of a few harmonics."""
    time = np.arange(count) / rate
    base = rng.uniform(40, 70)
    hum = sum(np.sin(2 * np.pi * base * n * time + rng.uniform(0, 2 * np.pi)) / n for n in range(1, 7))
    noise = _coloured(count, rate, rng, 5, 50, 3000)
    return noise / noise.std() * _slow(count, rate, rng, 0.4, 0.7) + 0.3 * hum


_COLOURS = {"room tone": _room_tone, "murmur": _murmur, "water": _water, "wind": _wind, "traffic": _traffic}
