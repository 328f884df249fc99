"""Takes: one synthetic scene drawn, checked, rendered and stored, a row for each camera. Runs in a worker process."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip, WorkerError
from catalogs.root import Root
from pipelines import selection
from pipelines.blender import Blender
from pipelines.casting import cast, grouped, take_request
from pipelines.depthvideo import write_depth, write_gray16
from pipelines.identity import child_rng, digest
from pipelines.make import common_columns, reject
from pipelines.motions import fetch, motion_files
from pipelines.plan import Recipe
from pipelines.process import memory_folder
from pipelines.sample import made_with, stored, write_npz
from pipelines.timeline import TICKS_PER_SECOND
from pipelines.writers import write_video
from renderers.canvas import skeleton
from renderers.scenes import cameras as optics
from renderers.scenes import captions, surface
from renderers.scenes.bake import Baked, bake, camera_path, write
from renderers.scenes.random_scene import SceneSettings, random_scene
from renderers.scenes.spec import Camera, SceneSpec, to_json

_TRIES = 2
FACE = np.r_[0:3, skeleton.FACE]
"""Nose, eyes and the 68 points of the face in COCO-WholeBody's order."""
_FACE_DEPTH = 0.08  # metres between the skin and a point that counts as on it


@dataclass(frozen=True, kw_only=True)
class TakeParams(SceneSettings):
    """What scenes have, and how they are rendered.

    Attributes:
        samples: Light paths a pixel.
        denoise: Whether Open Image Denoise cleans the pictures.
        points: Tracked points a scene.
        flow: Whether optical flow is kept; it takes more room than all the rest.
    """

    samples: int = 4
    denoise: bool = True
    points: int = 256
    flow: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.points < 1:
            raise ValueError("samples and points must be at least 1")


