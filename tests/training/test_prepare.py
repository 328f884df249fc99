"""The layouts for speed and for room compute what the plain one does."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from catalogs.root import Root
from tests.training.helpers import fresh, moved, random
from tests.training.test_forward import inputs, made
from training import adapter, data, forward, loop, memory, offload, parallel, prepare
from training.eight import Linear8
from training.forward import predict
from training.tokens import Streams, video_canvas

CPU = torch.device("cpu")


def result(name: str, streams: str, weights: str, fast: bool, dtype: torch.dtype = torch.float32) -> Any:
    """Output, loss and adapter gradient of a step, and the transformer."""
    sigma = torch.tensor([0.8])
    canvases, noised, text = inputs(name, streams, sigma)
    transformer = made(name).to(dtype)
    forward.keep(transformer, streams)
    parameters = adapter.add(transformer, streams=streams, rank=4, alpha=8, seed=1)
    moved(parameters)
    prepare.place(transformer, CPU, weights=weights)
    if fast:
        prepare.fast(transformer, backend="aot_eager")
    out = predict(transformer, canvases, noised, sigma, text)
    rows = torch.cat([one for one in (out.video, out.audio) if one is not None], dim=1).float()
    loss = (rows - random(*rows.shape, seed=9)).square().mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters.values()))])
    return rows, loss, gradient, transformer


@pytest.mark.parametrize(("name", "streams"), [("2.0", "video"), ("2.0", "audio"), ("2.5", "joint")])
def test_the_fast_step_is_the_plain_step(name: str, streams: str) -> None:
    plain, loss, gradient, _ = result(name, streams, "full", fast=False)
    ours, fast_loss, fast_gradient, _ = result(name, streams, "full", fast=True)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fast_loss, loss, rtol=1e-5, atol=0)
    assert (fast_gradient - gradient).norm() < 1e-5 * gradient.norm() and gradient.norm() > 1e-3


@pytest.mark.parametrize(("name", "streams"), [("2.0", "video"), ("2.0", "audio"), ("2.5", "joint")])
@pytest.mark.parametrize("weights", ["full", "small"])
def test_the_fast_model_predicts_what_the_plain_one_does(name: str, streams: str, weights: str) -> None:
    """Without gradients, as validation does; before and after a step with them."""
    sigma = torch.tensor([0.8])
    canvases, noised, text = inputs(name, streams, sigma)

    def ready(fast: bool) -> Any:
        transformer = made(name)
        forward.keep(transformer, streams)
        moved(adapter.add(transformer, streams=streams, rank=4, alpha=8, seed=1))
        prepare.place(transformer, CPU, weights=weights)
        if fast:
            prepare.fast(transformer, backend="aot_eager")
        return transformer

    plain, fast = ready(False), ready(True)
    for grad in (False, True, False):
        with torch.set_grad_enabled(grad):
            wanted, out = (predict(one, canvases, noised, sigma, text) for one in (plain, fast))
        for stream in ("video", "audio"):
            if (ours := getattr(out, stream)) is not None:
                torch.testing.assert_close(ours, getattr(wanted, stream), rtol=1e-5, atol=1e-5)


def test_not_every_number_of_tokens_is_compiled_anew() -> None:
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters["stats"]
    transformer = made("2.0")
    forward.keep(transformer, "video")
    adapter.add(transformer, streams="video", rank=4, alpha=8, seed=1)
    prepare.fast(prepare.place(transformer, CPU), backend="eager")
    sigma, text = torch.tensor([0.8]), inputs("2.0", "video", torch.tensor([0.8]))[2]
    graphs = []
    for width in range(2, 8):
        canvas = video_canvas(
            random(1, 16, 2, 2, width, seed=1), random(1, 16, 2, 2, width, seed=2), fps=24.0
        )
        predict(
            transformer,
            Streams(video=canvas, audio=None),
            Streams(video=canvas.target, audio=None),
            sigma,
            text,
        )
        graphs.append(counted["unique_graphs"])
    assert graphs[-1] == graphs[2] > 0  # the second shape is compiled for all that follow


def test_a_masters_new_value_is_seen_by_the_next_step() -> None:
    sigma = torch.tensor([0.8])
    canvases, noised, text = inputs("2.0", "video", sigma)
    transformer = made("2.0")
    forward.keep(transformer, "video")
    parameters = adapter.add(transformer, streams="video", rank=4, alpha=8, seed=1)
    prepare.fast(prepare.place(transformer, CPU), backend="aot_eager")
    before = predict(transformer, canvases, noised, sigma, text).video
    for key, parameter in parameters.items():
        if "lora_B" in key:
            parameter.data += 0.1
    assert (predict(transformer, canvases, noised, sigma, text).video - before).abs().max() > 1e-3


@pytest.mark.parametrize("weights", ["fp8", "small"])
def test_eight_bits_are_near(weights: str) -> None:
    plain, loss, gradient, _ = result("2.0", "video", "full", fast=False, dtype=torch.bfloat16)
    ours, near_loss, near_gradient, transformer = result(
        "2.0", "video", weights, fast=True, dtype=torch.bfloat16
    )
    assert (ours - plain).norm() < 0.1 * plain.norm() and not torch.equal(ours, plain)
    assert abs(near_loss / loss - 1) < 0.02
    assert (near_gradient - gradient).norm() < 0.25 * gradient.norm()  # few and small matrices: far from 2%
    eight = {
        name
        for name, module in transformer.transformer_blocks[0].named_modules()
        if isinstance(getattr(module, "base_layer", None), Linear8)
    }
    assert len(eight) == 10 if weights == "small" else eight == {
        "attn1.to_q", "attn1.to_k", "ff.net.0.proj", "ff.net.2"
    }  # fmt: skip


class Room:
    """A GPU's memory as `memory` sees it: a step takes a floor, and so much for each block that keeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: int, floor: int, each: int) -> None:
        self.blocks = [type("Block", (), {"recompute": True})() for _ in range(48)]
        self.free, self.floor, self.each = free, floor, each
        monkeypatch.setattr(memory, "_peak", lambda step, device: self.peak())
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)

    def peak(self) -> int:
        taken = self.floor + self.each * sum(not block.recompute for block in self.blocks)
        if taken > self.free:
            raise torch.OutOfMemoryError
        return taken


