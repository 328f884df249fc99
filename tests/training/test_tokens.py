from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel

from tests.training.helpers import prompt, random
from training import backbone, tokens
from training.tokens import Prompt, Streams, audio_canvas, predict, video_canvas


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
    when = canvas.timesteps(torch.tensor([0.25]))
    assert when[0, :32].unique().tolist() == [250.0]
    assert when[0, 32:].unique().tolist() == [0.0]
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
    assert both.timesteps(torch.tensor([0.5])).shape == (1, 32 + 32 + 8)


def test_reference_gets_no_loss_and_still_matters(transformer) -> None:
    target, reference = random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1)
    sigma = torch.tensor([0.7])

    def run(beside: torch.Tensor) -> torch.Tensor:
        canvas = video_canvas(target, beside, fps=24.0)
        return predict(
            transformer, Streams(video=canvas), Streams(video=canvas.target), sigma, prompt()
        ).video

    first = run(reference)
    assert first.shape == (1, 8, 16)
    assert (first - run(random(1, 16, 2, 2, 2, seed=9))).abs().max() > 1e-4

    # the whole output sequence, seen through a hook: the loss pulls on target rows only
    seen = []
    hook = transformer.proj_out.register_forward_hook(lambda _m, _i, out: seen.append(out.requires_grad_()))
    out = run(reference)
    hook.remove()
    (gradient,) = torch.autograd.grad(out.square().mean(), seen[0])
    assert gradient.shape[1] == 16
    assert (gradient[:, :8].abs().sum(dim=-1) > 0).all()
    assert (gradient[:, 8:] == 0).all()


def test_the_idle_stream_changes_nothing(transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    sigma = torch.tensor([0.4])
    video = video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0)
    audio = audio_canvas(random(1, 1, 6, 16), random(1, 1, 6, 16, seed=2))
    for used in (Streams(video=video), Streams(audio=audio)):
        noised = Streams(video=used.video and video.target, audio=used.audio and audio.target)
        before = predict(transformer, used, noised, sigma, prompt())
        with monkeypatch.context() as patch:
            real = tokens._idle

            def other(*args, real=real):
                canvas = real(*args)
                canvas.target.add_(3.0)
                return canvas

            patch.setattr(tokens, "_idle", other)
            after = predict(transformer, used, noised, sigma, prompt())
        assert torch.equal(*(one.video if used.video else one.audio for one in (before, after)))


def test_joint_streams_see_each_other_and_equal_a_plain_call(transformer) -> None:
    video, audio = (
        video_canvas(random(2, 16, 2, 2, 2), None, fps=24.0),
        audio_canvas(random(2, 1, 6, 16), None),
    )
    sigma = torch.tensor([0.4, 0.9])
    ours = predict(
        transformer,
        Streams(video=video, audio=audio),
        Streams(video=video.target, audio=audio.target),
        sigma,
        prompt(2),
    )
    text = prompt(2)
    plain = transformer(
        hidden_states=video.target,
        audio_hidden_states=audio.target,
        encoder_hidden_states=text.video,
        audio_encoder_hidden_states=text.audio,
        timestep=sigma * 1000,
        num_frames=2,
        height=2,
        width=2,
        fps=24.0,
        audio_num_frames=6,
        return_dict=False,
    )
    torch.testing.assert_close(ours.video, plain[0])
    torch.testing.assert_close(ours.audio, plain[1])
    silent = predict(
        transformer,
        Streams(video=video, audio=audio),
        Streams(video=video.target, audio=audio.target * 0),
        sigma,
        prompt(2),
    )
    assert (silent.video - ours.video).abs().max() > 1e-6


@pytest.mark.parametrize("static_prompt", [False, True])
def test_the_later_configurations_run(static_prompt: bool) -> None:
    """2.3 modulates the prompt by sigma, 2.5 by a static table; both gate attention."""
    torch.manual_seed(0)
    later = LTX2VideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=16,
        audio_out_channels=16,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=1,
        rope_type="split",
        gated_attn=True,
        audio_gated_attn=True,
        cross_attn_mod=True,
        audio_cross_attn_mod=True,
        use_prompt_embeddings=False,
        perturbed_attn=True,
        use_prompt_adaln_single=not static_prompt,
    ).eval()
    canvas = video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0)
    sound = audio_canvas(random(1, 1, 6, 16), None)
    text = Prompt(video=random(1, 12, 16), audio=random(1, 12, 8), mask=torch.ones(1, 12, dtype=torch.int64))
    both, noised = Streams(video=canvas, audio=sound), Streams(video=canvas.target, audio=sound.target)
    seen = []
    later.register_forward_pre_hook(lambda _module, _args, given: seen.append(given), with_kwargs=True)
    low = predict(later, both, noised, torch.tensor([0.1]), text)
    high = predict(later, both, noised, torch.tensor([0.9]), text)
    assert low.video.shape == (1, 8, 16) and low.audio.shape == (1, 6, 16)
    assert (low.video - high.video).abs().max() > 1e-6
    # the other stream's sigma drives cross-modal modulation, and no reference token dilutes it
    assert seen[0]["use_cross_timestep"] is True
    assert seen[0]["sigma"].tolist() == seen[0]["audio_sigma"].tolist() == pytest.approx([100.0])


def test_the_first_configuration_keeps_its_own_timesteps(transformer) -> None:
    seen = []
    hook = transformer.register_forward_pre_hook(lambda _m, _a, given: seen.append(given), with_kwargs=True)
    canvas = video_canvas(random(1, 16, 2, 2, 2), None, fps=24.0)
    predict(transformer, Streams(video=canvas), Streams(video=canvas.target), torch.tensor([0.5]), prompt())
    hook.remove()
    assert seen[0]["use_cross_timestep"] is False and seen[0]["isolate_modalities"] is True
