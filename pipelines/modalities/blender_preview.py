"""Blender preview: the reference is a block-out, masked depth with people as skeletons; the target is the take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas.composite import depth_and_pose
from renderers.canvas.depth import decode_log, encode_log, gray
from renderers.canvas.masks import pack, unpack
from renderers.canvas.skeleton import joints_seen


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of blender-preview.

    Attributes:
        shown: Where depth shows: on the ``scene`` (everything but people), on the ``objects`` alone, or on ``all``.
        min_joints: Takes where fewer of a person's 17 body joints are visible, on average, are rejected.
        threshold: Joints below this score are not drawn (drawing only).
    """

    shown: Literal["scene", "objects", "all"] = "scene"
    min_joints: float = 5.0
    threshold: float = field(default=0.3, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.min_joints <= 17 or not 0 <= self.threshold <= 1:
            raise ValueError("min_joints must lie in [0, 17] and threshold in [0, 1]")


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Depth as 16-bit logarithms and where it shows, both [F, H, W]; joints [F, P, 133, 2], scores [F, P, 133]."""
    view = clip.view
    assert view is not None
    people, ground = view.joints["body"], view.bodies["ground"]
    hidden = np.isin(view.masks, [] if params.shown == "all" else people)
    if params.shown == "objects":
        hidden |= np.isin(view.masks, [0, ground])
    return {
        "depth": encode_log(view.depth),
        **pack("shown", ~hidden),
        "joints": view.joints["pixels"],
        "scores": view.joints["visible"].astype(np.float32),
    }


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Grey depth where it shows, black elsewhere, skeletons over both."""
    parts = (gray(decode_log(signal["depth"])), unpack("shown", signal), signal["joints"], signal["scores"])
    return [depth_and_pose(*part, threshold=params.threshold) for part in zip(*parts, strict=True)]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many people there are, how many joints of the best-seen one are visible, and where depth shows."""
    people = signal["scores"].shape[1]
    seen = joints_seen(signal["scores"])
    if seen < params.min_joints:
        raise UnusableClip("no_person", f"{seen:.1f} of 17 body joints are visible on average")
    return {"people": people, "joints_seen": seen, "depth_shown": float(unpack("shown", signal).mean())}


MODALITY = Modality(
    name="blender_preview",
    summary="a block-out, masked depth with people as skeletons -> the take",
    params=Params,
    signal=None,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=3000,
    schema=pa.schema([("people", pa.int64()), ("joints_seen", pa.float64()), ("depth_shown", pa.float64())]),
)
