"""The adapter: LoRA on the frozen transformer, and the file that other tools load.

The file is safetensors with `diffusion_model.<module>.lora_A.weight` names, which diffusers, ComfyUI and ltx-core all
find. LoRA's alpha / rank is folded into lora_B before saving: no one rule for alpha is known to all three, but each
takes a scale of 1 where none is stated (see training/lora.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from catalogs.errors import TrainingError
from training import lora

PREFIX = lora.PREFIX
NAME = "control"  # peft's name for the adapter in the model

_ATTENTION = r"\.to_(q|k|v|out\.0)"
_FEED = r"\.net\.(0\.proj|2)"
_VIDEO = rf"((attn1|attn2){_ATTENTION}|ff{_FEED})"
_AUDIO = rf"((audio_attn1|audio_attn2){_ATTENTION}|audio_ff{_FEED})"
_CROSS = rf"((audio_to_video_attn|video_to_audio_attn){_ATTENTION})"
_MODULES = {"video": _VIDEO, "audio": _AUDIO, "joint": f"({_VIDEO}|{_AUDIO}|{_CROSS})"}


def add(transformer: Any, *, streams: str, rank: int, alpha: int, seed: int) -> dict[str, torch.nn.Parameter]:
    """Put a fresh adapter into the transformer; it changes nothing until trained (lora_B is zero).

    Args:
        transformer: `LTX2VideoTransformer3DModel`, frozen.
        streams: `video`, `audio` or `joint`: whose attention projections and feed-forward are adapted; joint
            adds the attention between the two.
        rank: Of the two matrices.
        alpha: The update is scaled by alpha / rank.
        seed: Of lora_A.

    Returns:
        The trainable parameters by `<module>.lora_A.weight` name, float32, sorted.
    """
    from peft import LoraConfig

    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=rf"transformer_blocks\.\d+\.{_MODULES[streams]}"
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=NAME)
    return _parameters(transformer)


def save(
    path: Path, parameters: dict[str, torch.nn.Parameter], *, scale: float, metadata: dict[str, str]
) -> None:
    """Write the adapter file; either the whole file appears or none.

    Args:
        path: The `.safetensors` file.
        parameters: What `add` gave.
        scale: alpha / rank, folded into lora_B.
        metadata: Kept in the file's header; strings only.
    """
    tensors = {
        PREFIX + name: (value.detach() * scale if "lora_B" in name else value.detach()).cpu().contiguous()
        for name, value in parameters.items()
    }
    write_safetensors(path, tensors, {"format": "pt", **metadata})


def load(transformer: Any, path: Path, *, name: str = NAME) -> dict[str, str]:
    """Put a saved adapter into the transformer.

    Args:
        transformer: The frozen backbone it was trained on.
        path: A safetensors adapter, from here or from another LTX-2 trainer.
        name: peft's name for it.

    Returns:
        The file's metadata.

    Raises:
        TrainingError: Not a safetensors file, not an LTX-2 adapter, or one for another backbone.
    """
    updates, metadata = _read(path)
    known = dict(transformer.named_modules())
    state = {}
    for name_there, module in lora.in_diffusers(updates).items():
        weight = getattr(known.get(name_there), "weight", None)
        wrong = updates[module].misfit(tuple(weight.shape)) if weight is not None else "no such module"
        if wrong:
            raise TrainingError(
                f"{path.name} does not fit this backbone ({wrong} at {module})",
                f"it was trained on {metadata.get('base_model', 'another model')}; pass that as --backbone",
            )
        for key, value in lora.folded({name_there: updates[module]}).items():
            state["transformer." + key.removeprefix(PREFIX)] = value
    transformer.load_lora_adapter(state, prefix="transformer", adapter_name=name)
    return metadata


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of an adapter file, without a model.

    Other trainers' names and alphas become ours: `diffusion_model.<module>.lora_{A,B}.weight`, float32, scale 1.

    Raises:
        TrainingError: Missing, a pickle, broken, or without whole LoRA pairs of LTX-2's names.
    """
    updates, metadata = _read(path)
    return lora.folded(updates), metadata


def _read(path: Path) -> tuple[dict[str, lora.Update], dict[str, str]]:
    tensors, metadata = read_safetensors(path)
    updates, unread = lora.split(tensors, metadata)
    if unread or not updates:
        raise TrainingError(
            f"{path.name} is not an LTX-2 adapter",
            f"its tensors are not named {PREFIX}<module>.lora_A.weight"
            + (f" but e.g. {unread[0]}" if unread else ""),
        )
    for module, update in updates.items():
        if wrong := update.misfit():
            raise TrainingError(
                f"{path.name} is broken: {wrong} at {module}", "save it again, or fetch it again"
            )
    return updates, metadata


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file whole.

    Raises:
        TrainingError: Missing or not safetensors (a pickle is never opened).
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise TrainingError(f"no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        pickled = isinstance(error, SafetensorError) and _looks_pickled(path)
        raise TrainingError(
            f"{path.name} is not a whole safetensors file ({error})",
            "It looks like a pickle, which is never opened" if pickled else "",
        ) from error


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file under a temporary name, flush it to the disk, rename it.

    Raises:
        TrainingError: The disk is full or read-only; what was at `path` before is untouched.
    """
    from safetensors.torch import save

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"cannot write {path}: {error.strerror or error}", "free some space, then --resume"
        ) from error


def _looks_pickled(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(8)  # of safetensors the header's length, which is below 100 MB
    return int.from_bytes(start, "little") > 100_000_000 and start[:1] in (b"\x80", b"P")


def _parameters(transformer: Any) -> dict[str, torch.nn.Parameter]:
    found = {}
    for name, parameter in transformer.named_parameters():
        if f".{NAME}.weight" in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()  # masters in float32 also on a bfloat16 backbone
            found[name.replace(f".{NAME}.weight", ".weight")] = parameter
    return dict(sorted(found.items()))
