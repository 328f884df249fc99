"""What a modality is: one file under ``pipelines/modalities`` that exports ``MODALITY``.

A modality is four plain functions that do not know they run in a pipeline:

    signal(clip, params, rng) -> Signal        what was measured or drawn by lot; kept
    canvas(clip, signal, params) -> frames     the reference, drawn from the signal; can be redrawn
    target(clip, signal, params) -> frames     what should come out; None means the clip itself
    columns(clip, signal, params) -> dict      figures to select by; may raise UnusableClip to reject the clip
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import math
import pkgutil
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError
from pipelines.timeline import Timeline

Frames = Sequence[NDArray[np.uint8]]
Signal = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A span of a source on the clip timeline.

    Attributes:
        frames: ``timeline.frames`` RGB pictures [H, W, 3] uint8.
        audio: [samples, 2] float32 at ``timeline.sample_rate``; None when the source has no sound.
        timeline: Size, rate and length.
    """

    frames: Frames
    audio: NDArray[np.float32] | None
    timeline: Timeline


def _the_clip_itself(clip: Clip, signal: Signal, params: Any) -> Frames | None:
    return None


def _no_columns(clip: Clip, signal: Signal, params: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of control.

    Attributes:
        name: Module name, e.g. ``camera_video``; hyphens on the command line.
        summary: One line for listings.
        params: Frozen dataclass of options; a field with ``metadata={"canvas": True}`` changes only the
            drawing, so that the signal is reused when it changes.
        estimator, estimator_license, commercial_ok: What measures the signal.
        weights: Hash of its weights; "" for estimators without any.
        version: Raise it when the output for the same input changes; part of every sample's identity.
        steps: Training steps the paper gives this control.
        downscale: The canvas is drawn at 1/downscale of the target's size.
        gray: The canvas has no colour (R = G = B), which encodes faster.
        schema: The modality's own columns.
    """

    name: str
    summary: str
    params: type
    signal: Callable[[Clip, Any, np.random.Generator], Signal]
    canvas: Callable[[Clip, Signal, Any], Frames]
    target: Callable[[Clip, Signal, Any], Frames | None] = _the_clip_itself
    columns: Callable[[Clip, Signal, Any], dict[str, Any]] = _no_columns
    estimator: str
    estimator_license: str
    commercial_ok: bool = True
    weights: str = ""
    version: int = 1
    steps: int = 3000
    downscale: int = 1
    gray: bool = False
    schema: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))


def names() -> list[str]:
    """Names of all modalities, found by looking into the folder."""
    package = importlib.import_module("pipelines.modalities")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(name: str) -> Modality:
    """The modality called ``name``; hyphens and underscores are the same.

    Raises:
        ConfigError: Unknown; the nearest name is suggested.
    """
    wanted = name.replace("-", "_")
    if wanted not in names():
        near = difflib.get_close_matches(wanted, names(), n=1, cutoff=0.5)
        guess = f"Did you mean {near[0].replace('_', '-')}? " if near else ""
        listed = ", ".join(known.replace("_", "-") for known in names())
        raise ConfigError(f"unknown modality {name!r}", f"{guess}There are: {listed}.")
    modality = importlib.import_module(f"pipelines.modalities.{wanted}").MODALITY
    assert isinstance(modality, Modality)
    return modality


def make_params(modality: Modality, settings: Mapping[str, str]) -> Any:
    """The modality's options from ``--set key=value`` texts, converted to their types.

    Raises:
        ConfigError: Unknown key, or a value of the wrong type or range.
    """
    hints = typing.get_type_hints(modality.params)
    values: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            guess = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{modality.name} has no option {key!r}", f"{guess}It has: {', '.join(hints)}.")
        values[key] = _convert(modality.name, key, text, hints[key])
    try:
        return modality.params(**values)
    except ValueError as error:
        raise ConfigError(f"{modality.name}: {error}") from None


def signal_params(params: Any) -> dict[str, Any]:
    """The options that the signal depends on: all but those that only change the drawing."""
    return {
        field.name: getattr(params, field.name)
        for field in dataclasses.fields(params)
        if not field.metadata.get("canvas")
    }


def _convert(owner: str, key: str, text: str, kind: Any) -> Any:
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() in words:
            return words[text.lower()]
    elif kind in (int, float, str):
        with contextlib.suppress(ValueError):
            value = kind(text)
            if kind is not float or math.isfinite(value):  # what is not finite has no place in an identity
                return value
    elif typing.get_origin(kind) is typing.Literal and text in typing.get_args(kind):
        return text
    expected = "|".join(map(str, typing.get_args(kind))) or kind.__name__
    raise ConfigError(f"{owner}: {key}={text!r} is not {expected}")
