"""A step of one stream runs that stream alone."""

from pathlib import Path

import pytest
import torch

from catalogs.root import Root
from tests.training.helpers import fresh, prompt, random
from training import adapter, data, idle, loop
from training.tokens import Streams, audio_canvas, predict, video_canvas


@pytest.mark.parametrize("streams", ["video", "audio", "joint"])
def test_what_is_dropped_had_no_part_in_it(path: Path, streams: str) -> None:
    video = video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0)
    audio = audio_canvas(random(1, 1, 6, 16), random(1, 1, 6, 16, seed=2))
    used = Streams(video=video if streams != "audio" else None, audio=audio if streams != "video" else None)
    noised = Streams(video=used.video and video.target, audio=used.audio and audio.target)
    transformer = fresh(path)
    size = sum(parameter.numel() for parameter in transformer.transformer_blocks.parameters())
    before = predict(transformer, used, noised, torch.tensor([0.4]), prompt())
    idle.drop(transformer, streams)
    after = predict(transformer, used, noised, torch.tensor([0.4]), prompt())
    for name in ("video", "audio"):
        if getattr(used, name) is not None:
            assert torch.equal(getattr(after, name), getattr(before, name))
    left = sum(parameter.numel() for parameter in transformer.transformer_blocks.parameters())
    assert left == size if streams == "joint" else left < 0.8 * size


@pytest.mark.parametrize("checkpointing", [True, False])
def test_an_audio_step_has_no_video_in_it(root: Root, path: Path, checkpointing: bool) -> None:
    """With every parameter trainable, a step on sounds gives no video part a gradient: none of them has run."""
    dataset = data.load(root, "sound", path, backbone="test")
    batch = data.read_batch(dataset, dataset.examples)
    assert batch.canvases.video is None
    transformer = fresh(path)
    idle.drop(transformer, dataset.streams)
    adapter.add(transformer, streams="audio", rank=4, alpha=4, seed=0)
    transformer.requires_grad_(True)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    widths = []
    for block in transformer.transformer_blocks:
        block.register_forward_pre_hook(
            lambda _block, args, given: widths.append([one.shape[1] for one in (*args, *given.values())[:2]]),
            with_kwargs=True,
        )
    loss, _ = loop.batch_loss(
        transformer, batch, torch.Generator().manual_seed(0), torch.device("cpu"), torch.float32
    )
    loss.sum().backward()
    assert widths and all(
        width == [1, 18] for width in widths
    )  # the placeholder; 9 of target, 9 of reference
    moved = {
        name
        for name, parameter in transformer.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }
    assert any(".audio_attn1.to_q.lora_B" in name for name in moved)
    assert [name for name in moved if "transformer_blocks" in name and ".audio_" not in name] == []
    kept = {name for name, _ in transformer.named_parameters()}
    assert not any(
        f".{part}." in name for name in kept for part in ("attn1", "attn2", "ff", "video_to_audio_attn")
    )
