"""Local edit: the reference is a take, the target the same with one object added, removed or re-surfaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.views import View, twins
from renderers.canvas.masks import pack, unpack


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of local-edit.

    Attributes:
        direction: ``forward`` applies the edit, ``backward`` undoes it (a removed object is added), ``both`` makes two.
        min_area: Edits that are seen on less than this share of the clip are rejected.
    """

    direction: Literal["both", "forward", "backward"] = "both"
    min_area: float = 0.002

    def __post_init__(self) -> None:
        if not 0 <= self.min_area < 1:
            raise ValueError("min_area must lie in [0, 1)")


def takes(views: Sequence[View], params: Params) -> list[tuple[View, View]]:
    """Every camera with its twin that sees one object changed, in the wanted directions."""
    forward = twins(views, "edit")
    backward = [(b, a) for a, b in forward]
    return {"forward": forward, "backward": backward, "both": forward + backward}[params.direction]


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Where the edited object is seen in either take, [F, H, W], one bit a pixel."""
    assert clip.view is not None and clip.other is not None
    twin = clip.view if clip.view.row["twin"] else clip.other
    base = clip.other if clip.view.row["twin"] else clip.view
    index = base.bodies[twin.row["edited"]]
    return pack("mask", (clip.view.masks == index) | (clip.other.masks == index))


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The take before the edit."""
    assert clip.other is not None
    return clip.other.frames


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """What was done to which object, and on which share of the clip it is seen."""
    assert clip.view is not None and clip.other is not None
    area = float(unpack("mask", signal).mean())
    if area < params.min_area:
        raise UnusableClip("edit_unseen", f"the edited object fills {area:.2%} of the clip")
    twin = clip.view if clip.view.row["twin"] else clip.other
    kind = twin.row["edit"]
    if kind == "remove" and twin is clip.other:
        kind = "add"
    return {"edit": kind, "edited": twin.row["edited"], "edit_area": area}


MODALITY = Modality(
    name="local_edit",
    summary="a take -> the same take with one object added, removed, recoloured or re-textured",
    params=Params,
    signal=None,
    exact=exact,
    takes=takes,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=1000,
    schema=pa.schema([("edit", pa.string()), ("edited", pa.string()), ("edit_area", pa.float64())]),
)
