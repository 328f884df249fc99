"""Blender preview: the reference is a block-out, masked depth with people as skeletons; the target is the clip.

Of rendered scenes all of it is known. Of real clips depth and joints are estimated as the modalities ``depth`` and
``pose`` do it, and masks by an estimator of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import depth as depths
from pipelines.estimators import masks as segments
from pipelines.estimators import pose as poses
from pipelines.estimators.card import Card
from pipelines.estimators.joined import joined, joined_weights
from pipelines.estimators.wholebody import SEEN
from pipelines.modalities import depth, pose
from pipelines.modality import Clip, Frames, Modality, Signal, place
from renderers.canvas.composite import depth_and_pose
from renderers.canvas.depth import decode_log, encode_log, gray
from renderers.canvas.masks import pack, unpack
from renderers.canvas.skeleton import joints_seen


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of blender-preview.

    Attributes:
        shown: Where depth shows: on the ``scene`` (everything but people), on the ``objects`` alone, or on ``all``.
            Masks of what moves do not tell people from objects: a real clip's scene is then what does not move.
        min_joints: Takes where fewer of a person's 17 body joints are visible, on average, are rejected.
        depth, depth_weights, depth_checkout: What measures the depth of real clips; see ``avcontrol estimators``.
        pose, pose_weights: The same for joints.
        masks, masks_weights: The same for masks; not used where depth shows on all.
        threshold: Joints below this score are not drawn (drawing only).
    """

    shown: Literal["scene", "objects", "all"] = "scene"
    min_joints: float = 5.0
    depth: str = depths.ESTIMATORS[0].name
    depth_weights: str = place()
    depth_checkout: str = place()
    pose: str = poses.ESTIMATORS[0].name
    pose_weights: str = place()
    masks: str = segments.SELFIE.name
    masks_weights: str = place()
    threshold: float = field(default=0.3, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.min_joints <= 17 or not 0 <= self.threshold <= 1:
            raise ValueError("min_joints must lie in [0, 17] and threshold in [0, 1]")
        for option, (family, chosen) in _families(self).items():
            try:
                family.card_of(chosen["name"])
            except ConfigError as error:
                raise ValueError(f"{option}: {error}") from None


def _families(params: Params) -> Mapping[str, tuple[ModuleType, dict[str, str]]]:
    """By option: the estimators' module, and the arguments of its functions."""
    return {
        "depth": (
            depths,
            {"name": params.depth, "weights": params.depth_weights, "checkout": params.depth_checkout},
        ),
        "pose": (poses, {"name": params.pose, "weights": params.pose_weights}),
        "masks": (segments, {"name": params.masks, "weights": params.masks_weights}),
    }


def _used(params: Params) -> list[tuple[ModuleType, dict[str, str]]]:
    return [used for option, used in _families(params).items() if option != "masks" or params.shown != "all"]


def estimator_of(params: Params) -> Card:
    """What measures real clips, as one card.

    Raises:
        ConfigError: The masks cannot tell what is to be shown.
    """
    if params.shown == "objects" and params.masks == segments.SELFIE.name:
        others = ", ".join(card.name for card in segments.ESTIMATORS if card is not segments.SELFIE)
        raise ConfigError(
            "blender_preview: shown=objects needs masks of objects, and selfie sees people alone",
            f"Say masks={others}.".replace(", ", " or masks="),
        )
    return joined([family.card_of(chosen["name"]) for family, chosen in _used(params)])


def weights_of(params: Params) -> str:
    """Hash of all weights."""
    return joined_weights([family.weights_hash(**chosen) for family, chosen in _used(params)])


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Relative inverse depth in 16 bit with its ends, where it shows, [F, H, W]; joints and scores."""
    lot = np.random.default_rng(0)  # neither of the two draws anything
    found = pose.signal(clip, pose.Params(estimator=params.pose, weights=params.pose_weights), lot)
    shown = np.ones((len(clip.frames), clip.timeline.height, clip.timeline.width), np.bool_)
    if params.shown != "all":
        objects = segments.load(params.masks, weights=params.masks_weights)(clip.frames)
        shown = (objects.labels > 0) == (params.shown == "objects")
    chosen = depth.Params(
        estimator=params.depth, weights=params.depth_weights, checkout=params.depth_checkout
    )
    near = depth.signal(clip, chosen, lot)
    return {"inverse": near["inverse"], "ends": near["ends"], **pack("shown", shown), **found}


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
    relative = "inverse" in signal
    levels = gray(signal["inverse"] if relative else decode_log(signal["depth"]), inverse=relative)
    parts = (levels, unpack("shown", signal), signal["joints"], signal["scores"])
    return [depth_and_pose(*part, threshold=params.threshold) for part in zip(*parts, strict=True)]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many people there are, how many joints of the best-seen one are visible, where depth shows and its unit."""
    scores = signal["scores"]
    seen = joints_seen(np.where(scores >= SEEN, scores, 0))
    if seen < params.min_joints:
        raise UnusableClip("no_person", f"{seen:.1f} of 17 body joints are visible on average")
    return {
        "people": scores.shape[1],
        "joints_seen": seen,
        "depth_shown": float(unpack("shown", signal).mean()),
        "depth_unit": "m" if "depth" in signal else "relative",
    }


MODALITY = Modality(
    name="blender_preview",
    summary="a block-out, masked depth with people as skeletons -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=estimator_of,
    weights_of=weights_of,
    version=2,
    steps=3000,
    schema=pa.schema(
        [
            ("people", pa.int64()),
            ("joints_seen", pa.float64()),
            ("depth_shown", pa.float64()),
            ("depth_unit", pa.string()),
        ]
    ),
)
