"""Loudness curves: measured as they are, carried by noise, drawn by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from renderers.canvas.loudness import FLOOR, HOP, carrier, envelope, from_csv, from_picture, resample
from training.codec import log_mel

RATES = pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])


def _sine(level: float, seconds: float, rate: int, hertz: float = 1000.0) -> np.ndarray:
    """Of an RMS of ``level`` dB."""
    wave = (
        np.sqrt(2) * 10 ** (level / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    )
    return wave[:, None]


def _talk(seconds: float = 6.0, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Syllables of voiced and of hissing sound with pauses, over quiet noise 45 dB below."""
    rng = np.random.default_rng(seed)
    count, beats = round(seconds * rate), round(seconds * 6)
    pulses = signal.square(2 * np.pi * 120 * np.arange(count) / rate, duty=0.1)
    voiced = signal.sosfilt(signal.butter(1, (300, 2500), "bandpass", fs=rate, output="sos"), pulses)
    hiss = signal.sosfilt(signal.butter(2, 3000, "high", fs=rate, output="sos"), rng.standard_normal(count))
    loud = np.resize(np.repeat(rng.uniform(-25, 0, beats), rate // 6), count)
    talks = np.resize(np.repeat(rng.uniform(size=beats) > 0.25, rate // 6), count)
    hisses = np.resize(np.repeat(rng.uniform(size=beats) > 0.7, rate // 6), count)
    attack = np.hanning(rate // 15) / np.hanning(rate // 15).sum()
    shape = np.convolve(talks * 10 ** (loud / 20), attack, "same")
    sound = 0.3 * np.where(hisses, 0.5 * hiss, voiced) * shape + 1e-3 * rng.standard_normal(count)
    return sound[:, None]


@RATES
def test_a_steady_tone_has_its_level_everywhere(rate: int) -> None:
    curve = envelope(_sine(-20, 1.0, rate), rate)
    assert curve.shape == (126,) and curve.dtype == np.float64
    assert curve == pytest.approx(-20, abs=0.1)  # the half windows at the ends too


def test_at_16_khz_windows_are_512_samples_128_apart() -> None:
    sound = np.random.default_rng(0).standard_normal((4096, 1))
    curve = envelope(sound, 16_000)
    assert len(curve) == 1 + 4096 // 128
    for point in range(2, 30):
        frame = sound[128 * point - 256 : 128 * point + 256]
        assert curve[point] == pytest.approx(10 * np.log10(np.mean(frame**2)))


@RATES
def test_curves_do_not_drift_with_the_rate(rate: int) -> None:
    """A tenth of a second of tone starting at 7.3 s is found there, at any rate."""
    sound = np.zeros((10 * rate, 2))
    sound[round(7.3 * rate) : round(7.4 * rate)] = _sine(-10, 0.1, rate)[
        : round(7.4 * rate) - round(7.3 * rate)
    ]
    curve = envelope(sound, rate)
    times = np.flatnonzero(curve > -13.5) * HOP
    assert times[0] == pytest.approx(7.3, abs=HOP) and times[-1] == pytest.approx(7.4, abs=HOP)
    assert curve[:900].max() == FLOOR


def test_channels_count_by_power() -> None:
    tone = _sine(-20, 1.0, 16_000)
    one = np.concatenate([tone, np.zeros_like(tone)], axis=1)
    assert envelope(one, 16_000) == pytest.approx(-23.01, abs=0.1)
    assert envelope(np.concatenate([tone, -tone], axis=1), 16_000) == pytest.approx(-20, abs=0.1)


def test_smoothing_takes_peaks_and_keeps_edges() -> None:
    sound = np.concatenate([_sine(-40, 1, 16_000), _sine(-10, 1, 16_000)])
    sound[4000:4016] = 0.9
    plain, smooth = envelope(sound, 16_000), envelope(sound, 16_000, smoothing=15)
    assert plain[:100].max() > -20 and smooth[:100].max() < -39
    assert smooth[:120].max() < -39 and smooth[131:].min() > -11


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(0, 5000),
    rate=st.sampled_from([8000, 22_050, 48_000]),
    smoothing=st.sampled_from([1, 5, 31]),
)
def test_any_length_gives_a_finite_curve(length: int, rate: int, smoothing: int) -> None:
    curve = envelope(np.zeros((length, 2)), rate, smoothing=smoothing)
    assert (curve == FLOOR).all()
    assert len(curve) == 1 + length * 125 // rate
    assert carrier(curve, length, rate).shape == (length, 2)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("smoothing", [1, 9, 31])
def test_the_carrier_is_as_loud_as_the_curve(rate: int, smoothing: int) -> None:
    for seed in range(3):
        sound = _talk(rate=rate, seed=seed)
        curve = envelope(sound, rate, smoothing=smoothing)
        assert np.ptp(curve) > 30
        carried = carrier(curve, len(sound), rate)
        assert carried.shape == (len(sound), 2) and carried.dtype == np.float32
        assert np.array_equal(carried[:, 0], carried[:, 1])
        assert np.abs(envelope(carried, rate) - curve).mean() < 0.8


def test_the_model_sees_the_loudness() -> None:
    """The audio VAE's mel bins, averaged, follow the clip's broadband loudness; a tone's do not."""
    sound = _talk()
    curve = envelope(sound, 16_000)

    def seen(reference: np.ndarray) -> float:
        mels = log_mel(reference.T.astype(np.float32), rate=16_000, hop=160, bins=64)[0].numpy().mean(axis=1)
        return float(
            np.corrcoef(mels, np.interp(np.arange(len(mels)) * 0.01, np.arange(len(curve)) * HOP, curve))[
                0, 1
            ]
        )

    assert seen(carrier(curve, len(sound), 16_000)) >= 0.99
    tone = (
        _sine(0, 6, 16_000)
        * 10 ** (np.interp(np.arange(len(sound)) / 128, np.arange(len(curve)), curve) / 20)[:, None]
    )
    assert seen(tone) < 0.95


def test_the_noise_is_pink_and_always_the_same() -> None:
    flat = np.full(1000, -20.0)
    long = carrier(flat, 16_000 * 8, 16_000)
    assert np.array_equal(carrier(flat, 16_000 * 8, 16_000), long)
    assert (carrier(flat, 16_000 * 8, 16_000, seed=1) != long).any()
    # Another length is the same noise, but for the last window.
    np.testing.assert_allclose(carrier(flat, 16_000 * 4, 16_000)[:60_000], long[:60_000], atol=1e-3)
    frequencies, power = signal.welch(long[:, 0], 16_000, nperseg=4096)
    heard = (frequencies > 200) & (frequencies < 7000)
    slope = np.polyfit(np.log2(frequencies[heard]), 10 * np.log10(power[heard]), 1)[0]
    assert slope == pytest.approx(-3.0, abs=0.3)
    assert power[frequencies < 40].max() < 0.1 * power[heard].max()


def test_the_carrier_outlasts_its_period_without_a_seam() -> None:
    carried = carrier(np.full(4000, -20.0), 25 * 16_000, 16_000)[:, 0]
    seam = np.abs(np.diff(carried))[10 * 16_000 - 3 : 10 * 16_000 + 3]
    assert seam.max() <= np.abs(np.diff(carried)).max()
    assert envelope(carried[:, None], 16_000) == pytest.approx(-20, abs=1.0)


@settings(max_examples=20, deadline=None)
@given(levels=st.lists(st.floats(-200, 0), min_size=1, max_size=60), length=st.integers(1, 20_000))
def test_any_curve_can_be_carried(levels: list[float], length: int) -> None:
    """Jumps of any height: finite, and no louder than the loudest point."""
    carried = carrier(np.array(levels), length, 16_000)
    assert np.isfinite(carried).all() and carried.shape == (length, 2)
    assert envelope(carried, 16_000).max() < max(*levels, FLOOR) + 6


def test_a_curve_without_points_is_refused() -> None:
    for wrong in (np.zeros(0), np.array([-10.0, np.nan])):
        with pytest.raises(ValueError, match="needs points"):
            carrier(wrong, 100, 16_000)


def test_a_curve_fits_another_clip() -> None:
    curve = np.linspace(-60, 0, 251)  # two seconds
    for seconds, count in ((2.0, 251), (4.0, 501), (1.0, 126), (0.0, 1)):
        fitted = resample(curve, seconds)
        assert len(fitted) == count and fitted[0] == -60
        assert fitted == pytest.approx(np.linspace(-60, 0, count) if count > 1 else [-60])


def test_a_curve_is_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("seconds,dB\n0.5,-40\n\n1.0,-20\n2,-20\n3.0,-300\n")
    curve = from_csv(path)
    assert len(curve) == 376
    assert curve[0] == curve[62] == -40  # level before the first line
    assert curve[round(0.752 / HOP)] == pytest.approx(-29.92) and curve[200] == pytest.approx(-20)
    assert curve[-1] == FLOOR
    path.write_bytes(b"\xef\xbb\xbf0,-10\r\n1,-30\r\n")  # as spreadsheets write it, without a header
    assert from_csv(path) == pytest.approx(np.linspace(-10, -30, 126))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no lines"),
        ("seconds,dB\n", "no lines"),
        ("0,-10,2\n1,-20\n", "line 1"),
        ("0,-10\n1,loud\n", "line 2: not two numbers: 1,loud"),
        ("0,-10\n1,-20,5\n", "line 2"),
        ("0,-10\n0,-20\n", "rise"),
        ("-1,-10\n0,-20\n", "rise"),
        ("0,-10\n1,3\n", "at most 0 dB"),
        ("0,-10\n1,nan\n", "finite"),
        ("0,-10\ninf,-3\n", "finite"),
    ],
)
def test_a_bad_csv_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        from_csv(path)


@pytest.mark.parametrize("kind", ["grey", "colour", "transparent", "16 bit"])
def test_a_drawn_curve_is_read(tmp_path: Path, kind: str) -> None:
    """A sine of a period, 10 to 50 dB down, in pencil on paper; half a pixel is a quarter of a dB."""
    columns = np.arange(400)
    rows = (
        30 + 20 * np.sin(2 * np.pi * (columns + 0.5) / 400)
    ) / 60 * 240 - 0.5  # row n's centre is n + 0.5 down
    line = np.stack([columns, rows], axis=1).round().astype(np.int32)
    grey = np.full((240, 400), 235, np.uint8)
    cv2.polylines(grey, [line], False, 40, 5, cv2.LINE_AA)
    picture = {
        "grey": grey,
        "colour": np.stack([grey, grey // 2 + 117, grey], axis=2),
        "transparent": np.stack([np.zeros_like(grey)] * 3 + [235 - grey], axis=2),
        "16 bit": grey.astype(np.uint16) * 257,
    }[kind]
    path = tmp_path / "curve.png"
    cv2.imwrite(str(path), picture)
    curve = from_picture(path, 2.0)
    assert len(curve) == 251
    expected = -30 - 20 * np.sin(2 * np.pi * np.arange(251) * HOP / 2.0)
    assert np.abs(curve - expected).max() < 0.7 and np.abs(curve - expected).mean() < 0.1
    assert from_picture(path, 2.0, floor_db=-30) == pytest.approx(curve / 2)


def test_gaps_in_a_drawing_are_bridged(tmp_path: Path) -> None:
    grey = np.full((100, 200), 255, np.uint8)
    grey[48:53, :60] = 0
    grey[23:28, 140:] = 0
    cv2.imwrite(str(tmp_path / "curve.png"), grey)
    curve = from_picture(tmp_path / "curve.png", 1.6, floor_db=-100)
    assert curve[0] == pytest.approx(-50.5) and curve[-1] == pytest.approx(-25.5)
    assert curve[100] == pytest.approx(-38, abs=0.5)


def test_what_is_no_drawing_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((50, 50), 250, np.uint8))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ValueError, match="no dark line"):
        from_picture(tmp_path / "blank.png", 1.0)
    for name in ("text.png", "missing.png"):
        with pytest.raises(ValueError, match="not a picture"):
            from_picture(tmp_path / name, 1.0)
