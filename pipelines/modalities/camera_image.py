"""Camera from image: the reference is the first frame as coloured points, seen by the moving camera."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas import points
from renderers.canvas.depth import decode_log, encode_log
from renderers.canvas.masks import filled_share


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of camera-image.

    Attributes:
        edge: Points on depth edges steeper than this share of their depth are left out, as estimated depth wants it;
            0 keeps all.
        min_motion: Clips whose camera moves the picture's middle by less than this share of its width are rejected.
    """

    edge: float = 0.0
    min_motion: float = 0.02

    def __post_init__(self) -> None:
        if self.edge < 0 or self.min_motion < 0:
            raise ValueError("edge and min_motion must be at least 0")


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The cameras, K [F, 3, 3] and world to camera [F, 4, 4], and the first frame's depth as 16-bit logarithms."""
    assert clip.view is not None
    return {
        "intrinsics": clip.view.intrinsics,
        "extrinsics": clip.view.extrinsics,
        "depth": encode_log(clip.view.depth[:1]),
    }


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Frame 0's points, red = x / W, green = y / H, blue = depth, through each frame's camera; holes are #66FF00."""
    return _drawn(clip, signal, params, range(len(clip.frames)))


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How far the camera moves the picture as a share of its width, and the share of holes (on five frames)."""
    moved = image_motion(signal, clip.timeline.width, clip.timeline.height)
    if moved < params.min_motion:
        raise UnusableClip("static_camera", f"the camera moves the picture by {moved:.1%} of its width")
    looks = np.linspace(0, len(clip.frames) - 1, 5).round().astype(int)
    return {"camera_motion": moved, "hole_area": filled_share(_drawn(clip, signal, params, looks))}


def _drawn(clip: Clip, signal: Signal, params: Params, looks: Iterable[int]) -> list[NDArray[np.uint8]]:
    """The reference in some frames."""
    depth = decode_log(signal["depth"])[0]
    colours, k, w2c = points.position_colours(depth), signal["intrinsics"], signal["extrinsics"]
    cloud = points.cloud(colours, depth, k[0], w2c[0], edge=params.edge or None)
    return [points.draw(cloud, k[n], w2c[n], clip.timeline.width, clip.timeline.height) for n in looks]


def image_motion(signal: Signal, width: int, height: int) -> float:
    """The greatest way that a grid of frame 0's points goes in the picture, as a share of its width."""
    depth = decode_log(signal["depth"])[0]
    rows, cols = np.meshgrid(
        np.linspace(0, height - 1, 9).astype(int), np.linspace(0, width - 1, 16).astype(int), indexing="ij"
    )
    z = depth[rows, cols].astype(float).ravel()
    seen = np.isfinite(z)
    if not seen.any():
        raise UnusableClip("no_depth", "the first frame shows nothing but background")
    pixels = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5, np.ones(rows.size)])[:, seen]
    local = np.linalg.inv(signal["intrinsics"][0]) @ pixels * z[seen]
    world = np.linalg.inv(signal["extrinsics"][0]) @ np.vstack([local, np.ones(local.shape[1])])
    camera = signal["intrinsics"] @ (signal["extrinsics"] @ world)[:, :3]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.linalg.norm(camera[:, :2] / camera[:, 2:] - pixels[:2], axis=1)
    moved[camera[:, 2] <= 0] = np.nan
    return float(np.nanmax(np.nanmedian(moved, axis=1)) / width)


MODALITY = Modality(
    name="camera_image",
    summary="frame 0 as position-coloured points through the clip's cameras, holes #66FF00 -> the clip",
    params=Params,
    signal=None,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=3000,
    schema=pa.schema([("camera_motion", pa.float64()), ("hole_area", pa.float64())]),
)
