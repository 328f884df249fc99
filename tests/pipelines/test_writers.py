from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import StorageError
from pipelines.decoders import frames
from pipelines.probe import probe
from pipelines.writers import write_audio, write_video
from tests.pipelines.media import ffmpeg, index_of, noise, stamp

FRAMES = [stamp(n) for n in range(60)]


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2)])
def test_every_frame_has_its_exact_time(tmp_path: Path, fps: Fraction) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, FRAMES, fps)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.pts * packet.time_base for packet in packets] == [n / fps for n in range(60)]
        assert all(packet.pts == packet.dts and not packet.is_discard for packet in packets)
        assert stream.start_time == 0 and container.start_time == 0
        assert stream.average_rate == fps
        keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
        assert keys[0] == 0 and max(np.diff([*keys, 60])) <= 48
    assert b"elst" not in path.read_bytes() or probe(path).video.start == 0
    got = list(frames(probe(path), "pyav"))
    assert [index_of(frame.pixels) for frame in got] == list(range(60))
    assert min(_psnr(frame.pixels, FRAMES[n]) for n, frame in enumerate(got)) > 30


def test_the_real_ffmpeg_reads_the_same_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", FRAMES, Fraction(24))
    ffmpeg("-i", tmp_path / "a.mp4", "-c:v", "rawvideo", "-pix_fmt", "rgb24", tmp_path / "b.nut")
    with av.open(str(tmp_path / "b.nut")) as container:
        got = [(f.pts * f.time_base, index_of(f.to_ndarray())) for f in container.decode(video=0)]
    assert got == [(Fraction(n, 24), n) for n in range(60)]


def test_tags_are_bt709(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", FRAMES[:9], Fraction(24))
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        tags = frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range
        assert tags == (1, 1, 1, 1)


def test_same_input_same_bytes(tmp_path: Path) -> None:
    sound = noise(1).astype(np.float32) / 32768
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", iter(FRAMES), Fraction(24))
        write_audio(tmp_path / f"{name}.flac", sound, 48_000)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    # And in another process.
    code = (
        "from fractions import Fraction; from pipelines.writers import write_video;"
        "from tests.pipelines.media import stamp;"
        f"write_video({str(tmp_path / 'c.mp4')!r}, [stamp(n) for n in range(60)], Fraction(24))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_gray_is_gray_and_at_its_level(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    write_video(tmp_path / "a.mp4", [ramp] * 9, Fraction(24), gray=True, crf=4)
    write_video(tmp_path / "b.mp4", [np.stack([ramp] * 3, -1)] * 9, Fraction(24), gray=True, crf=4)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    for frame in frames(probe(tmp_path / "a.mp4"), "pyav"):
        assert np.ptp(frame.pixels, axis=2).max() <= 1
        assert np.abs(frame.pixels[..., 0].astype(int) - ramp).max() <= 3


def test_quality_is_a_choice(tmp_path: Path) -> None:
    for crf in (12, 30):
        write_video(tmp_path / f"{crf}.mp4", FRAMES, Fraction(24), crf=crf)
    assert (tmp_path / "12.mp4").stat().st_size > 1.5 * (tmp_path / "30.mp4").stat().st_size


def test_impossible_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="33x32 is odd"):
        write_video(tmp_path / "a.mp4", [np.zeros((32, 33, 3), np.uint8)], Fraction(24))
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], Fraction(24))


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 20_000), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000, 96_000]))
def test_sound_comes_back_sample_for_sample(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rate: int
) -> None:
    path = tmp_path_factory.mktemp("sound") / "a.flac"
    sent = np.random.default_rng(samples).uniform(-1.1, 1.1, (samples, 2)).astype(np.float32)
    write_audio(path, sent, rate)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == rate
        got = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)])
    assert got.shape == sent.shape
    assert np.abs(got - np.clip(sent * 32768.0, -32768, 32767)).max() <= 0.5


def test_storage_errors_are_told_apart(tmp_path: Path) -> None:
    silence = np.zeros((48_000, 2), np.float32)
    for path in (tmp_path / "missing" / "a", Path("/dev/full")):
        with pytest.raises(StorageError, match=str(path)):
            write_video(path, FRAMES, Fraction(24))
        with pytest.raises(StorageError, match=str(path)):
            write_audio(path, silence, 48_000)
    with pytest.raises(StorageError, match="Free some space"):
        write_video("/dev/full", FRAMES, Fraction(24))
