from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from catalogs.errors import UnreadableSource
from pipelines.audio import read_audio
from pipelines.probe import probe
from tests.pipelines.media import ffmpeg, mux, noise, offset_between, sound, video

RATE = 48_000
SENT = noise(4)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("picture") / "v.mp4", 48, options={"bf": "2", "g": "12"})


@pytest.fixture(scope="module")
def lossless(picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lossless")
    return mux(folder / "b.mp4", picture, sound(folder / "a.flac", SENT, codec="flac"), Fraction(1, 4))


def _expected(first: int, samples: int) -> NDArray[np.float32]:
    """SENT from sample ``first`` on, silence outside it."""
    out = np.zeros((samples, 2), np.float32)
    low, high = max(0, first), min(len(SENT), first + samples)
    if low < high:
        out[low - first : high - first] = SENT[low:high] / np.float32(32768)
    return out


@settings(max_examples=25, deadline=None)
@given(start=st.fractions(-1, 5, max_denominator=96_000), samples=st.integers(1, 60_000))
def test_any_cut_is_exact_to_the_sample(lossless: Path, start: Fraction, samples: int) -> None:
    heard = read_audio(probe(lossless), start, samples, RATE)
    assert heard is not None and heard.dtype == np.float32 and heard.shape == (samples, 2)
    first = int(np.floor((start - Fraction(1, 4)) * RATE + Fraction(1, 2)))  # nearest, half up
    assert np.abs(heard - _expected(first, samples)).max() < 1e-4


@pytest.mark.parametrize(
    ("codec", "container", "suffix", "most"),
    [
        ("pcm_s16le", "wav", "mov", 0),
        ("flac", "flac", "mp4", 0),
        ("aac", "m4a", "mp4", 0),
        ("libopus", "opus", "mp4", 0),
        # Matroska counts milliseconds, 48 samples each.
        ("aac", "m4a", "mkv", 1),
        ("pcm_s16le", "wav", "mkv", 2),
    ],
)
@pytest.mark.parametrize("late", [Fraction(0), Fraction(1, 2)])
def test_codec_delay_and_offsets_are_honoured(
    picture: Path, tmp_path: Path, codec: str, container: str, suffix: str, most: int, late: Fraction
) -> None:
    rate = None if codec in ("pcm_s16le", "flac") else 192_000
    audio = sound(tmp_path / f"a.{container}", SENT, codec=codec, bit_rate=rate)
    found = probe(mux(tmp_path / f"b.{suffix}", picture, audio, late))
    for start in (Fraction(1, 2), Fraction(7, 10), Fraction(31, 10)):
        heard = read_audio(found, start, 12_000, RATE)
        assert heard is not None
        assert abs(offset_between(heard, SENT) - (start - late) * RATE) <= most


def test_a_trimmed_file_keeps_picture_and_sound_together(tmp_path: Path) -> None:
    picture = video(tmp_path / "v.mp4", 72, options={"bf": "2", "g": "12"})
    audio = sound(tmp_path / "a.m4a", SENT, codec="aac", bit_rate=192_000)
    whole = mux(tmp_path / "whole.mp4", picture, audio)
    ffmpeg("-ss", "1.25", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    heard = read_audio(probe(tmp_path / "cut.mp4"), Fraction(1, 2), 12_000, RATE)
    assert heard is not None
    assert abs(offset_between(heard, SENT) - 1.75 * RATE) <= 1


@pytest.mark.parametrize("own", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
def test_other_rates_are_resampled_in_place(picture: Path, tmp_path: Path, own: int, codec: str) -> None:
    # A slow sine burst around a known time: its centre of energy must not move.
    centre = Fraction(3, 2)
    t = np.arange(3 * own) / own
    burst = np.exp(-(((t - float(centre)) / 0.01) ** 2)) * np.sin(2 * np.pi * 900 * t) * 20_000
    samples = np.repeat(burst.astype(np.int16)[:, None], 2, 1)
    suffix = "m4a" if codec == "aac" else "wav"
    audio = sound(tmp_path / f"a.{suffix}", samples, rate=own, codec=codec)
    found = probe(mux(tmp_path / "b.mov", picture, audio))
    start = Fraction(1001, 1000)
    for rate in (48_000, 16_000):
        heard = read_audio(found, start, rate, rate)
        assert heard is not None and heard.shape == (rate, 2)
        energy = heard[:, 0].astype(np.float64) ** 2
        middle = (energy * np.arange(rate)).sum() / energy.sum() / rate + float(start)
        assert abs(middle - float(centre)) < 1 / min(own, rate)
        assert np.abs(heard).max() == pytest.approx(20_000 / 32768, rel=0.1)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("5.1", 6), ("quad", 4)])
def test_channels_are_mixed_as_ffmpeg_does(picture: Path, tmp_path: Path, layout: str, channels: int) -> None:
    samples = noise(2, channels=channels, seed=3)
    found = probe(mux(tmp_path / "b.mov", picture, sound(tmp_path / "a.wav", samples, layout=layout)))
    ffmpeg("-i", tmp_path / "a.wav", "-ac", "2", "-c:a", "pcm_s16le", tmp_path / "stereo.wav")
    with av.open(str(tmp_path / "stereo.wav")) as container:
        parts = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    expected = np.concatenate(parts) / 32768
    heard = read_audio(found, Fraction(0), 2 * RATE, RATE)
    assert heard is not None
    assert np.abs(heard - expected).max() < 3 / 32768


def test_loud_surround_does_not_clip(picture: Path, tmp_path: Path) -> None:
    loud = np.full((RATE, 6), 32_767, np.int16)
    found = probe(mux(tmp_path / "b.mov", picture, sound(tmp_path / "a.wav", loud, layout="5.1")))
    heard = read_audio(found, Fraction(1, 4), 1000, RATE)
    assert heard is not None and 0.9 < heard.max() <= 1.0


def test_no_stream_and_broken_stream(picture: Path, tmp_path: Path) -> None:
    assert read_audio(probe(picture), Fraction(0), 100, RATE) is None
    audio = sound(tmp_path / "a.m4a", noise(1), codec="aac")
    path = mux(tmp_path / "b.mkv", picture, audio)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    data = path.read_bytes()
    for packet in packets:
        data = data.replace(packet, b"\xff" * len(packet))
    (tmp_path / "c.mkv").write_bytes(data)
    with pytest.raises(UnreadableSource) as caught:
        read_audio(probe(tmp_path / "c.mkv"), Fraction(0), 1000, RATE)
    assert caught.value.reason == "unreadable_audio"


def test_one_broken_packet_is_a_short_hole(picture: Path, tmp_path: Path) -> None:
    audio = sound(tmp_path / "a.flac", SENT, codec="flac")
    path = mux(tmp_path / "b.mp4", picture, audio)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(audio=0) if packet.size][20]
    data = path.read_bytes()
    (tmp_path / "c.mp4").write_bytes(data.replace(packet, b"\0" * len(packet)))
    heard = read_audio(probe(tmp_path / "c.mp4"), Fraction(0), 4 * RATE, RATE)
    assert heard is not None
    wrong = np.flatnonzero(np.abs(heard - _expected(0, 4 * RATE)).max(axis=1) > 1e-3)
    assert 0 < len(wrong) <= 4608 and np.ptp(wrong) < 4608  # one FLAC block; what follows is in its place
