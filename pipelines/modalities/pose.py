"""Pose: the reference is people's joints drawn as coloured skeletons on black, the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas import skeleton


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of pose.

    Attributes:
        min_joints: Clips where fewer body joints of the best-seen person are visible, on average, are rejected (of 17).
        threshold: Joints below this score are not drawn (drawing only).
    """

    min_joints: float = 5.0
    threshold: float = field(default=0.3, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.min_joints <= 17 or not 0 <= self.threshold <= 1:
            raise ValueError("min_joints must lie in [0, 17] and threshold in [0, 1]")


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """COCO-WholeBody joints in pixels [F, P, 133, 2] (NaN: none) and their scores [F, P, 133], 1 where visible."""
    assert clip.view is not None
    joints = clip.view.joints
    return {"joints": joints["pixels"], "scores": joints["visible"].astype(np.float32)}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """OpenPose-style body, hands and face on black."""
    size = (clip.timeline.width, clip.timeline.height)
    return [
        skeleton.draw(joints, scores, *size, threshold=params.threshold)
        for joints, scores in zip(signal["joints"], signal["scores"], strict=True)
    ]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many people there are, and how many of the best-seen one's 17 body joints are visible on average."""
    people = signal["scores"].shape[1]
    if not people:
        raise UnusableClip("no_person", "nobody is in the clip")
    seen = skeleton.joints_seen(signal["scores"])
    if seen < params.min_joints:
        raise UnusableClip("no_person", f"{seen:.1f} of 17 body joints are visible on average")
    return {"people": people, "joints_seen": seen}


MODALITY = Modality(
    name="pose",
    summary="people's joints as skeletons on black -> the clip",
    params=Params,
    signal=None,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=3000,
    schema=pa.schema([("people", pa.int64()), ("joints_seen", pa.float64())]),
)
