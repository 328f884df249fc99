from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from pipelines.decoders import Frame, frames
from pipelines.probe import probe
from pipelines.timeline import TICKS_PER_SECOND, Timeline, crop_box, fit, resample
from tests.pipelines.media import ffmpeg, index_of, stamp, video


def test_parse_gives_exact_numbers() -> None:
    line = Timeline.parse("768x448x89", "29.97")
    assert (line.width, line.height, line.frames) == (768, 448, 89)
    assert line.fps == Fraction(30000, 1001)
    assert line.frame_ticks == 23_543_520 and line.ticks == 89 * 23_543_520
    assert line.duration == Fraction(89 * 1001, 30000)
    assert line.audio_samples == round(89 * 1001 / 30000 * 48000) == 142_542
    assert line.canonical() == "768x448x89@30000/1001+48000"
    assert Timeline.parse().canonical() == "768x448x89@24/1+48000"


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("24", Fraction(24)),
        ("23.976", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("12.5", Fraction(25, 2)),
    ],
)
def test_every_common_rate_has_an_exact_period(text: str, fps: Fraction) -> None:
    line = Timeline.parse("64x64x9", text)
    assert line.fps == fps
    assert line.frame_ticks * fps == TICKS_PER_SECOND


@pytest.mark.parametrize(
    ("resolution", "fps", "says"),
    [
        ("770x448x89", "24", "768 or 800"),
        ("16x448x89", "24", "Nearest: 32"),
        ("768x450x89", "24", "448 or 480"),
        ("768x448x90", "24", "89 or 97"),
        ("768x448x1", "24", "Nearest: 9"),
        ("768x448", "24", "WIDTHxHEIGHTxFRAMES"),
        ("768x448x89", "29.9713", "no exact period"),
        ("768x448x89", "0", "common rate"),
        ("768x448x89", "fast", "not a number"),
        ("768x448x89", "1/0", "not a number"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_the_nearest(resolution: str, fps: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Timeline.parse(resolution, fps)


# Gaps in milliseconds: multiples of 20 fall exactly between two slots of 25 fps, the ties of rounding.
gaps = st.lists(st.one_of(st.sampled_from([20, 40, 60, 100]), st.integers(1, 250)), min_size=2, max_size=24)


@settings(max_examples=12, deadline=None)
@given(gaps=gaps, rate=st.sampled_from([Fraction(25), Fraction(24), Fraction(30000, 1001)]))
def test_resample_is_ffmpegs_fps_filter(gaps: list[int], rate: Fraction) -> None:
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "vfr.mkv", Path(folder) / "cfr.nut"
        times = [Fraction(int(ms), 1000) for ms in np.cumsum([0, *gaps])]
        video(source, times, time_base=Fraction(1, 1000), size=(64, 48), options={"bf": "0"})
        ffmpeg(
            "-copyts", "-i", source, "-vf", f"fps={rate.numerator}/{rate.denominator}:round=near",
            "-fps_mode", "passthrough", "-c:v", "rawvideo", "-pix_fmt", "gray", out,
        )  # fmt: skip
        with av.open(str(out)) as container:
            expected = [
                (round(f.pts * f.time_base * rate), index_of(f.to_ndarray()[..., None]))
                for f in container.decode(video=0)
            ]
        got = [(n, index_of(p)) for n, p in resample(frames(probe(source), "pyav"), rate, Fraction(0))]
    assert got == expected


def _frame(time: Fraction, value: int, duration: Fraction = Fraction(0)) -> Frame:
    return Frame(time, np.full((2, 2, 3), value, np.uint8), duration)


def test_resample_starts_where_the_source_does_and_never_runs_over() -> None:
    third = Fraction(1, 3)
    source = [_frame(2 + n * third, n) for n in range(3)]
    inside = [(n, int(p[0, 0, 0])) for n, p in resample(source, Fraction(3), Fraction(7, 3))]
    assert inside == [(0, 1), (1, 2)]  # the frame before the origin is passed over; the last one has one slot
    early = [n for n, _ in resample(source, Fraction(3), Fraction(1))]
    assert early == [3, 4, 5]  # nothing is invented before the first frame
    held = [n for n, _ in resample([_frame(Fraction(0), 0, Fraction(1))], Fraction(10), Fraction(0))]
    assert held == list(range(10))
    assert list(resample([], Fraction(24), Fraction(0))) == []


def test_resample_holds_one_frame_only() -> None:
    asked = 0

    def source() -> object:
        nonlocal asked
        for n in range(100):
            asked = n
            yield _frame(Fraction(n, 24), n)

    out = resample(source(), Fraction(24), Fraction(0))  # type: ignore[arg-type]
    assert [next(out)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert asked == 5


sides = st.integers(32, 4000)


@given(width=sides, height=sides, w=st.integers(1, 60), h=st.integers(1, 60))
def test_crop_box_is_the_largest_centred_one_of_the_aspect(width: int, height: int, w: int, h: int) -> None:
    line = Timeline(width=32 * w, height=32 * h, frames=9, fps=Fraction(24))
    x, y, across, down = crop_box(width, height, line)
    assert x >= 0 and y >= 0 and x + across <= width and y + down <= height
    assert across == width or down == height
    assert abs(x - (width - across - x)) <= 1 and abs(y - (height - down - y)) <= 1
    # Within half a pixel of the exact aspect, on the side that was cut (but at least one pixel).
    assert min(across, down) == 1 or min(abs(across - down * w / h), abs(down - across * h / w)) <= 0.5


@pytest.mark.parametrize("size", [(96, 64), (192, 128), (211, 131), (640, 360), (48, 32), (65, 300)])
def test_fit_keeps_the_middle_and_the_light(size: tuple[int, int]) -> None:
    line = Timeline.parse("96x64x9")
    frame = stamp(700, *size)
    out = fit(frame, line)
    assert out.shape == (64, 96, 3) and out.dtype == np.uint8
    x, y, w, h = crop_box(*size, line)
    box = frame[y : y + h, x : x + w]
    assert np.abs(out.mean(axis=(0, 1)) - box.mean(axis=(0, 1))).max() < 2
    if w == size[0]:
        assert index_of(out) == 700
    ramp = np.tile(np.linspace(0, 255, size[0]).astype(np.uint8)[None, :, None], (size[1], 1, 3))
    column = fit(ramp, line)[32, :, 0].astype(int)
    centre = ramp[0, [(size[0] - 1) // 2, size[0] // 2], 0].mean()
    assert abs(column[47:49].mean() - centre) < 3  # centred