@pytest.mark.parametrize(("free", "kept"), [(80_000, 48), (60_000, 28), (31_000, 0), (30_500, 0)])
def test_as_many_blocks_keep_their_activations_as_fit(
    monkeypatch: pytest.MonkeyPatch, free: int, kept: int
) -> None:
    room = Room(monkeypatch, free=free, floor=30_000, each=500 if free == 30_500 else 1_000)
    assert memory.fit(room.blocks, lambda: None, CPU) == kept
    assert [block.recompute for block in room.blocks] == [False] * kept + [True] * (48 - kept)
    assert room.peak() <= free


def test_what_is_wanted_later_is_left_free_and_nothing_at_all_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(monkeypatch, free=60_000, floor=30_000, each=1_000)
    assert memory.fit(room.blocks, lambda: None, CPU, reserve=10_000) == 18
    with pytest.raises(torch.OutOfMemoryError):
        memory.fit(Room(monkeypatch, free=100, floor=200, each=1).blocks, lambda: None, CPU)


def test_a_trial_leaves_nothing_behind_and_is_made_once_for_a_shape(
    root: Root, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = data.load(root, "canny", path, backbone="test")
    batch = data.read_batch(dataset, dataset.examples[:1])
    transformer = fresh(path)
    forward.keep(transformer, "video")
    parameters = adapter.add(transformer, streams="video", rank=4, alpha=4, seed=0)
    gradients = parallel.Gradients(parameters.values())
    gradients.flat.copy_(random(len(gradients.flat)))
    before, trials = gradients.flat.clone(), []

    def peak(step: Any, device: Any) -> int:
        step()
        trials.append(gradients.flat.clone())
        return 100 + 10 * sum(not block.recompute for block in blocks)

    blocks = forward.adopt(transformer)
    monkeypatch.setattr(memory, "_peak", peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (125, 125))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    optimizer = torch.optim.SGD(parameters.values())
    optimizer.state[blocks[0]] = {"there": True}  # its memory is taken already
    fits = memory.Fits(blocks, CPU, optimizer)
    for _ in range(2):
        for block in blocks:
            block.recompute = True
        fits(batch, functools.partial(loop._trial, transformer, batch, CPU, torch.float32, gradients))
        assert [block.recompute for block in blocks] == [False, False]
    assert len(trials) == 4 and all(torch.equal(each, before) for each in trials)
    assert all(parameter.grad is not None for parameter in parameters.values())
    assert torch.equal(torch.cat([p.grad.flatten() for p in parameters.values()]), before[:-2])


def test_a_block_packed_and_unpacked_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout alone: page-locked memory and the second stream want a GPU."""
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **more: real(*size, **more))
    block = result("2.0", "video", "small", fast=False)[3].transformer_blocks[0]
    before = {
        key: value.detach().clone() for key, value in (*block.named_parameters(), *block.named_buffers())
    }
    room = offload._pack(block)
    offload._point(block, room)
    after = dict((*block.named_parameters(), *block.named_buffers()))
    assert before.keys() == after.keys() and all(
        torch.equal(value.float(), after[key].float()) and value.dtype == after[key].dtype
        for key, value in before.items()
    )
    room.zero_()  # what was moved is a view of it, adapters are not
    assert not after["ff.net.2.base_layer.forth"].float().any()
    assert after["ff.net.2.lora_A.control.weight"].any() and after["ff.net.2.base_layer.bias"].any()
