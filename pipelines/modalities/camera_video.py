"""Camera from video: the reference is what one camera saw, seen as points by the target's camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.views import View, apart, both_cameras, synchronized
from renderers.canvas import points
from renderers.canvas.masks import filled_share


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of camera-video.

    Attributes:
        max_holes: Pairs whose reference shows less than the rest of the target are rejected.
        edge: Points on depth edges steeper than this share of their depth are left out, as estimated depth wants it;
            0 keeps all.
    """

    max_holes: float = 0.85
    edge: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.max_holes <= 1 or self.edge < 0:
            raise ValueError("max_holes must lie in (0, 1] and edge be at least 0")


def takes(views: Sequence[View], params: Params) -> list[tuple[View, View]]:
    """Every two cameras that saw the same moments, in both orders; static twins are references only."""
    return [(a, b) for a in views for b in views if a is not b and synchronized(a, b) and not b.row["twin"]]


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The target's cameras and the reference's, per frame: K [F, 3, 3] in pixels, world to camera [F, 4, 4]."""
    return both_cameras(clip)


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Each frame of the other take as a point cloud, drawn through the target's camera; holes are #66FF00."""
    return [_drawn(clip, signal, params, n) for n in range(len(clip.frames))]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How much of the reference is holes (on five frames), and how far apart the cameras are halfway."""
    looks = np.linspace(0, len(clip.frames) - 1, 5).round().astype(int)
    holes = filled_share([_drawn(clip, signal, params, n) for n in looks])
    if holes > params.max_holes:
        raise UnusableClip("no_overlap", f"the reference shows {1 - holes:.0%} of the target's picture")
    angle, distance = apart(signal["extrinsics"][looks[2]], signal["reference_extrinsics"][looks[2]])
    return {"hole_area": holes, "view_angle_deg": angle, "baseline_m": distance}


def _drawn(clip: Clip, signal: Signal, params: Params, n: int) -> NDArray[np.uint8]:
    """The other take's frame ``n`` through the target's camera."""
    assert clip.other is not None
    cloud = points.cloud(
        clip.other.frames[n],
        clip.other.depth[n],
        signal["reference_intrinsics"][n],
        signal["reference_extrinsics"][n],
        edge=params.edge or None,
    )
    size = (clip.timeline.width, clip.timeline.height)
    return points.draw(cloud, signal["intrinsics"][n], signal["extrinsics"][n], *size)


MODALITY = Modality(
    name="camera_video",
    summary="another take as a point cloud through the target's cameras, holes #66FF00 -> the take",
    params=Params,
    signal=None,
    exact=exact,
    takes=takes,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=10_000,
    schema=pa.schema(
        [("hole_area", pa.float64()), ("view_angle_deg", pa.float64()), ("baseline_m", pa.float64())]
    ),
)
