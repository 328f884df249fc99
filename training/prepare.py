"""A transformer with its adapter made ready for many steps: put on its device, laid out for speed or for room."""

from __future__ import annotations

import re
from typing import Any, Literal

import torch

from training import forward
from training.block import Block
from training.eight import Linear8
from training.linear import border
from training.offload import Offload

Weights = Literal["full", "fp8", "small"]

_ATTENTION = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
# Elsewhere rounding shows in the gradient (docs/design/0009); the prompt's is the same for every token.
_EIGHT = re.compile(r"(audio_)?(attn1\.to_[qk]|ff\.net\..*)")


def place(transformer: Any, device: torch.device, *, weights: Weights = "full") -> Any:
    """Put the transformer on its device.

    Args:
        transformer: Frozen, with one adapter.
        device: Where it will run.
        weights: `full` as they are; `fp8`, products in 8 bits, for speed on GPUs that have them; `small`, 8 bits in
            the host's memory and a block at a time on the GPU (on a CPU: only 8 bits).

    Returns:
        The transformer.
    """
    blocks = forward.adopt(transformer)
    away = Offload(device) if weights == "small" and device.type == "cuda" else None
    for block in blocks:  # one after the other: the whole may not fit
        block.to(device)
        for name, layer in _layers(block):
            if weights == "small" or (weights == "fp8" and _EIGHT.fullmatch(name)):
                layer.base_layer = Linear8(layer.base_layer, products=weights == "fp8")
        if away is not None:
            away.add(block)
    return transformer.to(device)


def has_fp8(device: torch.device) -> bool:
    """Whether the device multiplies in 8 bits by rows."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def fast(transformer: Any, *, backend: str = "inductor") -> None:
    """Border the frozen matrices with their adapters and compile the blocks.

    Args:
        transformer: On its device, with one adapter.
        backend: torch.compile's.
    """
    torch._dynamo.config.recompile_limit = 64  # with and without gradients, for one shape and for all others
    for block in forward.adopt(transformer):
        wide = [
            tuple(layer for layer in group if isinstance(layer.base_layer, torch.nn.Linear))
            for group in groups_of(block)
        ]
        block.groups = [group for group in wide if group]
        for group in block.groups:
            border(*group)
        block.lean = True
        block.__dict__["forward"] = torch.compile(
            block.forward, fullgraph=True, backend=backend
        )  # hooks stay outside


def groups_of(block: Block) -> list[tuple[Any, ...]]:
    """The block's adapted linear layers, those that share an input together."""
    groups: list[tuple[Any, ...]] = []
    for name in _ATTENTION:
        if (attn := getattr(block, name, None)) is not None:
            stacked = (attn.to_q, attn.to_k, attn.to_v)
            groups += [stacked] if name.endswith("attn1") else [stacked[:1], stacked[1:]]
            groups.append((attn.to_out[0],))
    for name in ("ff", "audio_ff"):
        if (feed := getattr(block, name, None)) is not None:
            groups += [(feed.net[0].proj,), (feed.net[2],)]
    return [group for group in groups if all(hasattr(module, "lora_A") for module in group)]


def _layers(block: Block) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in block.named_modules() if hasattr(module, "lora_A")]