def make_scene(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make one scene.

    Args:
        request: ``unit`` and ``recipe`` as dicts, ``root`` URI, ``run_id``, ``scene`` (size, rate, count of cameras,
            recorded performances), ``blender`` (its Python), ``threads``, ``timeout_s`` and ``memory_gb`` for it.

    Yields:
        ``{"event": "clip", …}`` as a sign of life, then ``{"event": "sample" | "reject", "row": …}``.

    Raises:
        StorageError: The root cannot be written.
        EstimatorUnavailable: Blender is not here.
    """
    root, recipe, unit = Root.open(request["root"]), Recipe(**request["recipe"]), request["unit"]
    span = tuple(unit["segment"])
    common = common_columns(request)
    alive = {"event": "clip", "span": span}
    yield alive
    for attempt in itertools.count(1):
        try:
            rows = []
            for row in _scene(root, recipe, request):
                yield alive
                if row is not None:
                    rows.append(row)
            yield from ({"event": "sample", "row": {**common, **row}} for row in rows)
            return
        except UnusableClip as error:
            yield reject(common, span, "check", error.reason, str(error))
            return
        except WorkerError as error:  # Blender died or hung; the next attempt starts another one
            if attempt == _TRIES:
                reason = "blender" if type(error) is WorkerError else error.reason  # it said what is wrong
                yield reject(common, span, "render", reason, str(error))
                return


def _scene(root: Root, recipe: Recipe, request: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
    """The rows of a scene; None now and then while it renders."""
    params, said = TakeParams(**json.loads(recipe.params)["params"]), request["scene"]
    spec = random_scene(
        recipe.seed,
        int(request["unit"]["source"]["uri"].rpartition("/")[2]),
        cameras=said["cameras"],
        width=said["width"],
        height=said["height"],
        frames=said["frames"],
        fps=Fraction(said["fps"]),
        settings=params,
        performances=motion_files(said["performances"]),
    )
    motions = fetch(root, spec)
    blender = _blender(request["blender"], request["timeout_s"], request["memory_gb"])
    with tempfile.TemporaryDirectory(prefix="avcontrol-scene-", dir=_fast(spec, params.flow)) as name:
        scratch = Path(name)
        for spec_or_none in cast(spec, params, blender, motions, scratch):
            yield None
            spec = spec_or_none or spec
        anchors = None
        for (time, edit), takes in grouped(spec).items():
            baked = bake(spec, time=time, edit=edit, cache=motions)
            anchors = anchors or surface.choose(
                baked, params.points, child_rng(recipe.seed, spec.index, "tracks")
            )
            points = surface.positions(baked, anchors)
            np.save(scratch / "points.npy", points)
            write(baked, spec.world, scratch)
            shots = [take_request(spec, camera, baked, scratch / camera.name) for camera in takes]
            for event in blender.events(
                {
                    "op": "render",
                    "folder": str(scratch),
                    "takes": [{**shot, "points": str(scratch / "points.npy")} for shot in shots],
                    "width": spec.width,
                    "height": spec.height,
                    "frames": spec.frames,
                    "fps": float(spec.fps),
                    "passes": ["picture", "truth"],
                    "samples": params.samples,
                    "denoise": params.denoise,
                    "threads": request["threads"],
                    "device": "auto",
                    "flow": params.flow,
                }
            ):
                if event["event"] == "frame":
                    yield None
            for camera in takes:
                take = Take(spec=spec, camera=camera, baked=baked, points=points, anchors=anchors)
                yield store(root, recipe, take, scratch / camera.name)
                shutil.rmtree(scratch / camera.name)


@dataclass(frozen=True, kw_only=True)
class Take:
    """What is known about a rendered take without looking at it.

    Attributes:
        spec, camera, baked: The scene, the camera, the geometry it saw.
        points: Tracked points in the world, [F, N, 3].
        anchors: Where they lie on the bodies.
    """

    spec: SceneSpec
    camera: Camera
    baked: Baked
    points: NDArray[np.float64]
    anchors: surface.Anchors


def store(root: Root, recipe: Recipe, take: Take, folder: Path) -> dict[str, Any]:
    """Encode a rendered take and put it into the root.

    Args:
        root: Where it goes.
        recipe: For its identity.
        take: What is known about it.
        folder: ``picture.npy`` uint8 [F, H, W, 3], ``depth.npy`` float32 [F, H, W], ``ids.npy`` uint16 [F, H, W],
            ``visible.npy`` bool [F, N] and perhaps ``flow_forward.npy`` and ``flow_backward.npy`` [F, H, W, 2].

    Returns:
        Its row of the scenes catalog.
    """
    spec, camera, baked = take.spec, take.camera, take.baked
    pictures, depth, ids, visible = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("picture", "depth", "ids", "visible")
    )
    path = camera_path(spec, camera, baked)
    k = optics.intrinsics(camera, path.lens, spec.width, spec.height)[1:-1]
    w2c = optics.world_to_camera(path.c2w)[1:-1]
    sample_id = digest(scene=spec.id, camera=camera.name, recipe=recipe.id)

    def put(name: str, kind: str, suffix: str, write: Any) -> str:
        return stored(root, digest(kind=name, take=sample_id), kind, suffix, write)

    track_pixels, _ = optics.project(take.points, k, w2c)
    tracks = {
        "points": take.points.astype(np.float32),
        "pixels": track_pixels.astype(np.float32),
        "visible": np.asarray(visible),
        "body": take.anchors.body,
    }
    files = {
        "depth": put("depth", "signals", ".mkv", lambda file: write_depth(file, np.asarray(depth), spec.fps)),
        "masks": put("masks", "signals", ".mkv", lambda file: write_gray16(file, ids, spec.fps)),
        "tracks": put("tracks", "signals", ".npz", lambda file: write_npz(file, tracks)),
        "joints": put(
            "joints", "signals", ".npz", lambda file: write_npz(file, joints(take, k, w2c, ids, depth))
        ),
        "scene": put(
            "scene", "signals", ".json", lambda file: file.write_text(to_json(spec), encoding="utf-8")
        ),
    }
    if (folder / "flow_forward.npy").exists():
        flow = {way: np.load(folder / f"flow_{way}.npy") for way in ("forward", "backward")}
        files["flow"] = put("flow", "signals", ".npz", lambda file: write_npz(file, flow))
    measures = selection.measure(list(pictures))
    eyes = path.c2w[1:-1, :3, 3]
    turned = np.degrees(np.arccos(np.clip((w2c[1:, 2, :3] * w2c[:-1, 2, :3]).sum(-1), -1, 1))).sum()
    subject = next((body.index for body in baked.bodies if body.name == spec.subject), 0)
    fov = optics.fov(k, spec.width)
    return {
        "sample_id": sample_id,
        "source_sha256": spec.id,
        "caption": captions.caption(spec, camera.edit),
        "caption_source": "scene",
        "video": put("picture", "media", ".mp4", lambda file: write_video(file, pictures, spec.fps)),
        "signals": [{"name": name, "path": path} for name, path in files.items()],
        "width": spec.width,
        "height": spec.height,
        "frames": spec.frames,
        "fps_num": spec.fps_num,
        "fps_den": spec.fps_den,
        "span_start": 0,
        "span_end": int(spec.frames * TICKS_PER_SECOND / spec.fps),
        "estimator": recipe.estimator,
        "estimator_weights": "",
        "estimator_license": "GPL-3.0 program; what it renders is yours",
        "commercial_ok": True,
        "source_license": "CC0-1.0 environment maps",
        "source_attribution": ", ".join(sorted({person.performance.name for person in spec.people})),
        "made_with": made_with(),
        "quality": measures.quality,
        "motion": measures.motion,
        "brightness": measures.brightness,
        "sharpness": measures.sharpness,
        "scene_id": spec.id,
        "scene_index": spec.index,
        "camera": camera.name,
        "twin": camera.twin,
        "twin_of": camera.twin_of,
        "edit": camera.edit.kind if camera.edit else "",
        "edited": camera.edit.object if camera.edit else "",
        "time": camera.time.kind,
        "seconds": baked.seconds[1:-1].tolist(),
        "people": len(spec.people),
        "objects": len(spec.objects),
        "moves": "+".join(move.kind for move in camera.trajectory.moves) or "static",
        "subject_share": float((ids == subject).mean()),
        "nearest_m": float(np.min(depth)),
        "camera_path_m": float(np.linalg.norm(np.diff(eyes, axis=0), axis=-1).sum()),
        "camera_turn_deg": float(turned),
        "zoom": float(path.lens[-2] / path.lens[1]),
        "fov": fov.tolist(),
        "intrinsics": np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=-1).tolist(),
        "extrinsics": w2c.reshape(-1, 16).tolist(),
        "bodies": [{"name": body.name, "index": body.index} for body in baked.bodies],
    }


def joints(
    take: Take,
    k: NDArray[np.float64],
    w2c: NDArray[np.float64],
    ids: NDArray[np.uint16],
    depth: NDArray[np.float32],
) -> dict[str, NDArray[Any]]:
    """Joints of all people in 3D and 2D.

    A joint is visible when the person it belongs to is what the picture shows there: their own body may cover it, as
    it may in annotated pictures, other bodies may not. The face is visible only from its own side.

    Args:
        take: For the joints and the people's indices.
        k: Intrinsics [F, 3, 3].
        w2c: World to camera [F, 4, 4].
        ids: Body index per pixel [F, H, W].
        depth: Planar depth per pixel in metres [F, H, W].

    Returns:
        ``points`` [F, P, 133, 3], ``pixels`` [F, P, 133, 2] (NaN where a body has no such joint), ``visible``
        [F, P, 133] and ``body`` [P].
    """
    points = take.baked.joints[1:-1]
    index = {body.name: body.index for body in take.baked.bodies}
    body = np.array([index[name] for name in take.baked.people], np.int32)
    pixels, distance = optics.project(points, k[:, None], w2c[:, None])
    inside = np.isfinite(pixels).all(-1) & (distance > 0)
    inside &= ((pixels >= 0) & (pixels < (ids.shape[2], ids.shape[1]))).all(-1)
    column, row = np.where(inside[..., None], pixels, 0).astype(int).transpose(3, 0, 1, 2)
    frame = np.arange(len(ids))[:, None, None]
    visible = inside & (ids[frame, row, column] == body[:, None])
    visible[..., FACE] &= (depth[frame, row, column] > distance - _FACE_DEPTH)[..., FACE]
    return {
        "points": points.astype(np.float32),
        "pixels": pixels.astype(np.float32),
        "visible": visible,
        "body": body,
    }


@cache
def _blender(python: str, timeout_s: float, memory_gb: float) -> Blender:
    return Blender(python=python, timeout_s=timeout_s, memory_gb=memory_gb)


def _fast(spec: SceneSpec, flow: bool) -> str | None:
    """A folder in memory for what the renderer hands over, where the system has one with room to spare."""
    pixels = spec.width * spec.height * spec.frames * len(spec.cameras)
    needed = pixels * (3 + 4 + 2 + 16 * flow) + 2**28  # picture, depth, index, flow; and the geometry
    return memory_folder(needed)
