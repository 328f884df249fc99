from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageColor

from catalogs.spectrum import COLOUR, PANEL, envelope, gutter, log_mel, sound_picture

RATES = st.sampled_from([8000, 16000, 22050, 44100, 48000, 96000])


def tone(hertz: float, rate: int, seconds: float = 0.5, level: float = 1.0) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave], axis=1).astype(np.float32)


@given(RATES, st.floats(-50, 0))
@settings(deadline=None, max_examples=20)
def test_loudness_of_a_sine_is_3_db_below_its_peak(rate, decibels):
    loudness = envelope(tone(1000, rate, level=10 ** (decibels / 20)), rate)
    assert loudness == pytest.approx(
        decibels - 3.01, abs=0.3
    )  # ends included: no frame is filled up with zeros
    assert loudness[10:-10] == pytest.approx(decibels - 3.01, abs=0.05)


def test_loudness_is_the_rms_of_frames():
    sound = np.random.default_rng(0).normal(0, 0.1, (16000, 2)).astype(np.float32)
    loudness = envelope(sound, 16000)
    assert len(loudness) == 1 + 16000 // 128
    for k in (0, 1, 60, 124):
        frame = sound[max(0, k * 128 - 256) : k * 128 + 256].astype(float)
        assert loudness[k] == pytest.approx(20 * np.log10(np.sqrt(np.mean(frame**2))), abs=1e-6)


def test_loudness_rises_when_the_sound_does():
    sound = np.concatenate([np.zeros((8000, 2), np.float32), tone(500, 16000)])
    half = -3.01 + 10 * np.log10(0.5)  # the frame centred on the step is half full
    loudness = envelope(sound, 16000)
    assert loudness[8000 // 128 - 3] < -100 and loudness[8000 // 128 + 3] == pytest.approx(-3, abs=0.1)
    assert np.interp(8000 / 128, np.arange(len(loudness)), loudness) == pytest.approx(half, abs=1.5)


@given(RATES, st.floats(150, 3500))
@settings(deadline=None, max_examples=30)
def test_a_tone_lies_on_its_place_of_the_mel_axis(rate, hertz):
    mel = log_mel(tone(hertz, rate), rate, 40, 0.5)
    # HTK's formula written with the natural logarithm; 96 bands between 98 equally spaced centres.
    place = 1127 * np.log(1 + hertz / 700) / (1127 * np.log(1 + 24000 / 700)) * 97 - 1
    assert np.abs(mel[:, 5:35].argmax(axis=0) - place).max() <= 1.5
    assert mel.shape == (96, 40)


def test_a_click_lies_on_its_place_of_the_time_axis():
    sound = np.zeros((48000, 2), np.float32)
    sound[30000, 1] = 1  # one channel is enough
    mel = log_mel(sound, 48000, 200, 2.0)
    assert abs(mel[50].argmax() + 0.5 - 30000 / 48000 / 2 * 200) <= 1
    assert (mel[:, 101:] == -120).all()  # the sound has ended


def test_channels_do_not_cancel():
    same = tone(1000, 16000)
    opposite = same * np.array([1, -1], np.float32)
    assert np.allclose(log_mel(opposite, 16000, 10, 0.5), log_mel(same, 16000, 10, 0.5), atol=1e-6)
    assert np.allclose(envelope(opposite, 16000), envelope(same, 16000), atol=1e-6)


def test_nothing_lies_above_half_the_rate():
    noise = np.random.default_rng(0).normal(0, 0.1, (16000, 1)).astype(np.float32)
    mel = log_mel(noise, 16000, 20, 1.0)
    band = 1127 * np.log(1 + 8000 / 700) / (1127 * np.log(1 + 24000 / 700)) * 97
    assert (mel[round(band) + 2 :] == -120).all() and mel[: round(band) - 2].min() > -80


@pytest.mark.parametrize("length", [0, 1, 7, 500, 48000])
@pytest.mark.parametrize("size", [(64, 32), (5, 3), (400, 150)])
def test_any_sound_can_be_drawn_at_any_size(length, size):
    sound = tone(440, 48000, 1.0)[:length]
    assert sound_picture(sound, 48000, "target", size=size, seconds=length / 48000).size == size


def test_the_picture_shows_when_and_how_loud():
    sound = np.concatenate([np.zeros((16000, 2), np.float32), tone(1000, 16000, 1.0, level=0.1)])
    picture = np.asarray(sound_picture(sound, 16000, "target", size=(444, 216), seconds=2.0)).astype(int)
    plot, wave = picture[:, gutter() :], 84
    middle = gutter() + 200
    assert (picture[wave + 4 : 198, gutter() + 5 : middle - 15] <= 3).all()  # inferno's darkest
    spectrum = picture[wave + 2 : 200, middle + 100].sum(axis=1)
    place = 1 - np.log(1 + 1000 / 700) / np.log(1 + 24000 / 700)
    assert spectrum.argmax() / len(spectrum) == pytest.approx(place, abs=0.03) and spectrum.max() > 500
    colour = np.array(ImageColor.getrgb(COLOUR["target"]))
    curve = np.abs(plot[:wave] - colour).sum(axis=2).argmin(axis=0)
    assert curve[:180] == pytest.approx(wave - 2, abs=2)  # silence: at the bottom
    assert curve[220:390] == pytest.approx(23 / 60 * wave, abs=2)  # -20 dB of amplitude are -23 of RMS


def test_silence_is_dark_and_full_of_words():
    picture = np.asarray(
        sound_picture(np.zeros((16000, 2), np.float32), 16000, "reference", size=(400, 150), seconds=1)
    )
    assert (picture[60:130, gutter() + 2 :] <= 3).all()  # inferno's darkest
    words = np.abs(picture.astype(int) - ImageColor.getrgb(PANEL)).sum(axis=2) > 60
    assert words[:, : gutter() - 4].any(axis=1).sum() > 30 and words[136:].any(axis=0).sum() > 30
