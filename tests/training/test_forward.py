"""Our forward pass against diffusers' own, on every configuration of LTX-2."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel

from tests.training.helpers import moved, random
from training import adapter, forward, linear, prepare
from training.forward import predict
from training.tokens import Prompt, Streams, audio_canvas, video_canvas

_LATER = dict(
    gated_attn=True, audio_gated_attn=True, cross_attn_mod=True, audio_cross_attn_mod=True,
    use_prompt_embeddings=False, perturbed_attn=True,
)  # fmt: skip
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "2.0": {},
    "2.0 interleaved": {"rope_type": "interleaved"},
    "2.3": _LATER,
    "2.5": {**_LATER, "use_prompt_adaln_single": False, "ff_bias": False},
}


def made(name: str, seed: int = 0) -> LTX2VideoTransformer3DModel:
    """A small transformer of this configuration; weights of unit scale, so that every part is heard."""
    small = dict(
        in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24,
        audio_in_channels=16, audio_out_channels=16, audio_num_attention_heads=2, audio_attention_head_dim=8,
        audio_cross_attention_dim=16, num_layers=2, caption_channels=16, rope_type="split",
        cross_attn_timestep_scale_multiplier=900,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = LTX2VideoTransformer3DModel(**{**small, **CONFIGURATIONS[name]})
        for key, parameter in transformer.named_parameters():
            if "table" in key or key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
    return transformer.eval().requires_grad_(False)


def inputs(name: str, streams: str, sigma: torch.Tensor) -> tuple[Streams, Streams, Prompt]:
    """Canvases with references of half size, their noised targets, and a prompt with padding."""
    batch, wide = len(sigma), name.startswith("2.0")
    video = audio = None
    if streams != "audio":
        shapes = (batch, 16, 2, 4, 2), (batch, 16, 2, 2, 1)
        video = video_canvas(random(*shapes[0]), random(*shapes[1], seed=1), fps=24.0, scale=2)
    if streams != "video":
        audio = audio_canvas(random(batch, 1, 6, 16, seed=2), random(batch, 1, 5, 16, seed=3))
    mask = torch.ones(batch, 7, dtype=torch.int64)
    mask[0, :3] = 0
    text = Prompt(
        video=random(batch, 7, 16 if wide else 24, seed=4), audio=random(batch, 7, 16, seed=5), mask=mask
    )
    noised = Streams(
        video=video and random(*video.target.shape, seed=6),
        audio=audio and random(*audio.target.shape, seed=7),
    )
    return Streams(video=video, audio=audio), noised, text


def diffusers_predict(
    transformer: Any, canvases: Streams, noised: Streams, sigma: torch.Tensor, text: Prompt
) -> Streams:
    """The same by diffusers' forward: one timestep a token; an unused stream is one token, kept apart."""
    batch = len(sigma)
    idle_video = video_canvas(torch.zeros(batch, 16, 1, 1, 1), None, fps=1.0)
    idle_audio = audio_canvas(torch.zeros(batch, 1, 1, 16), None)
    video, audio = canvases.video or idle_video, canvases.audio or idle_audio
    later = transformer.config.cross_attn_mod
    out = transformer(
        hidden_states=video.tokens(video.target if noised.video is None else noised.video),
        audio_hidden_states=audio.tokens(audio.target if noised.audio is None else noised.audio),
        encoder_hidden_states=text.video,
        audio_encoder_hidden_states=text.audio,
        encoder_attention_mask=text.mask,
        audio_encoder_attention_mask=text.mask,
        timestep=torch.where(video.clean(), 0.0, sigma[:, None]) * 1000,
        audio_timestep=torch.where(audio.clean(), 0.0, sigma[:, None]) * 1000,
        sigma=sigma * 1000,
        audio_sigma=sigma * 1000,
        video_coords=video.positions.expand(batch, -1, -1, -1),
        audio_coords=audio.positions.expand(batch, -1, -1, -1),
        isolate_modalities=canvases.video is None or canvases.audio is None,
        use_cross_timestep=later,
        return_dict=False,
    )
    return Streams(
        video=canvases.video and out[0][:, : video.target.shape[1]],
        audio=canvases.audio and out[1][:, : audio.target.shape[1]],
    )


