"""Camera from video: the reference is what one camera saw, seen as points by the target's camera.

Of a rendered scene the other camera is another take. Of a real clip there is only one camera, so the other is made up:
the clip is drawn through cameras nearby, and what they see of it is drawn back through its own (double reprojection:
Yu et al., TrajectoryCrafter, arXiv 2503.05638, section 3.3), with holes where they could not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import geometry
from pipelines.estimators.card import Card
from pipelines.estimators.joined import joined
from pipelines.filmed import COLUMNS, camera_columns, exact_cameras, found_cameras, pack_depth, unpack_depth
from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.views import View, apart, both_cameras, synchronized
from renderers.canvas import points
from renderers.canvas.masks import filled_share
from renderers.scenes import directions

KNOWN = 0.1
"""Least share of each frame of a real clip that has a depth."""

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Params(geometry.Choice):
    """Options of camera-video.

    Attributes:
        cameras, cameras_weights, cameras_checkout: Estimator of a real clip's cameras; its weights, its repository.
        depth, depth_weights, depth_checkout: The same for depth; "" takes what the cameras come with, else motion.
        fov: Horizontal degrees that are assumed where the pictures do not say.
        trajectory: How the other camera of a real clip moves, e.g. ``orbit=20,dolly=0.5``; "" draws that by lot.
        max_holes: Pairs whose reference shows less than the rest of the target are rejected.
        edge: Points on edges of estimated depth steeper than this share of their depth are left out; 0 keeps all.
    """

    trajectory: str = ""
    max_holes: float = 0.85
    edge: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_holes <= 1 or self.edge < 0:
            raise ValueError("max_holes must lie in (0, 1] and edge be at least 0")
        if self.trajectory:
            directions.parse(self.trajectory)


def takes(views: Sequence[View], params: Params) -> list[tuple[View, View]]:
    """Every two cameras that saw the same moments, in both orders; static twins are references only."""
    return [(a, b) for a in views for b in views if a is not b and synchronized(a, b) and not b.row["twin"]]


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The target's cameras and the reference's, per frame: K [F, 3, 3] in pixels, world to camera [F, 4, 4]."""
    assert clip.view is not None
    return {**exact_cameras(clip.view), **both_cameras(clip)}


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The clip's cameras and the other one's, as of :func:`exact`, and the clip's depth as 16-bit logarithms [F, H, W].

    The other camera makes moves on top of the clip's own, from the first frame on or, by lot, until the last one.
    """
    found = geometry.measure(clip.frames, params)
    share = np.isfinite(found.depth).mean(axis=(1, 2))
    if share.min() < KNOWN:
        raise UnusableClip(
            "no_depth",
            f"depth is known on {share.min():.0%} of frame {share.argmin()}: nothing can be drawn of it",
        )
    seconds = float((clip.timeline.frames - 1) / clip.timeline.fps)
    lot, backwards = int(rng.integers(2**31)), bool(rng.random() < 0.5)
    moves = directions.parse(params.trajectory, seed=lot) if params.trajectory else directions.draw_lots(rng)
    order = slice(None, None, -1 if backwards and not params.trajectory else 1)
    own = found.cameras.intrinsics[order], found.cameras.extrinsics[order]
    k, w2c = directions.direct(moves, *own, found.distance, seconds=seconds)
    kept = found_cameras(found)
    return {
        **kept,
        "reference_intrinsics": k[order],
        "reference_extrinsics": w2c[order],
        "depth": pack_depth(found.depth, kept),
    }


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Each frame of the other camera as a point cloud, drawn through the target's camera; holes are #66FF00."""
    return _drawn(clip, signal, params, range(len(clip.frames)))


def reference(clip: Clip, params: Params) -> Frames:
    """The canvas of a clip through cameras that go where ``trajectory`` says, from the first frame's on.

    Raises:
        ConfigError: There is no trajectory.
    """
    if not params.trajectory:
        raise ConfigError("camera_video has no trajectory", "Say one, e.g. trajectory=orbit=20.")
    found = geometry.measure(clip.frames, params)
    own = found.cameras
    way = geometry.directed(found, params.trajectory, len(clip.frames), clip.timeline.fps)
    return [
        draw(*frame, edge=params.edge)[0]
        for frame in zip(clip.frames, found.depth, own.intrinsics, own.extrinsics, *way, strict=True)
    ]


def draw(
    frame: Picture,
    depth: NDArray[np.float32],
    own_intrinsics: Array,
    own_extrinsics: Array,
    intrinsics: Array,
    extrinsics: Array,
    *,
    edge: float = 0.0,
) -> tuple[Picture, NDArray[np.float32]]:
    """What a camera sees of a frame's points, and how far: picture and depth, infinite in the holes.

    Args:
        frame: uint8 [H, W, 3].
        depth: [H, W], not finite where unknown.
        own_intrinsics: K [3, 3] of the frame.
        own_extrinsics: World to camera [4, 4] of the frame.
        intrinsics: K to draw through.
        extrinsics: World to camera to draw through.
        edge: See :func:`renderers.canvas.points.cloud`.
    """
    height, width = depth.shape
    cloud = points.cloud(frame, depth, own_intrinsics, own_extrinsics, edge=edge or None)
    return points.draw_depth(cloud, intrinsics, extrinsics, width, height)


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How much of the reference is holes (on five frames), how far apart the cameras are halfway, and the cameras."""
    looks = np.linspace(0, len(clip.frames) - 1, 5).round().astype(int)
    holes = filled_share(_drawn(clip, signal, params, looks))
    if holes > params.max_holes:
        raise UnusableClip("no_overlap", f"the reference shows {1 - holes:.0%} of the target's picture")
    angle, distance = apart(signal["extrinsics"][looks[2]], signal["reference_extrinsics"][looks[2]])
    depth = clip.other.depth[looks[2]] if clip.other is not None else unpack_depth(signal)[looks[2]]
    known = depth[np.isfinite(depth)]
    return {
        "hole_area": holes,
        "view_angle_deg": angle,
        "baseline_m": distance if signal["unit"] == 1 else None,
        "baseline_depths": distance / float(np.median(known)) if known.size else None,
        **camera_columns(signal, clip.timeline.width, clip.view, params),
    }


def _drawn(
    clip: Clip, signal: Signal, params: Params, looks: Sequence[int] | NDArray[np.int64]
) -> list[Picture]:
    """The reference in some frames."""
    depth = clip.other.depth if clip.other is not None else unpack_depth(signal)
    frames = clip.other.frames if clip.other is not None else clip.frames
    pictures = []
    for n in looks:
        own = signal["intrinsics"][n], signal["extrinsics"][n]
        other = signal["reference_intrinsics"][n], signal["reference_extrinsics"][n]
        seen = frames[n], depth[n]
        if clip.other is None:
            seen = draw(*seen, *own, *other, edge=params.edge)
        pictures.append(draw(*seen, *other, *own)[0])
    return pictures


def _card(params: Params) -> Card:
    return joined(params.cards)


MODALITY = Modality(
    name="camera_video",
    summary="another camera's view as a point cloud through the target's cameras, holes #66FF00 -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    takes=takes,
    canvas=canvas,
    columns=columns,
    reference=reference,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=_card,
    weights_of=lambda params: params.weights,
    version=2,
    steps=10_000,
    schema=pa.schema(
        [
            ("hole_area", pa.float64()),
            ("view_angle_deg", pa.float64()),
            ("baseline_m", pa.float64()),
            ("baseline_depths", pa.float64()),
            *COLUMNS,
        ]
    ),
)
