"""Speech by formula: a glottal pulse train through formants, in syllables. Silero takes it for speech."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, lfilter, sosfiltfilt

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (530, 1840, 2480), (570, 840, 2410), (300, 870, 2240))


def spoken(seconds: float, rate: int = 16_000, seed: int = 0, pitch: float = 120.0) -> np.ndarray:
    """Somebody saying nothing in particular, float32 [n, 2], peaking at about 0.5."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    sound = np.zeros(count)
    at = 0
    while at < count:
        length = round(rng.uniform(0.12, 0.28) * rate)
        time = np.arange(length) / rate
        tone = pitch * (1 + 0.15 * rng.standard_normal() + 0.1 * np.sin(2 * np.pi * 3 * time))
        phase = np.cumsum(tone) / rate
        source = (np.diff(np.floor(phase), prepend=0) > 0).astype(float) + 0.01 * rng.standard_normal(length)
        voice = source
        for formant in _VOWELS[rng.integers(len(_VOWELS))]:
            radius = np.exp(-np.pi * 80 / rate)
            voice = lfilter(
                [1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2], voice
            )
        voice /= np.abs(voice).max() + 1e-9
        hiss = round(0.03 * rate)
        syllable = np.concatenate([0.15 * rng.standard_normal(hiss), voice * np.hanning(length) ** 0.3])
        end = min(count, at + len(syllable))
        sound[at:end] += syllable[: end - at]
        at = end + round(rng.uniform(0.0, 0.06) * rate) + (round(0.3 * rate) if rng.random() < 0.1 else 0)
    sound = sosfiltfilt(butter(2, 60, "highpass", fs=rate, output="sos"), sound)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)[:, None].repeat(2, axis=1)
