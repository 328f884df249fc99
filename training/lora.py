"""LoRA tensors by module, whoever wrote them: the names and the scale rules of LTX-2 adapter files.

A module's update is scale * B A. What readers do with a file (facts, read from their sources):

    ComfyUI    `diffusion_model.<module>.lora_A.weight`, `.lora_up.weight` and others; scale is `<module>.alpha` / rank,
               1 without such a tensor
    ltx-core   `diffusion_model.<module>.lora_A.weight` alone; scale is 1
    diffusers  the same, also with `transformer.` in front; scale is 1, or by the header's `lora_adapter_metadata`; a
               tensor `<module>.alpha` makes it refuse the file

<module> is named as in the original checkpoint. The attention and feed-forward layers have the same names in
diffusers; others, such as `patchify_proj`, do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

PREFIX = "diffusion_model."
DIFFUSERS_HEADER = "lora_adapter_metadata"
_KEY = re.compile(
    r"(?:diffusion_model\.|transformer\.|(?=transformer_blocks\.))(?P<module>.+?)"
    r"\.(?:lora_(?P<matrix>A|B|down|up)(?:\.default)?\.weight|(?P<alpha>alpha))"
)
_ROLES = {"A": "a", "down": "a", "B": "b", "up": "b"}


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a file holds for one module.

    Attributes:
        a: lora_A [rank, in]; None where the file lacks it.
        b: lora_B [out, rank]; None where the file lacks it.
        alpha: The scale is alpha / rank; None where the file states none, the scale is then 1.
    """

    a: torch.Tensor | None = None
    b: torch.Tensor | None = None
    alpha: float | None = None

    @property
    def rank(self) -> int:
        """Rows of lora_A, or else columns of lora_B."""
        return int(self.a.shape[0] if self.a is not None else self.b.shape[-1] if self.b is not None else 0)

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return 1.0 if self.alpha is None or not self.rank else self.alpha / self.rank

    def norm(self) -> float:
        """Frobenius norm of scale * B A, from the two rank x rank products, in float64."""
        if self.a is None or self.b is None:
            return 0.0
        a, b = self.a.double(), self.b.double()
        square = ((a @ a.T) * (b.T @ b)).sum().clamp_min(0)
        return abs(self.scale) * float(square.sqrt())

    def misfit(self, shape: tuple[int, int] | None = None) -> str:
        """What is wrong with the matrices' shapes, given the module's (out, in); "" if nothing."""
        if self.a is None or self.b is None:
            return f"lora_{'A' if self.b is None else 'B'} without lora_{'B' if self.b is None else 'A'}"
        if self.a.ndim != 2 or self.b.ndim != 2:
            return f"matrices of shape {list(self.a.shape)} and {list(self.b.shape)}"
        if self.a.shape[0] != self.b.shape[1]:
            return f"lora_A of rank {self.a.shape[0]} with lora_B of rank {self.b.shape[1]}"
        if not self.rank:
            return "rank 0"
        found = (self.b.shape[0], self.a.shape[1])
        return f"an update of {list(found)} to weights of {list(shape)}" if shape and found != shape else ""


def split(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, Update], list[str]]:
    """Sort a file's tensors by module.

    Args:
        tensors: By name.
        metadata: The file's header, where diffusers keeps alpha.

    Returns:
        Updates by module name without prefix, sorted by depth, and the names that are not understood.
    """
    found: dict[str, Update] = {}
    unread = []
    for key, value in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or (match["alpha"] and value.numel() != 1):
            unread.append(key)
            continue
        part = {"alpha": float(value)} if match["alpha"] else {_ROLES[match["matrix"]]: value}
        found[match["module"]] = replace(found.get(match["module"], Update()), **part)  # type: ignore[arg-type]
    alpha = alpha_of_header(metadata)
    return {
        name: replace(found[name], alpha=alpha) if found[name].alpha is None else found[name]
        for name in sorted(found, key=_depth)
    }, sorted(unread)


def alpha_of_header(metadata: Mapping[str, str]) -> float | None:
    """Alpha as diffusers' own trainers keep it; None where the header has none."""
    try:
        return float(json.loads(metadata[DIFFUSERS_HEADER])["transformer.lora_alpha"])
    except (KeyError, TypeError, ValueError):
        return None


def folded(updates: Mapping[str, Update]) -> dict[str, torch.Tensor]:
    """The tensors as this project names them, float32, with the scale in lora_B."""
    tensors = {}
    for module, update in updates.items():
        if update.a is not None and update.b is not None:
            tensors[f"{PREFIX}{module}.lora_A.weight"] = update.a.float()
            tensors[f"{PREFIX}{module}.lora_B.weight"] = update.b.float() * update.scale
    return tensors


def in_diffusers(modules: Iterable[str]) -> dict[str, str]:
    """The modules by their names in diffusers' transformer."""
    from diffusers import LTX2Pipeline

    named = {f"{PREFIX}{module}.lora": module for module in modules}
    converted: dict[str, str] = LTX2Pipeline.lora_state_dict(named)
    return {key.removeprefix("transformer.").removesuffix(".lora"): name for key, name in converted.items()}


def block_of(module: str) -> tuple[int | None, str]:
    """Number of the transformer block and kind of layer: attn1, attn2, ff, audio_attn1, …"""
    match = re.match(r"transformer_blocks\.(\d+)\.(\w+)", module)
    return (int(match[1]), match[2]) if match else (None, module.partition(".")[0])


def _depth(module: str) -> tuple[bool, int, str]:
    block, _ = block_of(module)
    return block is not None, block or 0, module
