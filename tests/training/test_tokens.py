from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline

from tests.training.helpers import random
from training import backbone, tokens
from training.tokens import video_canvas


@pytest.fixture(scope="module")
def transformer(path: Path):
    return backbone.component(path, "transformer")


def test_tokens_are_packed_as_the_pipeline_packs_them() -> None:
    video, audio = random(2, 16, 3, 4, 5), random(2, 8, 7, 16)
    assert torch.equal(tokens.video_tokens(video), LTX2Pipeline._pack_latents(video))
    assert torch.equal(tokens.audio_tokens(audio), LTX2Pipeline._pack_audio_latents(audio))
    assert torch.equal(tokens.video_latents(tokens.video_tokens(video), 3, 4, 5), video)
    assert torch.equal(tokens.audio_latents(tokens.audio_tokens(audio), 16), audio)


@pytest.mark.parametrize("fps", [24.0, 30000 / 1001, 25.0])
def test_positions_are_diffusers_own(transformer, fps: float) -> None:
    ours = tokens.video_positions(4, 3, 5, fps)
    torch.testing.assert_close(
        ours, transformer.rope.prepare_video_coords(1, 4, 3, 5, "cpu", fps=fps), rtol=0, atol=0
    )
    torch.testing.assert_close(
        tokens.audio_positions(9), transformer.audio_rope.prepare_audio_coords(1, 9, "cpu"), rtol=0, atol=0
    )


def test_positions_in_words() -> None:
    """The first latent frame is one pixel frame; the third covers frames 9 to 17."""
    time, _, x = tokens.video_positions(3, 1, 2, fps=8.0)[0]
    assert time[0].tolist() == [0, 1 / 8]
    assert time[-1].tolist() == [9 / 8, 17 / 8]
    assert x[1].tolist() == [32, 64]


def test_a_small_reference_covers_the_target() -> None:
    """At 1/2, one reference token lies over the 2 x 2 target tokens that show the same place."""
    target = tokens.video_positions(2, 4, 6, 24.0).mean(dim=-1)[0]
    reference = tokens.video_positions(2, 2, 3, 24.0, scale=2)[0]
    inside = (target[:, :, None] >= reference[:, None, :, 0]) & (
        target[:, :, None] < reference[:, None, :, 1]
    )
    assert (inside.all(dim=0).sum(dim=0) == 4).all()  # times agree, too
    assert torch.equal(reference[0, 0], tokens.video_positions(2, 4, 6, 24.0)[0, 0, 0])


def test_canvas_order_timesteps_and_positions() -> None:
    target, reference = random(1, 16, 2, 4, 4), random(1, 16, 2, 2, 2, seed=1)
    canvas = video_canvas(target, reference, fps=24.0, scale=2)
    rows = canvas.tokens(canvas.target)
    assert torch.equal(rows[:, :32], tokens.video_tokens(target))
    assert torch.equal(rows[:, 32:], tokens.video_tokens(reference))
    assert canvas.clean()[0].tolist() == [False] * 32 + [True] * 8
    given = torch.zeros(1, 32, dtype=torch.bool)
    given[0, :16] = True  # a first frame
    held = replace(canvas, given=given)
    assert held.clean()[0].tolist() == [True] * 16 + [False] * 16 + [True] * 8
    assert canvas.positions.shape == (1, 3, 40, 2)
    assert canvas.positions[0, 2].max() == canvas.positions[0, 2, :32].max() == 128
    assert torch.equal(canvas.latents(canvas.target), target)


def test_two_references_on_one_canvas() -> None:
    target, first, second = (
        random(1, 16, 2, 4, 4),
        random(1, 16, 2, 4, 4, seed=1),
        random(1, 16, 2, 2, 2, seed=2),
    )
    one = video_canvas(target, first, fps=24.0)
    small = video_canvas(target, second, fps=24.0, scale=2)
    both = video_canvas(target, None, fps=24.0).also(one).also(small)
    assert torch.equal(both.tokens(both.target)[:, :64], one.tokens(one.target))
    assert torch.equal(both.reference[:, 32:], tokens.video_tokens(second))
    assert torch.equal(both.positions[:, :, :64], one.positions)
    assert torch.equal(both.positions[:, :, 64:], small.positions[:, :, 32:])
    assert both.clean().tolist() == [[False] * 32 + [True] * 40] and both.strength is None
    weak = replace(small, strength=torch.full((1, 8), 0.5))
    assert one.also(weak).strength.tolist() == [[1.0] * 32 + [0.5] * 8]
    assert weak.also(one).strength.tolist() == [[0.5] * 8 + [1.0] * 32]
