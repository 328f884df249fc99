"""Reference videos in the clip's size and time."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from training import fitting
from training.config import GenerateConfig
from training.fitting import Drawn
from training.strength import Strength
from training.tokens import video_canvas


def config(**options: object) -> GenerateConfig:
    return GenerateConfig(out=Path("a.mp4"), reference_video=(Path("r.mp4"),), **options)


def numbered(frames: int, rate: int = 24, height: int = 32) -> Drawn:
    """A clip whose every frame is its number."""
    pixels = (
        np.arange(frames, dtype=np.uint8)[:, None, None, None].repeat(height, 1).repeat(32, 2).repeat(3, 3)
    )
    return Drawn(frames=pixels, rate=Fraction(rate), scale=1)


def fitted(options: GenerateConfig, one: Drawn, fps: float) -> tuple[tuple[int, int, int], fitting.Video]:
    size = fitting.size_of(options, [one], fps, 1)
    return size, fitting.fit(options, one, size, fps, scale=1, heeded=Strength(), mask=None)


def test_without_retiming_frame_goes_with_frame() -> None:
    size, video = fitted(config(), numbered(20), 50.0)
    assert size == (32, 32, 17) and video.fps == 50 and len(video.frames) == 17
    assert (video.beside(17, 50.0)[:, 0, 0, 0] == np.arange(17)).all()


def test_half_speed_makes_twice_the_clip() -> None:
    size, video = fitted(config(retime="0.5"), numbered(25), 24.0)
    assert size == (32, 32, 49) and video.fps == 12 and len(video.frames) == 25
    assert (video.beside(49, 24.0)[::2, 0, 0, 0] == np.arange(25)).all()
    # at another rate, at its own speed
    size, video = fitted(config(retime="1", fps=48.0), numbered(25), 48.0)
    assert size == (32, 32, 49) and video.fps == 24
    size, video = fitted(config(retime="2"), numbered(25), 24.0)
    assert size == (32, 32, 9) and video.fps == 48 and len(video.frames) == 25  # 18 are seen


def test_a_reference_that_is_too_short() -> None:
    with pytest.raises(ConfigError, match="the reference has 9 frames, 17 are asked for"):
        fitted(config(resolution="32x32x17"), numbered(9), 24.0)
    with pytest.raises(ConfigError, match=r"has 4 frames at that speed, 9 .*--retime fit"):
        fitted(config(resolution="32x32x9", retime="2"), numbered(9), 24.0)
    for wrong in ("0", "-1", "fast", "nan", "inf", ""):
        with pytest.raises(ConfigError, match="cannot retime by"):
            config(retime=wrong)


@settings(deadline=None, max_examples=30)
@given(st.integers(9, 60), st.integers(0, 6), st.sampled_from([12, 24, 30]), st.sampled_from([24.0, 50.0]))
def test_fitted_it_covers_the_clip(frames: int, more: int, rate: int, fps: float) -> None:
    """Its last token ends when the target's last one does, whatever the rates and lengths."""
    options = config(retime="fit", resolution=f"32x32x{8 * more + 1}")
    size, video = fitted(options, numbered(frames, rate), fps)
    latents = torch.zeros(1, 2, more + 1, 1, 1), torch.zeros(1, 2, (len(video.frames) - 1) // 8 + 1, 1, 1)
    target = video_canvas(latents[0], None, fps=fps)
    canvas = target.also(video_canvas(latents[0], latents[1], fps=video.fps))
    ends = canvas.positions[0, 0, :, 1]
    assert float(ends[-1]) == pytest.approx(float(ends[: more + 1].max()), rel=1e-5) == size[2] / fps
    assert video.frames[-1, 0, 0, 0] == (frames - 1) // 8 * 8  # all of it that the grid holds


@settings(deadline=None, max_examples=30)
@given(st.integers(9, 60), st.floats(0.3, 3.0), st.sampled_from([12, 24, 30]), st.sampled_from([24.0, 50.0]))
def test_at_any_speed_it_lasts_as_long_as_the_clip(frames: int, speed: float, rate: int, fps: float) -> None:
    size, video = fitted(config(retime=str(speed)), numbered(frames, rate), fps)
    assert size[2] % 8 == len(video.frames) % 8 == 1 and video.fps == pytest.approx(rate * speed)
    covered, lasts = len(video.frames) / video.fps, size[2] / fps
    assert covered > lasts - 8 / video.fps - 1e-6  # all but what the reference's own grid cuts off
    assert covered < lasts + 8 / video.fps + 1e-6  # and no more than that
