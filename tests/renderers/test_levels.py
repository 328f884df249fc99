"""Levels against the standards' own test signals, a real ffmpeg and closed forms."""

from __future__ import annotations

import math
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from renderers.levels import bandwidth, limit_gain, lufs, problem, snr_db, to_lufs, true_peak_db

pytest.importorskip("pyloudnorm")

RATES = pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])


def _sine(
    db: float, seconds: float = 4.0, rate: int = 48_000, hertz: float = 997.0, channels: int = 2
) -> np.ndarray:
    """Of a peak of ``db`` dBFS."""
    wave = 10 ** (db / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def _noise(level: float, seconds: float = 2.0, rate: int = 48_000, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal((round(seconds * rate), 2))


def _ffmpeg(samples: np.ndarray, rate: int) -> dict[str, float]:
    """Integrated loudness and true peak by ffmpeg's ebur128 filter."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    what = [
        "-f",
        "f32le",
        "-ar",
        str(rate),
        "-ac",
        "2",
        "-i",
        "-",
        "-af",
        "ebur128=peak=true",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(
        [program, "-nostats", *what], input=samples.astype("<f4").tobytes(), capture_output=True, check=True
    ).stderr.decode()
    summary = said[said.rindex("Summary:") :]
    loudness, peak = re.search(r"I:\s+(\S+) LUFS", summary), re.search(r"Peak:\s+(\S+) dBFS", summary)
    assert loudness and peak
    return {"lufs": float(loudness[1]), "peak": float(peak[1])}


@RATES
def test_the_standard_tone_is_as_loud_as_the_standard_says(rate: int) -> None:
    """EBU Tech 3341, case 1: a stereo 1 kHz sine of -23 dBFS is -23 LUFS; one channel alone is 3 LU less."""
    assert lufs(_sine(-23, rate=rate), rate) == pytest.approx(-23, abs=0.1 if rate > 8000 else 0.2)
    assert lufs(_sine(-20, rate=rate, channels=1), rate) == pytest.approx(
        -23, abs=0.1 if rate > 8000 else 0.2
    )


def test_pauses_do_not_count() -> None:
    """EBU Tech 3341, case 3: -36, -23, -36 dBFS is -23 LUFS by the relative gate."""
    tone = np.concatenate([_sine(-36, 10), _sine(-23, 60), _sine(-36, 10)])
    assert lufs(tone, 48_000) == pytest.approx(-23, abs=0.1)


def test_ffmpeg_measures_the_same() -> None:
    rng = np.random.default_rng(0)
    beats = np.repeat(rng.uniform(0.005, 0.3, 30), 9600)[:, None]
    sound = signal.sosfilt(
        signal.butter(2, [150, 5000], "bandpass", fs=48_000, output="sos"), _noise(1, 6) * beats, 0
    )
    theirs = _ffmpeg(sound, 48_000)
    assert lufs(sound, 48_000) == pytest.approx(theirs["lufs"], abs=0.15)
    assert true_peak_db(sound, 48_000) == pytest.approx(theirs["peak"], abs=0.15)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.39, 0.4, 0.41, 1.0])
def test_short_sound_has_a_loudness(seconds: float) -> None:
    assert lufs(_sine(-23, seconds), 48_000) == pytest.approx(-23, abs=0.7)


def test_silence_and_nothing_are_infinitely_quiet() -> None:
    for length in (0, 1, 100, 48_000):
        assert lufs(np.zeros((length, 2)), 48_000) == -math.inf
        assert true_peak_db(np.zeros((length, 2)), 48_000) == -math.inf
        assert bandwidth(np.zeros((length, 2)), 48_000) == 0
    assert lufs(_sine(-75), 48_000) == -math.inf  # under the absolute gate
    with pytest.raises(ValueError, match="silence"):
        to_lufs(np.zeros((48_000, 2)), 48_000)


@settings(max_examples=15, deadline=None)
@given(
    target=st.floats(-40, -10),
    seconds=st.floats(0.05, 2),
    level=st.floats(0.003, 0.5),
    rate=st.sampled_from([8000, 48_000]),
)
def test_any_target_is_reached(target: float, seconds: float, level: float, rate: int) -> None:
    sound = _noise(level, seconds, rate)
    louder = to_lufs(sound, rate, target)
    assert louder.dtype == np.float32 and louder.shape == sound.shape
    assert lufs(louder, rate) == pytest.approx(target, abs=0.3)  # gates may open or close


@RATES
def test_peaks_between_samples_are_found(rate: int) -> None:
    """A sine of a quarter of the rate, sampled at 45 degrees: samples at -3 dBFS, peak at 0 dBFS."""
    wave = np.sin(np.pi / 2 * np.arange(rate) + np.pi / 4)[:, None] * np.hanning(rate)[:, None]
    assert 20 * np.log10(np.abs(wave).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak_db(wave, rate) == pytest.approx(0, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(level=st.floats(0.001, 3), ceiling=st.floats(-12, 0), seed=st.integers(0, 99))
def test_the_ceiling_holds_and_quiet_sound_is_left_alone(level: float, ceiling: float, seed: int) -> None:
    sound = _noise(level, 0.3, 48_000, seed)
    gain = limit_gain(sound, 48_000, ceiling)
    after = true_peak_db((sound * gain).astype(np.float32), 48_000)
    assert 0 < gain <= 1 and after <= ceiling
    assert gain == 1 or after == pytest.approx(ceiling, abs=0.01)


def test_signal_to_noise_is_a_difference_of_loudness() -> None:
    speech, bed = _noise(0.2, seed=1), _noise(0.02, seed=2)
    assert snr_db(speech, bed, 48_000) == pytest.approx(20, abs=0.2)
    paused = np.concatenate([speech, np.zeros_like(speech), speech])
    assert snr_db(paused, bed, 48_000) == pytest.approx(20, abs=0.6)  # a mean over pauses would say 18.2


@pytest.mark.parametrize(("cut", "rate"), [(3400, 48_000), (8000, 48_000), (1000, 16_000)])
def test_the_bandwidth_of_filtered_noise_is_where_it_was_cut(cut: int, rate: int) -> None:
    spectrum = np.fft.rfft(_noise(0.1, rate=rate), axis=0)
    spectrum[np.fft.rfftfreq(2 * rate, 1 / rate) > cut] = 0
    assert bandwidth(np.fft.irfft(spectrum, axis=0), rate) == pytest.approx(0.99 * cut, rel=0.02)
    assert bandwidth(_noise(0.1, rate=rate), rate) == pytest.approx(0.99 * rate / 2, rel=0.01)
    assert bandwidth(_sine(-10, rate=rate, hertz=500), rate) == pytest.approx(500, abs=50)


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("hertz", [20.0, 50.0, 440.0])
@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_full_scale_is_not_clipping_but_flat_tops_are(rate: int, hertz: float, gain: float) -> None:
    def stored(sound: np.ndarray) -> np.ndarray:
        return np.round(np.clip(sound, -1, 1) * 32767) / 32768 * gain

    assert problem(stored(_sine(0, rate=rate, hertz=hertz)), rate) is None
    over = problem(stored(_sine(2, rate=rate, hertz=hertz)), rate)
    assert over is not None and over[0] == "clipped" and "%" in over[1]


@settings(max_examples=20, deadline=None)
@given(
    level=st.floats(0.003, 0.2),
    seed=st.integers(0, 999),
    seconds=st.floats(0.05, 2),
    bits=st.sampled_from([12, 16, 24]),
)
def test_ordinary_sound_has_no_problem(level: float, seed: int, seconds: float, bits: int) -> None:
    sound = _noise(level, seconds, 16_000, seed)
    assert problem(np.round(sound * 2 ** (bits - 1)) / 2 ** (bits - 1), 16_000) is None


def test_one_clipped_channel_is_enough() -> None:
    sound = _noise(0.2)
    sound[:, 1] = np.clip(4 * sound[:, 1], -1, 1)
    found = problem(sound, 48_000)
    assert found is not None and found[0] == "clipped"


@pytest.mark.parametrize(
    ("sound", "reason", "words"),
    [
        (np.zeros((0, 2)), "empty", "no samples"),
        (np.zeros((48_000, 2)), "silence", "dBFS"),
        (_noise(0.0005), "silence", "-66 dBFS"),
        (_noise(0.1) + 0.05, "dc_offset", r"\+0\.05"),
        (np.full((48_000, 1), -0.2), "dc_offset", r"-0\.2"),
        (
            np.where(np.arange(96_000)[:, None] == 24_000, np.nan, _noise(0.1)),
            "not_finite",
            "2 samples .* 0.500 s",
        ),
        (np.where(np.arange(96_000)[:, None] == 0, np.inf, _noise(0.1)), "not_finite", "0.000 s"),
    ],
    ids=["empty", "digital silence", "nearly silent", "offset", "constant", "nan", "inf"],
)
def test_problems_are_named(sound: np.ndarray, reason: str, words: str) -> None:
    found = problem(sound.astype(np.float32), 48_000)
    assert found is not None and found[0] == reason
    assert re.search(words, found[1])