@pytest.mark.parametrize("streams", ["video", "audio", "joint"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_outputs_and_adapter_gradients_are_diffusers_own(name: str, streams: str) -> None:
    sigma = torch.tensor([0.8, 0.3])
    canvases, noised, text = inputs(name, streams, sigma)
    results = []
    for run in (diffusers_predict, predict):
        transformer = made(name)
        if run is predict:
            forward.keep(transformer, streams)
        parameters = adapter.add(transformer, streams=streams, rank=3, alpha=6, seed=1)
        moved(parameters)
        out = run(transformer, canvases, noised, sigma, text)
        rows = torch.cat([one for one in (out.video, out.audio) if one is not None], dim=1)
        loss = (rows - random(*rows.shape, seed=9)).square().mean()
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        results.append((rows, loss, torch.cat([gradient.flatten() for gradient in gradients])))
    (plain, plain_loss, plain_gradient), (ours, loss, gradient) = results
    assert plain.std() > 0.1 and plain_gradient.norm() > 1e-3
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=0)
    assert (gradient - plain_gradient).norm() < 1e-5 * plain_gradient.norm()


@pytest.mark.parametrize("streams", ["video", "audio"])
def test_a_step_of_one_stream_holds_that_stream_alone(streams: str) -> None:
    transformer = made("2.0")
    size = sum(parameter.numel() for parameter in transformer.transformer_blocks.parameters())
    forward.keep(transformer, streams)
    idle = "audio" if streams == "video" else "video"
    left = dict(transformer.transformer_blocks.named_parameters())
    assert not any(f".{part}." in key for key in left for part in (*forward._PARTS[idle], *forward._BETWEEN))
    assert (
        sum(parameter.numel() for parameter in left.values()) < (0.85 if streams == "video" else 0.4) * size
    )


def test_recomputed_activations_give_the_same_gradient() -> None:
    sigma = torch.tensor([0.6])
    canvases, noised, text = inputs("2.3", "joint", sigma)
    found = []
    for recompute in (False, True):
        transformer = made("2.3")
        parameters = adapter.add(transformer, streams="joint", rank=2, alpha=2, seed=0)
        for block in forward.adopt(transformer):
            block.recompute = recompute
        out = predict(transformer, canvases, noised, sigma, text)
        loss = out.video.square().mean() + out.audio.square().mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters.values()))]))
    assert found[0].norm() > 0 and torch.equal(*found)


def test_what_is_given_is_clean() -> None:
    """A given target token has timestep 0 in diffusers' terms: `clean` is all that tells it apart."""
    sigma = torch.tensor([0.7])
    canvases, noised, text = inputs("2.0", "video", sigma)
    given = torch.zeros(1, canvases.video.target.shape[1], dtype=torch.bool)
    given[:, :8] = True
    held = Streams(video=replace(canvases.video, given=given))
    transformer = made("2.0")
    plain = diffusers_predict(transformer, held, noised, sigma, text).video
    torch.testing.assert_close(
        predict(transformer, held, noised, sigma, text).video, plain, rtol=1e-5, atol=1e-5
    )


def test_reference_gets_no_loss_and_still_matters() -> None:
    transformer = made("2.0")
    target, sigma = random(1, 16, 2, 2, 2), torch.tensor([0.7])
    text = Prompt(video=random(1, 7, 16), audio=random(1, 7, 16), mask=torch.ones(1, 7, dtype=torch.int64))

    def run(reference: torch.Tensor) -> torch.Tensor:
        canvas = video_canvas(target, reference.requires_grad_(), fps=24.0)
        return predict(transformer, Streams(video=canvas), Streams(video=canvas.target), sigma, text).video

    reference = random(1, 16, 2, 2, 2, seed=1)
    first = run(reference)
    assert first.shape == (1, 8, 16)
    assert (first - run(random(1, 16, 2, 2, 2, seed=9))).abs().max() > 1e-4
    (gradient,) = torch.autograd.grad(first.square().mean(), reference)
    assert (
        gradient.abs().amax(dim=(0, 1)).min() > 0
    )  # every reference token has its say, through attention alone


@pytest.mark.parametrize("streams", ["video", "audio", "joint"])
@pytest.mark.parametrize("name", ["2.0", "2.5"])
def test_bordered_matrices_change_nothing(name: str, streams: str) -> None:
    sigma = torch.tensor([0.8, 0.3])
    canvases, noised, text = inputs(name, streams, sigma)
    found = []
    for bordered in (False, True):
        transformer = made(name)
        forward.keep(transformer, streams)
        parameters = adapter.add(transformer, streams=streams, rank=3, alpha=6, seed=1)
        groups = [group for block in forward.adopt(transformer) for group in prepare.groups_of(block)]
        assert sum(map(len, groups)) * 2 == len(parameters)
        if bordered:
            for group in groups:
                linear.border(*group)
        moved(parameters)
        if bordered:
            linear.refresh(groups)
        out = predict(transformer, canvases, noised, sigma, text)
        rows = torch.cat([one for one in (out.video, out.audio) if one is not None], dim=1)
        gradients = torch.autograd.grad(rows.square().mean(), list(parameters.values()))
        found.append((rows, torch.cat([gradient.flatten() for gradient in gradients])))
    (plain, plain_gradient), (ours, gradient) = found
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert (gradient - plain_gradient).norm() < 1e-5 * plain_gradient.norm() and plain_gradient.norm() > 1e-3
