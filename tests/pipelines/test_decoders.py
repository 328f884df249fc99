from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from pipelines.decoders import BACKENDS, choose, frames
from pipelines.probe import probe
from tests.pipelines.media import ffmpeg, index_of, stamp, video

GOP = {"bf": "3", "g": "12", "preset": "veryfast"}
VP9 = {"cpu-used": "8", "deadline": "realtime"}
INSTALLED = [backend for backend in BACKENDS if backend == "pyav" or find_spec(backend)]
_steps = np.random.default_rng(1).integers(1500, 9000, 40)
VFR = [Fraction(int(tick), 90_000) for tick in np.cumsum([0, *_steps])]


def _vfr(d: Path) -> Path:
    return video(d / "vfr.mp4", VFR, time_base=Fraction(1, 90_000), options=GOP)


def _trimmed(d: Path) -> Path:
    ffmpeg("-ss", "0.8", "-i", video(d / "whole.mp4", 48, options=GOP), "-c", "copy", d / "trimmed.mp4")
    return d / "trimmed.mp4"


def _late(d: Path) -> Path:
    ffmpeg("-itsoffset", "0.5", "-i", video(d / "whole.mp4", 24, options=GOP), "-c", "copy", d / "late.mp4")
    return d / "late.mp4"


def _av1(d: Path) -> Path:
    ffmpeg("-i", video(d / "v.mp4", 12), "-c:v", "libaom-av1", "-cpu-used", "8", d / "av1.mp4")
    return d / "av1.mp4"


def _even(count: int, start: Fraction = Fraction(0), fps: Fraction = Fraction(24)) -> list[Fraction]:
    return [start + n / fps for n in range(count)]


PAL = Fraction(25)
NTSC = Fraction(30000, 1001)
# What each file must give: (make, first index, times).
FILES: dict[str, tuple[Callable[[Path], Path], int, list[Fraction]]] = {
    "plain": (lambda d: video(d / "a.mp4", 24), 0, _even(24)),
    "b-frames": (lambda d: video(d / "a.mp4", 40, options=GOP), 0, _even(40)),
    "ntsc": (lambda d: video(d / "a.mp4", 30, fps=NTSC, options=GOP), 0, _even(30, fps=NTSC)),
    "vfr": (_vfr, 0, VFR),
    "trimmed": (_trimmed, 20, _even(28)),  # 0.8 s: between the 20th frame and the keyframe at 0.5 s
    "late": (_late, 0, _even(24, Fraction(1, 2))),
    "transport": (lambda d: video(d / "a.ts", 40, options=GOP), 0, _even(40, Fraction(1, 12))),
    "avi": (lambda d: video(d / "a.avi", 24, codec="mpeg4"), 0, _even(24)),
    "webm": (lambda d: video(d / "a.webm", 24, codec="libvpx-vp9", options=VP9, fps=PAL), 0,
             _even(24, fps=PAL)),
    "av1": (_av1, 0, _even(12)),
    "odd": (lambda d: video(d / "a.mkv", 12, size=(131, 97), fps=PAL, codec="libvpx-vp9", options=VP9), 0,
            _even(12, fps=PAL)),
    "rotated": (lambda d: video(d / "a.mp4", 12, rotation=90), 0, _even(12)),
    "wide pixels": (lambda d: video(d / "a.mp4", 12, sample_aspect=Fraction(4, 3)), 0, _even(12)),
}  # fmt: skip


@pytest.fixture(scope="module", params=FILES)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list]:
    make, first, times = FILES[request.param]
    return make(tmp_path_factory.mktemp("media")), first, times


@pytest.mark.parametrize("asked", INSTALLED)
def test_every_frame_is_where_it_should_be(known: tuple[Path, int, list[Fraction]], asked: str) -> None:
    path, first, times = known
    found = probe(path)
    backend, reason = choose(found, asked)
    assert (backend == asked) == (reason == "asked")
    problems: list[str] = []
    got = list(frames(found, backend, problems=problems))
    assert [index_of(frame.pixels) for frame in got] == list(range(first, first + len(times)))
    assert [frame.time for frame in got] == times
    assert {frame.pixels.shape for frame in got} == {(found.video.height, found.video.width, 3)}
    assert got[0].time == found.video.start and problems == []
    # A span begins with the frame on screen at its start and stops before its end.
    start, end = times[5] + Fraction(1, 500), times[9]
    span = list(frames(found, backend, start, end))
    assert [frame.time for frame in span] == times[5:9]
    assert [index_of(frame.pixels) for frame in span] == list(range(first + 5, first + 9))


