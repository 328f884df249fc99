"""Whether an adapter file is sound, and what it says is so: `avcontrol adapter verify`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from catalogs.errors import AvcontrolError, TrainingError
from catalogs.query import manifest_hash, pin, select
from catalogs.root import Root
from training import backbone as backbones
from training import lora
from training.adapter import read_safetensors
from training.header import Header, parse

_OURS = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        wrong: What is wrong and what to do; "" if nothing is.
        note: What was found, where nothing is wrong.
        known: False where the file does not say what the check needs.
    """

    name: str
    wrong: str = ""
    note: str = ""
    known: bool = True

    @property
    def state(self) -> str:
        """wrong, ok, or ? where it could not be checked."""
        return "wrong" if self.wrong else "ok" if self.known else "?"


def check(path: Path, *, backbone: str | None = None, root: Root | None = None) -> list[Check]:
    """Look an adapter file through.

    Args:
        path: The file.
        backbone: Check that it fits this backbone and was trained on it; its weights are not loaded.
        root: Check that the catalog it names is here and still has the same samples.

    Returns:
        The checks in the order they were made; a file that cannot be read has only one.

    Raises:
        EstimatorUnavailable: No such backbone.
    """
    try:
        tensors, metadata = read_safetensors(path)
    except TrainingError as error:
        return [Check(name="file", wrong=str(error))]
    updates, unread = lora.split(tensors, metadata)
    found = [
        Check(name="file", note=f"whole, {len(tensors)} tensors"),
        _names(tensors, unread),
        Check(
            name="pairs",
            wrong=_first(
                f"{wrong} at {name}" for name, update in updates.items() if (wrong := update.misfit())
            )
            or ("" if updates else "no LoRA pair"),
            note=f"{len(updates)} of lora_A and lora_B",
        ),
        _values(tensors, updates),
        _scale(tensors, metadata, updates),
    ]
    try:
        header = parse(metadata)
        note = (
            f"of version {header.header_version or 0}"
            if header
            else "none of ours: of another trainer, or removed"
        )
        found.append(Check(name="header", note=note, known=header is not None))
    except TrainingError as error:
        header = None
        found.append(Check(name="header", wrong=str(error)))
    if backbone is not None:
        found += _fits(updates, header, backbone)
    if root is not None:
        found.append(_catalog(header, root))
    return found


def shapes(path: Path) -> dict[str, tuple[int, int]]:
    """(out, in) of the linear layers of a located backbone's transformer, by module; loads no weights."""
    from diffusers import LTX2VideoTransformer3DModel

    config = LTX2VideoTransformer3DModel.load_config(str(path / "transformer"), local_files_only=True)
    with torch.device("meta"):
        model = LTX2VideoTransformer3DModel.from_config(config)
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _names(tensors: Iterable[str], unread: list[str]) -> Check:
    foreign = [
        key for key in tensors if not (key.startswith(lora.PREFIX) and key.endswith((*_OURS, ".alpha")))
    ]
    wrong = ""
    if unread:
        wrong = f"{len(unread)} tensors are no LoRA of LTX-2's transformer, e.g. {unread[0]}"
    elif foreign:
        wrong = (
            f"ltx-core does not find {len(foreign)} tensors such as {foreign[0]}; "
            f"name them {lora.PREFIX}<module>.lora_A.weight and .lora_B.weight"
        )
    return Check(name="names", wrong=wrong, note="found by diffusers, ComfyUI and ltx-core")


def _values(tensors: Mapping[str, torch.Tensor], updates: Mapping[str, lora.Update]) -> Check:
    # NaN goes through min and max, which take one pass.
    ends = {key: value.float().aminmax() for key, value in tensors.items() if value.numel()}
    broken = [key for key, (least, most) in ends.items() if not bool(torch.isfinite(most - least))]
    if broken:
        wrong = f"{len(broken)} tensors hold NaN or infinity, e.g. {broken[0]}; take an earlier checkpoint"
    elif not any(update.norm() for update in updates.values() if not update.misfit()):
        wrong = "every update is zero: it changes nothing; was it trained?"
    else:
        wrong = ""
    return Check(name="values", wrong=wrong, note="finite, not all zero")


def _scale(tensors: Iterable[str], metadata: Mapping[str, str], updates: Mapping[str, lora.Update]) -> Check:
    wrong = ""
    odd = [name for name, update in updates.items() if update.scale != 1.0]
    if any(key.endswith(".alpha") for key in tensors):
        wrong = "it keeps alpha in tensors: diffusers refuses them, ltx-core passes over them"
    elif odd and lora.DIFFUSERS_HEADER in metadata:
        wrong = "it keeps alpha in the header: diffusers reads it, ComfyUI and ltx-core pass over it"
    if wrong:
        scale = f"{updates[odd[0]].scale:g}, e.g. at {odd[0]}" if odd else "1"
        wrong += f"; its scale is {scale}: multiply lora_B by that and leave alpha out"
    return Check(name="scale", wrong=wrong, note="1 in every reader")


def _fits(updates: Mapping[str, lora.Update], header: Header | None, backbone: str) -> list[Check]:
    path = backbones.locate(backbone)
    known = shapes(path)
    wrong = _first(
        f"{said} at {module}"
        for there, module in lora.in_diffusers(updates).items()
        if (said := updates[module].misfit(known[there]) if there in known else "no such layer")
    )
    found = [
        Check(name="shapes", wrong=wrong and f"does not fit {backbone}: {wrong}", note=f"fit {backbone}")
    ]
    if header is None:
        return [*found, Check(name="base model", note="the file names none", known=False)]
    now = backbones.weights_hash(path, "transformer")
    other = (
        f"trained on {header.base_model} with weights {header.base_model_sha256[:12]}, "
        f"but those of {backbone} are {now[:12]}; use the one it was trained on"
    )
    same = now == header.base_model_sha256
    return [*found, Check(name="base model", wrong="" if same else other, note=f"weights {now[:12]}")]


def _catalog(header: Header | None, root: Root) -> Check:
    if header is None:
        return Check(name="catalog", note="the file names none", known=False)
    try:
        pinned = pin(root, header.catalog)
        now = manifest_hash(select(root, pinned, ["sample_id"])["sample_id"].to_pylist())
    except AvcontrolError as error:
        return Check(name="catalog", wrong=str(error))
    if now == header.manifest_sha256:
        return Check(name="catalog", note=f"{pinned} has the same samples")
    return Check(
        name="catalog",
        wrong=f"{pinned} here has other samples (manifest {now[:12]}, in training {header.manifest_sha256[:12]}); "
        "give the --root it was trained from",
    )


def _first(texts: Iterable[str]) -> str:
    """The first of several complaints and how many more there are; "" if there is none."""
    every = list(texts)
    return every[0] + (f", and {len(every) - 1} more" if len(every) > 1 else "") if every else ""
