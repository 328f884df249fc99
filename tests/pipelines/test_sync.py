"""Offsets between sounds, on sounds that were moved by a known amount."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import UnusableClip
from pipelines.sync import check, envelope_offset_ms, waveform_offset_ms

RATE = 16_000


def speech(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise that comes and goes as syllables do, float32 [n, 2]."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    gains = np.repeat(rng.uniform(0, 1, count // 1600 + 1) ** 3, 1600)[:count]
    return (rng.normal(0, 0.2, count) * gains)[:, None].repeat(2, 1).astype(np.float32)


def moved(sound: np.ndarray, samples: int) -> np.ndarray:
    return np.roll(sound, samples, axis=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), samples=st.integers(-1600, 1600))
def test_a_move_is_found_to_the_sample_under_noise_and_reverberation(seed: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    dry = speech(seed)
    tail = np.exp(-np.arange(8000) / 1500) * rng.normal(0, 0.05, 8000)
    tail[0] = 1.0
    wet = np.apply_along_axis(lambda one: np.convolve(one, tail)[: len(one)], 0, dry)
    noisy = moved(wet, samples) + rng.normal(0, 0.01, dry.shape)
    assert waveform_offset_ms(dry, noisy, RATE) == pytest.approx(1000 * samples / RATE, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), ms=st.integers(-100, 100))
def test_other_noise_of_the_same_loudness_is_placed_within_milliseconds(seed: int, ms: int) -> None:
    rng = np.random.default_rng(seed + 1)
    one = speech(seed)
    loudness = np.sqrt(np.convolve(one[:, 0] ** 2, np.ones(512) / 512, "same"))
    other = (rng.normal(0, 1, len(one)) * loudness)[:, None].repeat(2, 1)
    found = envelope_offset_ms(one, moved(other, ms * RATE // 1000), RATE)
    assert found == pytest.approx(ms, abs=12)


def test_what_people_notice_is_refused() -> None:
    assert check(19.9) == 19.9 and check(-20.0) == -20.0
    with pytest.raises(UnusableClip, match="apart") as refused:
        check(-20.5)
    assert refused.value.reason == "out_of_sync"
