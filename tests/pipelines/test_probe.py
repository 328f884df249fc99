from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalogs.errors import SourceError, UnreadableSource, UnsupportedCodec
from pipelines.probe import probe
from tests.pipelines.media import ffmpeg, mux, noise, sound, video


def test_plain_file(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 30, fps=Fraction(30000, 1001), options={"bf": "2"})
    found = probe(path)
    assert found.video.codec == "h264" and found.video.pix_fmt == "yuv420p"
    assert (found.video.width, found.video.height, found.video.rotation) == (128, 96, 0)
    assert found.video.start == 0 and found.video.fps == Fraction(30000, 1001)
    assert found.duration == found.video.duration == Fraction(30 * 1001, 30000)
    assert found.audio is None and found.size_bytes == path.stat().st_size
    assert found.container.startswith("mov")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_size_is_after_rotation(tmp_path: Path, rotation: int) -> None:
    found = probe(video(tmp_path / "a.mp4", 3, rotation=rotation)).video
    assert found.rotation == rotation
    assert (found.width, found.height) == ((128, 96) if rotation == 180 else (96, 128))


@pytest.mark.parametrize(
    ("sample_aspect", "rotation", "size"),
    [
        (Fraction(4, 3), 0, (171, 96)),
        (Fraction(3, 4), 0, (128, 128)),
        (Fraction(4, 3), 90, (96, 171)),
        (Fraction(1), 0, (128, 96)),
    ],
)
def test_size_has_square_pixels(
    tmp_path: Path, sample_aspect: Fraction, rotation: int, size: tuple[int, int]
) -> None:
    found = probe(video(tmp_path / "a.mp4", 3, sample_aspect=sample_aspect, rotation=rotation)).video
    assert (found.width, found.height) == size and found.sample_aspect == sample_aspect


def test_starts_are_on_the_containers_clock(tmp_path: Path) -> None:
    picture = video(tmp_path / "v.mov", 24)
    wav = sound(tmp_path / "a.wav", noise(1))
    late = probe(mux(tmp_path / "late.mov", picture, wav, Fraction(1, 2)))
    assert late.audio is not None and late.audio.start == Fraction(1, 2) and late.video.start == 0
    ffmpeg("-itsoffset", "0.25", "-i", picture, "-c", "copy", tmp_path / "shifted.mov")
    assert probe(tmp_path / "shifted.mov").video.start == Fraction(1, 4)
    transport = probe(video(tmp_path / "a.ts", 24, options={"bf": "2"}))
    assert transport.video.start > 0 and transport.duration == pytest.approx(1, abs=0.05)


def test_sound_is_described(tmp_path: Path) -> None:
    picture = video(tmp_path / "v.mp4", 12)
    surround = sound(tmp_path / "a.m4a", noise(1, channels=6), codec="aac", layout="5.1")
    found = probe(mux(tmp_path / "a.mp4", picture, surround)).audio
    assert found is not None
    assert (found.codec, found.sample_rate, found.channels, found.layout) == ("aac", 48_000, 6, "5.1")
    assert found.start == 0  # not the -21 ms of the priming


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_a_file_without_stream_durations_has_the_containers(tmp_path: Path, suffix: str) -> None:
    options = {"cpu-used": "8", "deadline": "realtime"}
    found = probe(video(tmp_path / f"a.{suffix}", 24, codec="libvpx-vp9", options=options))
    assert found.video.codec == "vp9" and found.duration == pytest.approx(1, abs=0.02)


def test_av1_is_named_by_its_codec(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ffmpeg("-i", video(tmp_path / "v.mp4", 3), "-c:v", "libaom-av1", "-cpu-used", "8", path)
    assert probe(path).video.codec == "av1"


def _reason(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        probe(path)
    assert path.name in caught.value.message
    return caught.value.reason


def test_what_is_not_a_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    assert _reason(tmp_path / "zero.mp4") == "zero_byte"
    (tmp_path / "text.mp4").write_text("not a film\n" * 500)
    assert _reason(tmp_path / "text.mp4") == "not_a_video"
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert _reason(tmp_path / "noise.mp4") == "not_a_video"
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
        assert _reason(tmp_path / name) == "not_a_video"
    assert _reason(sound(tmp_path / "a.wav", noise(0.5))) == "no_video_stream"
    assert _reason(tmp_path / "missing.mp4") == "unreadable"
    assert _reason(tmp_path) == "unreadable"


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((64, 64, 3), np.uint8))
    song = sound(tmp_path / "a.m4a", noise(0.5), codec="aac")
    ffmpeg("-i", song, "-i", tmp_path / "c.png", "-map", "0", "-map", "1", "-c", "copy",
           "-disposition:v:0", "attached_pic", tmp_path / "b.m4a")  # fmt: skip
    assert _reason(tmp_path / "b.m4a") == "no_video_stream"


def test_truncated_files(tmp_path: Path) -> None:
    whole = video(tmp_path / "a.mp4", 24).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert _reason(tmp_path / "cut.mp4") == "truncated"  # the index comes last
    first = video(tmp_path / "b.mp4", 24, container_options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "half.mp4").write_bytes(first[: len(first) // 2])
    assert probe(tmp_path / "half.mp4").video.width == 128  # its head can be used
    (tmp_path / "head.mp4").write_bytes(first[: first.index(b"mdat") + 4])
    assert _reason(tmp_path / "head.mp4") == "truncated"


def test_unknown_codec(tmp_path: Path) -> None:
    data = video(tmp_path / "a.mp4", 5).read_bytes()
    (tmp_path / "b.mp4").write_bytes(data.replace(b"avc1", b"zzzz"))
    with pytest.raises(UnsupportedCodec) as caught:
        probe(tmp_path / "b.mp4")
    assert caught.value.reason == "unsupported_codec"


def test_frames_that_all_fail(tmp_path: Path) -> None:
    data = bytearray(video(tmp_path / "a.mp4", 5).read_bytes())
    at = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[at:end] = np.random.default_rng(1).bytes(end - at)
    (tmp_path / "b.mp4").write_bytes(data)
    with pytest.raises(UnreadableSource) as caught:
        probe(tmp_path / "b.mp4")
    assert caught.value.reason == "unreadable"
