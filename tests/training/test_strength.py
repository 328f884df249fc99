"""Strength of a reference's tokens: levels, masks, fades."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogs.errors import ConfigError, InputError
from training import media, strength
from training.attention import heed
from training.config import GenerateConfig
from training.strength import Strength, fade
from training.tokens import Canvas, audio_canvas, video_canvas


def video(frames: int, height: int, width: int, *, scale: int = 1, fps: float = 24.0) -> Canvas:
    """A canvas with a reference of this latent grid."""
    target = torch.zeros(1, 2, frames, height * scale, width * scale)
    return video_canvas(target, torch.zeros(1, 2, frames, height, width), fps=fps, scale=scale)


def tokens(one: Strength, canvas: Canvas) -> torch.Tensor:
    """[R] strengths."""
    return one.on(canvas).strength[0]


def config(**options: object) -> GenerateConfig:
    return GenerateConfig(out=Path("a.mp4"), reference_video=(Path("r.mp4"),), **options)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99), st.floats(0, 3))
def test_a_mask_keeps_its_mean(more: int, height: int, width: int, seed: int, level: float) -> None:
    """Each token has the mean of the 32 x 32 pixels of its one or eight frames, so all pixels count alike."""
    shape = (8 * more + 1, 32 * height, 32 * width)
    mask = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    found = tokens(Strength(level=level, mask=mask), video(more + 1, height, width))
    cells = found.view(more + 1, height, width).double()
    share = torch.tensor([1.0, *[8.0] * more]) / shape[0]
    assert float((cells.mean(dim=(1, 2)) * share).sum()) == pytest.approx(level * mask.mean() / 255, abs=1e-5)
    assert float(cells[0, 0, 0]) == pytest.approx(level * mask[0, :32, :32].mean() / 255, abs=1e-5)
    last = mask[-8:, -32:, -32:] if more else mask[:, -32:, -32:]
    assert float(cells[-1, -1, -1]) == pytest.approx(level * last.mean() / 255, abs=1e-5)


def test_full_strength_is_none_at_all() -> None:
    """Exactly 1, which the attention leaves out."""
    canvas, white = video(2, 2, 3), np.full((9, 64, 96), 255, np.uint8)
    for one in (Strength(), Strength(mask=white)):
        assert heed(one.on(canvas).strength, 12, torch.float32) is None
    assert heed(Strength(level=2.0, mask=white).on(canvas).strength, 12, torch.float32) is not None


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 6),
    st.sampled_from(["in", "out", "left", "right", "top", "bottom"]),
    st.floats(0.05, 2.0),
    st.sampled_from([1, 2]),
)
def test_a_fade_is_the_mean_of_a_ramp(frames: int, edge: str, length: float, scale: int) -> None:
    """Against the ramp sampled finely over each token's span."""
    canvas = video(frames, 3, 4, scale=scale)
    spans = canvas.positions[0, :, canvas.target.shape[1] :].double()
    axis = {"in": 0, "out": 0, "top": 1, "bottom": 1}.get(edge, 2)
    whole = float(spans[axis].max())
    fine = spans[axis, :, :1] + (spans[axis, :, 1:] - spans[axis, :, :1]) * (torch.arange(2000) + 0.5) / 2000
    inwards = whole - fine if edge in ("out", "right", "bottom") else fine
    ramp = (inwards / (length * (whole if axis else 1))).clamp(max=1).mean(dim=1)
    torch.testing.assert_close(
        tokens(Strength(fade={edge: length}), canvas).double(), ramp, rtol=1e-3, atol=1e-5
    )


def test_a_reference_that_outlasts_the_clip_fades_at_the_clip_s_end() -> None:
    target = torch.zeros(1, 2, 2, 1, 1)  # 9 frames, 0.375 s
    canvas = video_canvas(target, None, fps=24.0)
    longer = canvas.also(video_canvas(target, torch.zeros(1, 2, 4, 1, 1), fps=24.0))
    found = tokens(Strength(fade={"out": 0.375}), longer)
    assert found.tolist() == pytest.approx([1 - 0.5 / 9, 4 / 9, 0, 0], abs=1e-6)


