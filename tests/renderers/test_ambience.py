"""Beds without clicks; mixtures with the levels, the timing and the sum they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from renderers.acoustics import convolve, impulse_response
from renderers.ambience import CHANNELS, bed, mix, through
from renderers.environments import ENVIRONMENTS, Band, Environment
from renderers.levels import bandwidth, true_peak_db

pyloudnorm = pytest.importorskip("pyloudnorm")
pytest.importorskip("pyroomacoustics")

RATE = 16_000


def _noise(seconds: float, seed: int = 0, channels: int = 2, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))


def _voice(seconds: float = 4.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Syllables of a 120 Hz pulse train through two formants, with pauses."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    pulses = np.zeros(count)
    pulses[np.cumsum(rng.integers(round(rate / 130), round(rate / 110), round(seconds * 100)))] = 1
    formants = [
        signal.butter(1, (low, high), "bandpass", fs=rate, output="sos")
        for low, high in ((400, 800), (1100, 2600))
    ]
    voice = sum(signal.sosfilt(formant, pulses) for formant in formants)
    syllables = np.repeat(
        rng.uniform(0.2, 1, round(seconds * 5)) * (rng.uniform(size=round(seconds * 5)) > 0.3), rate // 5
    )
    smooth = np.convolve(syllables, np.hanning(rate // 20) / np.hanning(rate // 20).sum(), "same")
    return (voice * smooth)[:, None]


@settings(max_examples=30, deadline=None)
@given(
    have=st.floats(0.2, 3),
    want=st.integers(0, 4 * RATE),
    channels=st.sampled_from([1, 2, 6]),
    seed=st.integers(0, 99),
)
def test_a_bed_has_the_length_asked_for(have: float, want: int, channels: int, seed: int) -> None:
    made = bed(_noise(have + 0.001, channels=channels), want, np.random.default_rng(seed), RATE)
    assert made.shape == (want, 2) and made.dtype == np.float32 and np.isfinite(made).all()
    assert np.array_equal(
        made, bed(_noise(have + 0.001, channels=channels), want, np.random.default_rng(seed), RATE)
    )


def test_a_long_recording_is_cut_at_random_and_not_changed() -> None:
    recording = _noise(20).astype(np.float32)
    starts = set()
    for seed in range(20):
        made = bed(recording, RATE, np.random.default_rng(seed), RATE)
        start = int(np.flatnonzero((recording == made[0]).all(axis=1))[0])
        assert np.array_equal(made, recording[start : start + RATE])
        starts.add(start)
    assert len(starts) == 20 and max(starts) - min(starts) > 10 * RATE


def test_a_loop_neither_clicks_nor_dips() -> None:
    """Power in 20 ms steps through forty joints varies as it does in the recording."""
    recording = _noise(1.5)
    made = bed(recording, 50 * RATE, np.random.default_rng(0), RATE)
    power = (made.reshape(-1, RATE // 50, 2) ** 2).mean(axis=(1, 2))
    steady = (recording.reshape(-1, RATE // 50, 2) ** 2).mean(axis=(1, 2))
    assert power.min() > 0.8 * steady.min() and power.max() < 1.25 * steady.max()
    assert power.mean() == pytest.approx(steady.mean(), rel=0.05)


def test_a_loop_has_no_step_at_its_joint() -> None:
    """A slow wave whose end does not meet its start: no sample is farther from the next than in the recording."""
    recording = np.repeat(np.sin(2 * np.pi * 3.3 * np.arange(RATE) / RATE)[:, None], 2, axis=1)
    made = bed(recording, 10 * RATE, np.random.default_rng(0), RATE)
    fastest = np.abs(np.diff(recording, axis=0)).max()
    assert np.abs(np.diff(made, axis=0)).max() < 1.5 * fastest
    assert abs(recording[-1, 0] - recording[0, 0]) > 300 * fastest


def test_a_fade_lasts_a_tenth_of_a_second_at_least() -> None:
    """Ones that fade into ones: equal power makes them sqrt 2 in the middle of the joint."""
    for seconds, expected in ((0.2, 0.1), (0.4, 0.2), (3.0, 0.25)):
        made = bed(np.ones((round(seconds * RATE), 2)), 8 * RATE, np.random.default_rng(0), RATE)
        assert made.max() == pytest.approx(np.sqrt(2), rel=1e-3)
        share = float((made[:, 0] > 1 + 1e-9).mean())
        assert share == pytest.approx(expected / (seconds - expected), abs=0.02)


def test_what_is_too_short_is_said() -> None:
    with pytest.raises(ValueError, match=r"0\.100 s is too short"):
        bed(_noise(0.1), RATE, np.random.default_rng(0), RATE)
    with pytest.raises(ValueError, match="too short"):
        bed(np.zeros((0, 2)), RATE, np.random.default_rng(0), RATE)


@settings(max_examples=20, deadline=None)
@given(snr=st.floats(3, 20), loud=st.floats(0.01, 20), seed=st.integers(0, 99))
def test_levels_are_as_drawn(snr: float, loud: float, seed: int) -> None:
    speech = np.repeat(_voice(seed=seed), 2, axis=1) * loud
    under = _noise(4, seed)
    made = mix(speech, under, snr, RATE)
    meter = pyloudnorm.Meter(RATE)
    voice, rest = meter.integrated_loudness(made.speech), meter.integrated_loudness(made.bed)
    assert voice - rest == pytest.approx(snr, abs=0.5)
    assert voice - 20 * np.log10(made.gain) == pytest.approx(-23, abs=0.1)
    assert true_peak_db(made.mixture, RATE) <= -1
    assert 0 < made.gain <= 1
    assert np.array_equal(made.mixture, made.speech + made.bed)
    # One gain for each part: nothing was compressed.
    assert np.corrcoef(made.speech.ravel(), speech.ravel())[0, 1] > 1 - 1e-6
    assert np.corrcoef(made.bed.ravel(), under.ravel())[0, 1] > 1 - 1e-6


def test_power_over_active_speech_agrees() -> None:
    """With one spectrum for both, loudness differs as RMS over the active part does."""
    under = _noise(16, 1)
    speech = _noise(16, 2) * np.repeat([1, 0, 1, 1], 4 * RATE)[:, None]
    made = mix(speech, under, 10.0, RATE)
    active = np.abs(speech[:, 0]) > 0
    found = 10 * np.log10(np.mean(made.speech[active] ** 2) / np.mean(made.bed**2))
    assert found == pytest.approx(10, abs=0.5)


def test_a_mixture_that_would_clip_is_turned_down_as_a_whole() -> None:
    spiky = _noise(4) * 0.01
    spiky[::8000] = 1
    made = mix(spiky, _noise(4, 1), 6.0, RATE)
    assert made.gain < 0.9
    assert true_peak_db(made.mixture, RATE) == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("place", ENVIRONMENTS, ids=lambda place: place.name)
def test_the_whole_recipe_keeps_lips_in_sync(place: Environment) -> None:
    """Dry against the speech in the mixture: under a millisecond, through room and channel."""
    rng = np.random.default_rng(1)
    speech = _voice()
    wet = convolve(speech, impulse_response(place, RATE, rng))
    made = mix(wet, bed(_noise(1.5), len(speech), rng, RATE), 10.0, RATE, place.band)
    assert made.mixture.shape == (len(speech), 2)
    for sound in (made.speech, made.mixture):
        lags = signal.correlation_lags(len(sound), len(speech))
        lag = lags[np.argmax(signal.correlate(sound.sum(axis=1), speech[:, 0]))]
        assert abs(lag) <= 1e-3 * RATE


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_a_channel_passes_its_band_without_delay(name: Band, rate: int) -> None:
    channel = CHANNELS[name]
    sound = _noise(4, rate=rate)
    passed = through(sound, rate, channel)
    assert passed.shape == sound.shape and passed.dtype == np.float32
    frequencies, before = signal.welch(sound[:, 0], rate, nperseg=rate)
    _, after = signal.welch(passed[:, 0], rate, nperseg=rate)
    gain = 10 * np.log10(after / before)
    inside = (frequencies > 1.3 * channel.low) & (frequencies < min(0.8 * channel.high, 0.45 * rate))
    assert np.abs(gain[inside]).max() < 1.5
    assert gain[(frequencies > 5) & (frequencies < channel.low / 2)].max() < -20
    if channel.high < 0.35 * rate:
        assert gain[frequencies > 1.6 * channel.high].max() < -20
    lags = signal.correlation_lags(len(sound), len(sound))
    assert lags[np.argmax(signal.correlate(passed[:, 0], sound[:, 0]))] == 0


def test_a_telephone_takes_the_bed_along_and_a_loudspeaker_does_not() -> None:
    speech, under = np.repeat(_voice(rate=48_000), 2, axis=1), _noise(4, rate=48_000)
    assert bandwidth(mix(speech, under, 10, 48_000, "telephone").bed, 48_000) < 4500
    assert bandwidth(mix(speech, under, 10, 48_000, "pa").bed, 48_000) > 20_000
    assert bandwidth(mix(speech, under, 10, 48_000, "telephone").speech, 48_000) < 4500


def test_levels_hold_through_a_channel() -> None:
    meter = pyloudnorm.Meter(RATE)
    made = mix(np.repeat(_voice(), 2, axis=1), _noise(4), 12.0, RATE, "telephone")
    assert meter.integrated_loudness(made.speech) - meter.integrated_loudness(made.bed) == pytest.approx(
        12, abs=0.5
    )


def test_silence_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match="the speech is silent"):
        mix(np.zeros((RATE, 2)), _noise(1), 10, RATE)
    with pytest.raises(ValueError, match="the bed is silent"):
        mix(_noise(1), np.zeros((RATE, 2)), 10, RATE)
    with pytest.raises(ValueError, match="differ in shape"):
        mix(_noise(1), _noise(2), 10, RATE)
