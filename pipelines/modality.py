"""What a modality is: one file under ``pipelines/modalities`` that exports ``MODALITY``.

A modality is four plain functions that do not know they run in a pipeline:

    signal(clip, params, rng) -> Signal        what was measured or drawn by lot; kept
    canvas(clip, signal, params) -> frames     the reference, drawn from the signal; can be redrawn
    target(clip, signal, params) -> frames     what should come out; None means the clip itself
    columns(clip, signal, params) -> dict      figures to select by; may raise UnusableClip to reject the clip

A modality of sound alone (``media="audio"``) has in the place of ``canvas`` and ``target``

    sounds(clip, signal, params) -> (reference, target)     each float32 [n, 2], as long as ``clip.audio``

A modality that can be made from rendered scenes (``build … --from 'scenes@3'``) has two more:

    takes(views, params) -> [(View, View)]     which takes of one scene make a pair: reference's and target's
    exact(clip, params, rng) -> Signal         the signal from what the renderer knows, in the place of ``signal``
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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError
from catalogs.root import Root
from pipelines import selection
from pipelines.estimators.card import Card
from pipelines.timeline import Timeline

if TYPE_CHECKING:
    from pipelines.views import View

Frames = Sequence[NDArray[np.uint8]]
Sound = NDArray[np.float32]
Signal = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A span of a source on the clip timeline.

    Attributes:
        frames: ``timeline.frames`` RGB pictures [H, W, 3] uint8; none for a modality of sound alone.
        audio: [samples, 2] float32 at ``timeline.sample_rate``; None when the source has no sound.
        timeline: Size, rate and length.
        view: What the renderer knows about these frames; None for a clip of a source.
        other: The take that the reference is drawn from; None for a clip of a source.
        caption: What came with the source; "" where that is about more than this clip.
        turns: The RTTM text beside the source, if any.
        start: Seconds from the source's beginning to the clip's.
        sounds: Reference and target as made, for ``columns`` of a modality of sound alone.
        local: From a path in the root to a file here, for what ``prepare`` put there.
    """

    frames: Frames
    audio: NDArray[np.float32] | None
    timeline: Timeline
    view: View | None = None
    other: View | None = None
    caption: str = ""
    turns: str = ""
    start: float = 0.0
    sounds: tuple[Sound, Sound] | None = None
    local: Callable[[str], Path] | None = None

    @cached_property
    def measures(self) -> selection.Measures:
        """What every clip with pictures is selected by; made once for all modalities."""
        return selection.measure(list(self.frames))


def _the_clip_itself(clip: Clip, signal: Signal, params: Any) -> Frames | None:
    return None


def _each_alone(views: Sequence[View], params: Any) -> list[tuple[View, View]]:
    return [(view, view) for view in views if not view.row["twin"]]