def test_level_mask_and_fades_are_multiplied() -> None:
    canvas = video(3, 2, 2)
    mask = np.zeros((17, 64, 64), np.uint8)
    mask[:, :, 32:] = 255
    parts = [
        Strength(level=0.5),
        Strength(mask=mask),
        Strength(fade={"in": 0.3}),
        Strength(fade={"top": 1.0}),
    ]
    together = tokens(Strength(level=0.5, mask=mask, fade={"in": 0.3, "top": 1.0}), canvas)
    product = torch.stack([tokens(part, canvas) for part in parts]).prod(dim=0)
    torch.testing.assert_close(together, product)
    assert together.view(3, 2, 2)[:, :, 0].abs().max() == 0 and together.max() > 0.3


def test_sounds_fade_too_and_stand_behind_the_first() -> None:
    canvas = audio_canvas(torch.zeros(1, 1, 25, 16), torch.zeros(1, 1, 25, 16))
    rise = tokens(Strength(fade={"in": 0.5}), canvas)
    assert (rise[1:] > rise[:-1])[:12].all() and (rise[14:] == 1).all() and rise[0] < 0.03
    both = Strength(level=0.5).on(canvas).also(Strength().on(canvas))
    assert both.strength.tolist() == [[0.5] * 25 + [1.0] * 25]


def test_what_a_fade_may_say() -> None:
    assert fade("in=0.5s,out=1s, left=25%") == {"in": 0.5, "out": 1.0, "left": 0.25}
    assert fade("none") == {} and fade("bottom=100%") == {"bottom": 1.0}
    for text in ("", "in=0.5", "in=50%", "left=2s", "up=1s", "in=1s,in=2s", "in=0s", "in=-1s", "in=1.2.3s"):
        with pytest.raises(ConfigError, match="is not a fade"):
            fade(text)


def test_one_for_all_or_one_for_each() -> None:
    found, masks = strength.read(config(), 1, 1)
    assert found == [Strength(), Strength()] and masks == [None]
    found, masks = strength.read(config(strength=(0.5,), strength_mask=("m.png",)), 2, 1)
    assert [one.level for one in found] == [0.5] * 3 and masks == [Path("m.png")] * 2
    given = config(strength=(0.5, 2.0), strength_fade=("none", "in=1s"), strength_mask=("none",))
    found, masks = strength.read(given, 1, 1)
    assert [(one.level, one.fade) for one in found] == [(0.5, {}), (2.0, {"in": 1.0})] and masks == [None]
    for options, counts, says in (
        ({"strength": (1.0, 2.0)}, (3, 0), "--strength is given 2 times, there are 3 references"),
        ({"strength": (0.5,)}, (0, 0), "there are 0 references"),
        ({"strength_mask": ("m.png",)}, (0, 1), "there are 0 reference videos"),
        ({"strength_mask": ("a.png", "b.png")}, (1, 1), "there are 1 reference videos"),
        ({"strength_fade": ("left=10%",)}, (1, 1), "a sound has no left"),
    ):
        with pytest.raises(ConfigError, match=says):
            strength.read(config(**options), *counts)
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="a strength cannot be"):
            config(strength=(wrong,))


def test_masks_from_files(tmp_path: Path) -> None:
    grey = np.zeros((48, 96), np.uint8)
    grey[:, 48:] = 200
    Image.fromarray(grey).save(tmp_path / "mask.png")
    still = strength.mask(tmp_path / "mask.png", (5, 24, 48))
    assert still.shape == (5, 24, 48) and (still[:, :, :24] == 0).all() and (still[:, :, 24:] == 200).all()
    frames = np.repeat(np.arange(0, 240, 60, np.uint8)[:, None, None, None], 32, axis=1).repeat(32, 2)
    media.write_video(tmp_path / "mask.mp4", frames.repeat(3, axis=3), 24)
    moving = strength.mask(tmp_path / "mask.mp4", (9, 32, 32))  # 4 frames over 9
    assert np.abs(moving.mean(axis=(1, 2)) - [0, 0, 60, 60, 120, 120, 120, 180, 180]).max() < 3
    same = strength.mask(tmp_path / "mask.mp4", (4, 32, 32))
    assert np.abs(same.mean(axis=(1, 2)) - [0, 60, 120, 180]).max() < 3
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png is not a video"):
        strength.mask(tmp_path / "text.png", (1, 32, 32))