@settings(max_examples=20, deadline=None)
@given(start=st.fractions(-1, 4, max_denominator=1000), length=st.fractions(0, 2, max_denominator=1000))
def test_any_span_is_what_a_full_decode_says(
    known: tuple[Path, int, list[Fraction]], start: Fraction, length: Fraction
) -> None:
    path, _, times = known
    got = [frame.time for frame in frames(probe(path), "pyav", start, start + length)]
    before = [time for time in times if time <= start][-1:]
    expected = [*before, *(time for time in times if time > start)]
    assert got == [time for time in expected if length and time < start + length]


def test_backends_that_would_be_wrong_give_way(tmp_path: Path) -> None:
    plain = probe(video(tmp_path / "a.mp4", 12))
    assert choose(plain) == ("pyav", "default: fastest sequential decode measured")
    trimmed = probe(_trimmed(tmp_path))
    for backend in INSTALLED[1:]:
        assert choose(plain, backend) == (backend, "asked")
        used, reason = choose(trimmed, backend)
        assert used == "pyav" and "edit list" in reason and backend in reason
    for backend in set(BACKENDS) - set(INSTALLED):
        assert choose(plain, backend) == ("pyav", f"{backend} asked but not installed; pyav used")
    with pytest.raises(ConfigError, match="pyav, decord, torchcodec"):
        choose(plain, "gstreamer")
    with pytest.raises(ConfigError, match="gstreamer"):
        frames(plain, "gstreamer")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_ffmpegs(tmp_path: Path, rotation: int) -> None:
    path = video(tmp_path / "a.mp4", 8, rotation=rotation)
    ffmpeg("-i", path, "-c:v", "rawvideo", "-pix_fmt", "rgb24", tmp_path / "b.nut")
    with av.open(str(tmp_path / "b.nut")) as container:
        expected = [frame.to_ndarray() for frame in container.decode(video=0)]
    got = [frame.pixels for frame in frames(probe(path), "pyav")]
    assert len(got) == len(expected) == 8
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape and index_of(one) == index_of(other)
        assert np.abs(one.astype(int) - other).mean() < 1


@pytest.mark.parametrize("backend", INSTALLED)
def test_colours_follow_the_tags(tmp_path: Path, backend: str) -> None:
    from pipelines.writers import write_video

    colour = np.array([200, 50, 30], np.uint8)
    write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), colour)] * 9, Fraction(24))
    for frame in frames(probe(tmp_path / "a.mp4"), backend):
        assert np.abs(frame.pixels.mean(axis=(0, 1)) - colour).max() < 3


def test_frames_know_how_long_they_last(tmp_path: Path) -> None:
    got = list(frames(probe(video(tmp_path / "a.mp4", 12)), "pyav"))
    assert {frame.duration for frame in got} == {Fraction(1, 24)}


def test_bad_packets_are_skipped_and_told(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", 48, options={"bf": "0", "g": "12"})
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at = data.index(packets[20])
    data[at : at + len(packets[20])] = b"\xff" * len(packets[20])
    (tmp_path / "b.mkv").write_bytes(data)
    problems: list[str] = []
    got = list(frames(probe(tmp_path / "b.mkv"), "pyav", problems=problems))
    times = {round(frame.time * 24): index_of(frame.pixels) for frame in got}
    assert problems and "0.83" in problems[0]
    assert len(got) >= 47 and all(times[n] == n for n in (*range(20), *range(24, 48)))


def test_a_cut_file_gives_what_it_has(tmp_path: Path) -> None:
    faststart = {"movflags": "faststart"}
    whole = video(tmp_path / "a.mp4", 96, options=GOP, container_options=faststart).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    problems: list[str] = []
    got = [index_of(frame.pixels) for frame in frames(probe(tmp_path / "b.mp4"), "pyav", problems=problems)]
    assert 30 < len(got) < 96 and got[:30] == list(range(30))


def test_stamps_can_be_told_apart() -> None:
    assert [index_of(stamp(n)) for n in range(0, 1024, 31)] == list(range(0, 1024, 31))


def test_no_torch_is_imported(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 3)
    code = (
        "import sys; from pipelines import audio, cuts, selection, timeline, writers;"
        "from pipelines.decoders import frames; from pipelines.probe import probe;"
        f"assert len(list(frames(probe({str(path)!r}), 'pyav'))) == 3; assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