def _no_columns(clip: Clip, signal: Signal, params: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of control.

    Attributes:
        name: Module name, e.g. ``camera_video``; hyphens on the command line.
        summary: One line for listings.
        params: Frozen dataclass of options; a field with ``metadata={"canvas": True}`` changes only the
            drawing, so that the signal is reused when it changes; one made by :func:`place` changes nothing.
        signal: None when it is made from rendered scenes only.
        exact: None when it is not made from rendered scenes.
        estimator, estimator_license, commercial_ok: What measures the signal.
        weights: Hash of its weights; "" for estimators without any.
        version: Raise it when the output for the same input changes; part of every sample's identity.
        steps: Training steps the paper gives this control.
        downscale: The canvas is drawn at 1/downscale of the target's size.
        gray: The canvas has no colour (R = G = B), which encodes faster.
        media: What a pair consists of: ``video`` (the target keeps its sound, if any), ``audio`` alone, or ``joint``:
            a video reference for a target whose sound is learned too, and must be there.
        sounds: Reference and target of a modality of sound alone; None for others.
        caption: Makes the prompt; None takes the source's.
        reference: The canvas of a clip, or of a single picture, that goes where the option ``trajectory`` says; it has
            no target, so it is drawn for generation only (``avcontrol canvas``).
        estimator_of: Which estimator the options choose, where they do; then ``estimator``, ``estimator_license`` and
            ``commercial_ok`` of a sample are its card's.
        weights_of: Hash of the weights that the options choose, where they do.
        prepare: Run once before a build: puts what options name (a folder, a model) into the root.
        schema: The modality's own columns.
    """

    name: str
    summary: str
    params: type
    signal: Callable[[Clip, Any, np.random.Generator], Signal] | None
    canvas: Callable[[Clip, Signal, Any], Frames] | None = None
    exact: Callable[[Clip, Any, np.random.Generator], Signal] | None = None
    takes: Callable[[Sequence[View], Any], list[tuple[View, View]]] = _each_alone
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
    media: Literal["video", "audio", "joint"] = "video"
    sounds: Callable[[Clip, Signal, Any], tuple[Sound, Sound]] | None = None
    caption: Callable[[Clip, Signal, Any], str] | None = None
    reference: Callable[[Clip, Any], Frames] | None = None
    estimator_of: Callable[[Any], Card] | None = None
    weights_of: Callable[[Any], str] | None = None
    prepare: Callable[[Root, Any], Any] | None = None
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
    """The modality's options from ``--set key=value`` texts; see :func:`parse_params`."""
    return parse_params(modality.name, modality.params, settings)


def parse_params(name: str, params: type, settings: Mapping[str, str]) -> Any:
    """Options from ``--set key=value`` texts, converted to their types.

    Args:
        name: The modality's.
        params: Dataclass of its options.
        settings: What was set.

    Raises:
        ConfigError: Unknown key, or a value of the wrong type or range.
    """
    hints = typing.get_type_hints(params)
    values: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            guess = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{name} has no option {key!r}", f"{guess}It has: {', '.join(hints)}.")
        values[key] = _convert(name, key, text, hints[key])
    try:
        return params(**values)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def place() -> Any:
    """A field of Params for where something lies: a folder of weights, a checkout; "" for its usual place.

    It is no part of a sample's identity, which hangs on the hash of what lies there and is the same on any machine.
    """
    return dataclasses.field(default="", metadata={"place": True})


def places(params: Any) -> dict[str, str]:
    """The options that only say where something lies."""
    return {
        field.name: getattr(params, field.name)
        for field in dataclasses.fields(params)
        if field.metadata.get("place")
    }


def sample_params(params: Any) -> dict[str, Any]:
    """The options that a sample depends on: all but places."""
    elsewhere = places(params)
    return {key: value for key, value in dataclasses.asdict(params).items() if key not in elsewhere}


def signal_params(params: Any) -> dict[str, Any]:
    """Those of them that its signal depends on: all but those that only change the drawing."""
    drawn = {field.name for field in dataclasses.fields(params) if field.metadata.get("canvas")}
    return {key: value for key, value in sample_params(params).items() if key not in drawn}


def with_checkouts(params: Any, folders: Mapping[str, str]) -> Any:
    """The same options, with the code of the estimators that they choose in these folders, by name of the estimator."""
    found = {}
    for option in (names := {field.name for field in dataclasses.fields(params)}):
        code = "checkout" if option == "estimator" else f"{option}_checkout"
        if code in names and getattr(params, option) in folders:
            found[code] = folders[getattr(params, option)]
    return dataclasses.replace(params, **found)


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
    elif typing.get_origin(kind) is tuple:  # tuple[X, ...]: its items between commas
        return tuple(_convert(owner, key, item.strip(), typing.get_args(kind)[0]) for item in text.split(","))
    expected = "|".join(map(str, typing.get_args(kind))) or kind.__name__
    raise ConfigError(f"{owner}: {key}={text!r} is not {expected}")
