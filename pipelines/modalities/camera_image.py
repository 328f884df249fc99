"""Camera from image: the reference is the first frame as coloured points, seen by the moving camera."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from catalogs.root import Root
from pipelines.estimators import depth_motion, geometry
from pipelines.estimators.card import Card
from pipelines.estimators.joined import joined
from pipelines.filmed import COLUMNS, camera_columns, exact_cameras, found_cameras, pack_depth, unpack_depth
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas import points
from renderers.canvas.masks import filled_share
from renderers.scenes import directions


@dataclass(frozen=True, kw_only=True)
class Params(geometry.Choice):
    """Options of camera-image.

    Attributes:
        cameras, cameras_weights, cameras_checkout: Estimator of a real clip's cameras; its weights, its repository.
        depth, depth_weights, depth_checkout: The same for depth; "" takes what the cameras come with, else motion.
        fov: Horizontal degrees that are assumed where the pictures do not say.
        trajectory: For :func:`reference`: where to go instead, e.g. ``orbit=20,dolly=0.5``.
        edge: Points on edges of estimated depth steeper than this share of their depth are left out; 0 keeps all.
        min_motion: Clips whose camera moves the picture's middle by less than this share of its width are rejected.
        max_holes: Clips whose reference has more holes than this are rejected.
    """

    trajectory: str = ""
    edge: float = 0.1
    min_motion: float = 0.02
    max_holes: float = 0.85

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_holes <= 1 or self.edge < 0 or self.min_motion < 0:
            raise ValueError("max_holes must lie in (0, 1], edge and min_motion be at least 0")
        if self.trajectory:
            directions.parse(self.trajectory)


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The cameras, K [F, 3, 3] and world to camera [F, 4, 4], and the first frame's depth as 16-bit logarithms."""
    cameras = geometry.locate(clip.frames, params)
    if cameras.motion == "static":
        raise UnusableClip("static_camera", "the camera stands still")
    if not cameras.registered[0]:
        raise UnusableClip("not_registered", "the first frame got no camera")
    found = geometry.measure(clip.frames, params)
    kept = found_cameras(found)
    return {**kept, "depth": pack_depth(found.depth[:1], kept)}


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The same of a rendered take, in metres."""
    assert clip.view is not None
    kept = exact_cameras(clip.view)
    return {**kept, "depth": pack_depth(clip.view.depth[:1], kept)}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Frame 0's points, red = x / W, green = y / H, blue = depth, through each frame's camera; holes are #66FF00."""
    return _drawn(clip, signal, params, range(len(clip.frames)))


def reference(clip: Clip, params: Params) -> Frames:
    """The canvas of a clip's first frame, or of a picture, through cameras that go where ``trajectory`` says.

    Args:
        clip: Its frames, or one picture, which needs an estimator of ``depth`` and has ``params.fov``.
        params: Options.

    Returns:
        ``clip.timeline.frames`` pictures.

    Raises:
        ConfigError: There is no trajectory, or depth of one picture is to come from motion.
    """
    if not params.trajectory:
        raise ConfigError("camera_image has no trajectory", "Say one, e.g. trajectory=orbit=20.")
    cameras = None
    if len(clip.frames) == 1:
        if params.depth in ("", depth_motion.CARD.name):
            raise ConfigError(
                "one picture shows no motion to take depth from", "Say depth=depth-anything-v2-small."
            )
        cameras = geometry.standing(1, clip.timeline.width, clip.timeline.height, params.fov)
    found = geometry.measure(clip.frames, params, cameras)
    k, w2c = geometry.directed(found, params.trajectory, clip.timeline.frames, clip.timeline.fps)
    return draw(found.depth[0], k, w2c, found.cameras.intrinsics[0], found.cameras.extrinsics[0], params.edge)


def draw(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    extrinsics: NDArray[np.float64],
    own_intrinsics: NDArray[np.float64],
    own_extrinsics: NDArray[np.float64],
    edge: float = 0.0,
) -> list[NDArray[np.uint8]]:
    """A frame's points in the colours of their positions, drawn through cameras.

    Args:
        depth: Of the frame [H, W], not finite where unknown.
        intrinsics: K [F, 3, 3] to draw through.
        extrinsics: World to camera [F, 4, 4].
        own_intrinsics: K [3, 3] of the frame.
        own_extrinsics: World to camera [4, 4] of the frame.
        edge: See :func:`renderers.canvas.points.cloud`.
    """
    height, width = depth.shape
    colours = points.position_colours(depth)
    cloud = points.cloud(colours, depth, own_intrinsics, own_extrinsics, edge=edge or None)
    return [points.draw(cloud, k, w2c, width, height) for k, w2c in zip(intrinsics, extrinsics, strict=True)]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How far the camera moves the picture as a share of its width, the holes' share (on five frames), the cameras."""
    moved = image_motion(signal, clip.timeline.width, clip.timeline.height)
    if moved < params.min_motion:
        raise UnusableClip("static_camera", f"the camera moves the picture by {moved:.1%} of its width")
    looks = np.linspace(0, len(clip.frames) - 1, 5).round().astype(int)
    holes = filled_share(_drawn(clip, signal, params, looks))
    if holes > params.max_holes:
        raise UnusableClip("no_overlap", f"the reference shows {1 - holes:.0%} of the target's picture")
    return {
        "camera_motion": moved,
        "hole_area": holes,
        **camera_columns(signal, clip.timeline.width, clip.view, params),
    }


def _drawn(clip: Clip, signal: Signal, params: Params, looks: Iterable[int]) -> list[NDArray[np.uint8]]:
    """The reference in some frames."""
    k, w2c, looks = signal["intrinsics"], signal["extrinsics"], list(looks)
    edge = params.edge if clip.view is None else 0.0
    return draw(unpack_depth(signal)[0], k[looks], w2c[looks], k[0], w2c[0], edge)


def image_motion(signal: Signal, width: int, height: int) -> float:
    """The greatest way that a grid of frame 0's points goes in the picture, as a share of its width."""
    depth = unpack_depth(signal)[0]
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


def _prepare(root: Root, params: Params) -> Params:
    if params.trajectory:
        raise ConfigError(
            "a build draws through the clip's own cameras, and a trajectory is set",
            "`avcontrol canvas` draws through a trajectory.",
        )
    return params


def _card(params: Params) -> Card:
    return joined(params.cards)


MODALITY = Modality(
    name="camera_image",
    summary="frame 0 as position-coloured points through the clip's cameras, holes #66FF00 -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    reference=reference,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=_card,
    weights_of=lambda params: params.weights,
    prepare=_prepare,
    version=2,
    steps=3000,
    schema=pa.schema([("camera_motion", pa.float64()), ("hole_area", pa.float64()), *COLUMNS]),
)
