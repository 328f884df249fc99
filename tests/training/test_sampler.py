"""Denoising: what is given stays, and how much the reference counts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.helpers import fresh, prompt, random
from training import backbone
from training.forward import predict
from training.sampler import denoise, with_noise
from training.tokens import Canvas, Streams, audio_canvas, video_canvas


def video(strength: float | None = None) -> Canvas:
    one = video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0)
    return one if strength is None else replace(one, strength=torch.full((1, 8), strength))


def audio(strength: float | None = None) -> Canvas:
    one = audio_canvas(random(1, 1, 6, 16), random(1, 1, 5, 16, seed=2))
    return one if strength is None else replace(one, strength=torch.full((1, 5), strength))


def run(path: Path, canvases: Streams, **options: object) -> Streams:
    scheduler = backbone.component(path, "scheduler")
    return denoise(fresh(path), scheduler, with_noise(canvases, 3), prompt(), steps=4, **options)


def bare(canvas: Canvas) -> Canvas:
    """Without its reference."""
    own = canvas.target.shape[1]
    return replace(canvas, reference=canvas.reference[:, :0], positions=canvas.positions[:, :, :own])


def test_switched_off_it_is_not_heard_from_the_other_stream_either(path: Path) -> None:
    """Video attends to audio's reference too, and audio to video's."""

    def made(*canvases: Canvas) -> torch.Tensor:
        out = run(path, Streams(video=canvases[0], audio=canvases[1]))
        return torch.cat([out.video.flatten(), out.audio.flatten()])

    for on, off, none in (
        ((video(), bare(audio())), (video(0.0), bare(audio())), (bare(video()), bare(audio()))),
        ((bare(video()), audio()), (bare(video()), audio(0.0)), (bare(video()), bare(audio()))),
        ((video(), audio()), (video(0.0), audio(0.0)), (bare(video()), bare(audio()))),
    ):
        without = made(*none)
        apart = (made(*on) - without).norm()
        assert apart > 1e-3 * without.norm() and (made(*off) - without).norm() < 1e-4 * apart


def test_one_step_goes_from_noise_to_the_end_at_once(path: Path) -> None:
    """x1 = x0 - v(x0, sigma 1): Euler written out."""
    canvases = with_noise(Streams(video=video()), 3)
    scheduler = backbone.component(path, "scheduler")
    assert scheduler.config.shift_terminal
    made = denoise(fresh(path), scheduler, canvases, prompt(), steps=1).video
    with torch.no_grad():
        towards = predict(
            fresh(path), canvases, Streams(video=canvases.video.target), torch.ones(1), prompt()
        ).video
    torch.testing.assert_close(made, canvases.video.target - towards, rtol=1e-5, atol=1e-5)
    assert scheduler.config.shift_terminal  # as it was for the next


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_strength_goes_from_no_reference_to_the_trained_one(path: Path, kind: str) -> None:
    canvas = {"video": video, "audio": audio}[kind]

    def made(one: Canvas) -> torch.Tensor:
        return getattr(run(path, Streams(**{kind: one})), kind)

    trained, without = made(canvas()), made(bare(canvas()))
    apart = (trained - without).norm()
    assert apart > 1e-3 * trained.norm()
    assert (made(canvas(0.0)) - without).norm() < 1e-4 * apart
    assert 0 < (made(canvas(0.99)) - trained).norm() < 0.03 * apart
    assert (made(canvas(2.0)) - trained).norm() > 0.05 * apart


def test_what_is_given_comes_back_bit_for_bit(path: Path) -> None:
    canvas = video()
    first = torch.zeros(1, 8, dtype=torch.bool)
    first[:, :4] = True  # the first latent frame
    held = run(path, Streams(video=replace(canvas, given=first)), guidance=3.0, negative=prompt(seed=9)).video
    free = run(path, Streams(video=canvas), guidance=3.0, negative=prompt(seed=9)).video
    assert torch.equal(held[:, :4], canvas.target[:, :4])
    assert (free[:, :4] - canvas.target[:, :4]).abs().max() > 0.1
    assert (held[:, 4:] - free[:, 4:]).abs().max() > 1e-4  # the rest goes with it
    assert (held[:, 4:] - canvas.target[:, 4:]).abs().max() > 0.1


def test_noise_is_the_seed_s_and_leaves_what_is_given() -> None:
    canvas = video()
    given = torch.tensor([[True] * 3 + [False] * 5])
    noisy = with_noise(Streams(video=replace(canvas, given=given), audio=audio()), 7)
    plain = with_noise(Streams(video=canvas), 7)
    assert torch.equal(noisy.video.target[:, :3], canvas.target[:, :3])
    assert torch.equal(noisy.video.target[:, 3:], plain.video.target[:, 3:])
    assert not torch.equal(with_noise(Streams(video=canvas), 8).video.target, plain.video.target)
