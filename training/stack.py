"""Several adapters in one generation: a video adapter beside an audio adapter, or two of one stream.

Each is a LoRA of its own under a name of its own; where two adapt the same matrix their updates add up, each
times its weight. A weight of 0 leaves the backbone as it is.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs.errors import ConfigError, TrainingError
from training import adapter

_READS = {"video": ("video",), "audio": ("audio",)}  # by streams, where the header does not say it


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One adapter of a generation, by its file's header.

    Attributes:
        file: The safetensors file.
        weight: Its update is multiplied by this.
        streams: What it was trained on: video, audio, joint, or "" in files of other trainers.
        reads: The streams on which it has a reference.
        downscale: s of its reference video, drawn at 1/s.
        backbone: Name and weights hash of the transformer it was trained on; empty where not known.
    """

    file: Path
    weight: float
    streams: str
    reads: tuple[str, ...]
    downscale: int
    backbone: tuple[str, str]


def read(given: Sequence[str]) -> list[Layer]:
    """Read the headers of adapters.

    Args:
        given: `FILE` or `FILE@WEIGHT` each.

    Raises:
        TrainingError: A file is not an adapter, or its header is broken.
        ConfigError: A weight is not a number, or two were trained on different backbones.
    """
    layers = [_layer(text) for text in given]
    known = [layer for layer in layers if layer.backbone[1]]
    for layer in known[1:]:
        if layer.backbone[1] != known[0].backbone[1]:
            first, second = known[0], layer
            raise ConfigError(
                f"{first.file.name} and {second.file.name} were trained on different backbones",
                f"{first.backbone[0]} and another {second.backbone[0]}"
                if first.backbone[0] == second.backbone[0]
                else f"{first.backbone[0]} and {second.backbone[0]}",
            )
    return layers


def load(transformer: Any, layers: Sequence[Layer]) -> None:
    """Put the adapters into the transformer, each with its weight.

    Raises:
        TrainingError: One does not fit this backbone.
    """
    names = [f"{adapter.NAME}_{index}" for index, _ in enumerate(layers)]
    with warnings.catch_warnings():  # peft warns of a second adapter, which is what is wanted
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        for name, layer in zip(names, layers, strict=True):
            adapter.load(transformer, layer.file, name=name)
    if names:
        transformer.set_adapters(names, [layer.weight for layer in layers])


def _layer(text: str) -> Layer:
    file, weight = _parse(text)
    header = adapter.read(file)[1]
    streams = header.get("streams", "")
    said = tuple(header["references"].split(",")) if header.get("references") else None
    return Layer(
        file=file,
        weight=weight,
        streams=streams,
        reads=said or _READS.get(streams, ("video",)),
        downscale=_downscale(file, header.get("reference_downscale_factor") or "1"),
        backbone=(header.get("base_model", ""), header.get("base_model_sha256", "")),
    )


def _downscale(file: Path, text: str) -> int:
    """The s of 1/s as other trainers write it: 2 or 2.0."""
    value = _number(text)
    if value < 1 or not value.is_integer():
        raise TrainingError(
            f"{file.name} has a broken header: reference_downscale_factor is {text!r}",
            "it is a whole number from 1 on, as 2 for a reference drawn at 1/2",
        )
    return int(value)


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parse(text: str) -> tuple[Path, float]:
    match = re.fullmatch(r"(.+\.safetensors)@(.*)", text)
    if match is None or Path(text).is_file():
        return Path(text), 1.0
    weight = _number(match[2])
    if not math.isfinite(weight):
        raise ConfigError(f"{match[2]!r} is not an adapter's weight", "write FILE.safetensors@0.8")
    return Path(match[1]), weight
