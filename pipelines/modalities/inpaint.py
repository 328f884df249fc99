"""Inpainting and outpainting: the reference is the clip with a mask filled #66FF00, the target the clip.

A mask is drawn by lot, or it is that of things in the clip (``kind=segment``): of rendered scenes known exactly, of
real clips estimated. What ``mix`` draws of real clips has no segments, so that one estimator holds for a whole build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import masks as estimators
from pipelines.estimators.card import Card
from pipelines.modality import Clip, Frames, Modality, Signal, place
from renderers.canvas import masks

_DRAW = {"box": masks.box, "strokes": masks.strokes, "blobs": masks.blobs, "outpaint": masks.frame_outside}
_SHARES = {"box": 0.3, "strokes": 0.2, "blobs": 0.3, "outpaint": 0.2}
SEEDED = Card(name="seeded-masks", family="masks", summary="masks drawn by lot", license="Apache-2.0")


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of inpaint.

    Attributes:
        kind: Which masks: one kind, or a seeded mix (30% box, 20% strokes, 30% blobs, 20% outpaint); of rendered scenes
            a mix has segments alone. A segment is one thing, drawn by lot, and more while it is below min_area.
        min_area, max_area: The mask's share of the clip; masks are drawn again until it lies between.
        estimator: Segments real clips; see ``avcontrol estimators``.
        weights: Folder of its weights; "" for its own.
        dilate: Segments grow by this radius: pixels, or below 1 a share of the shorter side.
        dilate_frames: Segments grow by as many frames before and after.
    """

    kind: Literal["mix", "box", "strokes", "blobs", "outpaint", "segment"] = "mix"
    min_area: float = 0.03
    max_area: float = 0.8
    estimator: str = estimators.ESTIMATORS[0].name
    weights: str = place()
    dilate: float = 0.03
    dilate_frames: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.min_area < self.max_area < 1:
            raise ValueError("areas must satisfy 0 < min_area < max_area < 1")
        if self.dilate < 0 or self.dilate_frames < 0:
            raise ValueError("dilate and dilate_frames must be at least 0")
        try:
            estimators.card_of(self.estimator)
        except ConfigError as error:
            raise ValueError(f"estimator: {error}") from None


def estimator_of(params: Params) -> Card:
    """What makes the masks of real clips."""
    return estimators.card_of(params.estimator) if params.kind == "segment" else SEEDED


def weights_of(params: Params) -> str:
    """Hash of its weights."""
    return (
        estimators.weights_hash(params.estimator, weights=params.weights) if params.kind == "segment" else ""
    )


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The mask [F, H, W], one bit a pixel, which kind it is, what it shows (person, object, "") and how surely."""
    if params.kind != "segment":
        return _drawn(clip, params, rng)
    found = estimators.load(params.estimator, weights=params.weights)(clip.frames)
    return _segment(found, params, rng)


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The same, a segment being what the renderer knows a body to cover."""
    assert clip.view is not None
    if params.kind not in ("mix", "segment"):
        return _drawn(clip, params, rng)
    bodies = np.setdiff1d(clip.view.masks, [0, clip.view.bodies["ground"]])
    if not len(bodies):
        raise UnusableClip("no_object", "no body but the ground is in the clip")
    labels = np.zeros(clip.view.masks.shape, np.uint8)
    for number, body in enumerate(bodies):
        labels[clip.view.masks == body] = number + 1
    people = np.isin(bodies, clip.view.joints["body"])
    kinds = tuple("person" if person else "object" for person in people)
    known = estimators.Masks(labels=labels, scores=np.ones(len(bodies), np.float32), kinds=kinds)
    return _segment(known, params, rng)


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The clip with the mask filled."""
    return masks.fill(clip.frames, masks.unpack("mask", signal))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Kind of mask, its share of the clip, what it shows ("" for masks drawn by lot) and how surely (then 1)."""
    return {
        "mask_kind": str(signal["kind"]),
        "mask_area": float(masks.unpack("mask", signal).mean()),
        "mask_object": str(signal["object"]),
        "mask_score": float(signal["score"]),
    }


def _drawn(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    kind = params.kind if params.kind != "mix" else str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    shape = (len(clip.frames), clip.timeline.height, clip.timeline.width)
    for _ in range(50):
        mask = _DRAW[kind](shape, rng)
        if params.min_area <= mask.mean() <= params.max_area:
            return _signal(mask, kind)
    raise UnusableClip("mask_area", f"no {kind} mask of {_wanted(params)} in 50 draws")


def _segment(found: estimators.Masks, params: Params, rng: np.random.Generator) -> Signal:
    mask, drawn = np.zeros(found.labels.shape, np.bool_), list[int]()
    radius = params.dilate * (min(mask.shape[1:]) if params.dilate < 1 else 1)
    for one in rng.permutation(len(found.scores)).tolist():
        more = mask | masks.dilate(found.labels == one + 1, radius, params.dilate_frames)
        if more.mean() <= params.max_area:
            mask = more
            drawn.append(one)
        if mask.mean() >= params.min_area:
            kind = "person" if all(found.kinds[one] == "person" for one in drawn) else "object"
            return _signal(mask, "segment", kind, float(found.scores[drawn].mean()))
    raise UnusableClip(
        "mask_area",
        f"no mask of {_wanted(params)} from {len(found.scores)} things, which cover {(found.labels > 0).mean():.1%}",
    )


def _signal(mask: NDArray[np.bool_], kind: str, shows: str = "", score: float = 1.0) -> Signal:
    return {
        **masks.pack("mask", mask),
        "kind": np.array(kind),
        "object": np.array(shows),
        "score": np.array(score, np.float32),
    }


def _wanted(params: Params) -> str:
    return f"{params.min_area:.0%} to {params.max_area:.0%}"


MODALITY = Modality(
    name="inpaint",
    summary="the clip with a mask filled #66FF00 -> the clip (outpaint with --set kind=outpaint)",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator=SEEDED.name,
    estimator_license=SEEDED.license,
    estimator_of=estimator_of,
    weights_of=weights_of,
    version=2,
    steps=1000,
    schema=pa.schema(
        [
            ("mask_kind", pa.string()),
            ("mask_area", pa.float64()),
            ("mask_object", pa.string()),
            ("mask_score", pa.float64()),
        ]
    ),
)
