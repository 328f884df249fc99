"""Degraded clips: smaller, blurred, noisy, compressed by a real encoder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How a clip is degraded, in this order.

    Attributes:
        scale: Size relative to the clip, 0..1; the picture is brought back to the canvas size afterwards.
        blur: Gaussian sigma in pixels at the reduced size.
        noise: Standard deviation of grey noise, of 255.
        crf: x264 constant rate factor at the reduced size; higher is worse.
    """

    scale: float
    blur: float
    noise: float
    crf: int


def degrade(
    frames: Sequence[NDArray[np.uint8]], how: Degradation, size: tuple[int, int], rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Degrade RGB ``frames`` [H, W, 3] and draw them at ``size`` (width, height)."""
    height, width = frames[0].shape[:2]
    small = (max(16, round(width * how.scale / 2) * 2), max(16, round(height * how.scale / 2) * 2))
    worse = []
    for frame in frames:
        picture = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        if how.blur > 0:
            picture = cv2.GaussianBlur(picture, (0, 0), how.blur)
        if how.noise > 0:
            grain = rng.normal(0, how.noise, picture.shape[:2])[..., None]
            picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        worse.append(picture)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in _through_x264(worse, how.crf)]


def _through_x264(frames: Sequence[NDArray[np.uint8]], crf: int) -> list[NDArray[np.uint8]]:
    """Encode in memory and decode again: real macroblocks, real ringing."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as sink:
        stream = sink.add_stream(
            "libx264",
            rate=24,
            options={"crf": str(crf), "preset": "veryfast", "x264-params": "threads=1:mbtree=0"},
        )  # the tree is not deterministic
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as source:
        return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
