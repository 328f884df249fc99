"""Inpainting and outpainting: the reference is the clip with a mask filled #66FF00, the target the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas import masks

_DRAW = {"box": masks.box, "strokes": masks.strokes, "blobs": masks.blobs, "outpaint": masks.frame_outside}
_SHARES = {"box": 0.3, "strokes": 0.2, "blobs": 0.3, "outpaint": 0.2}


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of inpaint.

    Attributes:
        kind: Which masks: one kind, or a seeded mix of all (30% box, 20% strokes, 30% blobs, 20% outpaint).
        min_area, max_area: The mask's share of the clip; masks are drawn again until it lies between.
    """

    kind: Literal["mix", "box", "strokes", "blobs", "outpaint"] = "mix"
    min_area: float = 0.03
    max_area: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.min_area < self.max_area < 1:
            raise ValueError("areas must satisfy 0 < min_area < max_area < 1")


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The mask [F, H, W], one bit a pixel, and which kind it is."""
    kind = params.kind if params.kind != "mix" else str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    shape = (len(clip.frames), clip.timeline.height, clip.timeline.width)
    for _ in range(50):
        mask = _DRAW[kind](shape, rng)
        if params.min_area <= mask.mean() <= params.max_area:
            return {**masks.pack("mask", mask), "kind": np.array(kind)}
    wanted = f"{params.min_area:.0%} to {params.max_area:.0%}"
    raise UnusableClip("mask_area", f"no {kind} mask of {wanted} in 50 draws")


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The clip with the mask filled."""
    return masks.fill(clip.frames, masks.unpack("mask", signal))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Kind of mask and its share of the clip."""
    return {"mask_kind": str(signal["kind"]), "mask_area": float(masks.unpack("mask", signal).mean())}


MODALITY = Modality(
    name="inpaint",
    summary="the clip with a mask filled #66FF00 -> the clip (outpaint with --set kind=outpaint)",
    params=Params,
    signal=signal,
    canvas=canvas,
    columns=columns,
    estimator="seeded-masks",
    estimator_license="Apache-2.0",
    steps=1000,
    schema=pa.schema([("mask_kind", pa.string()), ("mask_area", pa.float64())]),
)
