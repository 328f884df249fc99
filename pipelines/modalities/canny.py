"""Canny edges: the reference is white edges on black, the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas.masks import pack, unpack


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of canny.

    Attributes:
        low, high: Hysteresis thresholds on the gradient (L1, 8-bit grey), 0 <= low <= high.
        blur: Gaussian sigma in pixels before the gradient; 0 for none.
        thickness: Width of the drawn edges in pixels (drawing only).
    """

    low: int = 100
    high: int = 200
    blur: float = 0.0
    thickness: int = field(default=1, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"low={self.low} and high={self.high} must satisfy 0 <= low <= high")
        if self.blur < 0 or self.thickness < 1:
            raise ValueError("blur must be at least 0 and thickness at least 1")


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Binary edge maps, packed to one bit a pixel."""
    edges = np.empty((len(clip.frames), clip.timeline.height, clip.timeline.width), np.uint8)
    for index, frame in enumerate(clip.frames):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if params.blur:
            grey = cv2.GaussianBlur(grey, (0, 0), params.blur)
        edges[index] = cv2.Canny(grey, params.low, params.high)
    return pack("edges", edges)  # any value but 0 is a set bit


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """White edges on black."""
    pictures = unpack("edges", signal).view(np.uint8)
    pictures *= 255
    if params.thickness > 1:
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (params.thickness, params.thickness))
        pictures = np.stack([cv2.dilate(picture, brush) for picture in pictures])
    return [np.broadcast_to(picture[..., None], (*picture.shape, 3)) for picture in pictures]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Edge density: the share of pixels that are edges. A clip without any edge teaches nothing."""
    edges = signal["edges"]
    density = float(np.bitwise_count(edges).sum() / np.prod(signal["edges_shape"]))
    if density < 1e-4:
        raise UnusableClip("no_edges", f"edges on only {density:.1e} of the pixels")
    return {"edge_density": density}


MODALITY = Modality(
    name="canny",
    summary="white edges on black -> the clip",
    params=Params,
    signal=signal,
    canvas=canvas,
    columns=columns,
    estimator="opencv-canny",
    estimator_license="Apache-2.0",
    steps=3000,
    gray=True,
    schema=pa.schema([("edge_density", pa.float64())]),
)
