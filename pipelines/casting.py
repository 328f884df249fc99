"""Casting: the cameras of a scene are tried out, and drawn again until each shows something worth rendering."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.errors import UnusableClip
from pipelines.blender import Blender
from renderers.scenes import cameras as optics
from renderers.scenes import checks
from renderers.scenes.bake import Baked, bake, camera_path, world_vertices, write
from renderers.scenes.random_scene import SceneSettings, redraw_camera
from renderers.scenes.spec import Camera, Edit, SceneSpec, TimeMap

_TRIES = 8
_LOOKS = 5
_WIDTH = 64

Group = tuple[TimeMap, Edit | None]


def grouped(spec: SceneSpec) -> dict[Group, list[Camera]]:
    """Cameras that see the same geometry at the same moments, in order: what is baked and rendered together."""
    groups: dict[Group, list[Camera]] = {}
    for camera in spec.cameras:
        groups.setdefault((camera.time, camera.edit), []).append(camera)
    return groups


def take_request(spec: SceneSpec, camera: Camera, baked: Baked, out: Path) -> dict[str, Any]:
    """What the renderer is told about a camera: its path in frames -1 to F, its lens and where its pictures go."""
    path = camera_path(spec, camera, baked)
    out.mkdir(exist_ok=True)
    return {
        "name": camera.name,
        "out": str(out),
        "c2w": path.c2w.tolist(),
        "lens": path.lens.tolist(),
        "sensor_width": camera.sensor_width,
        "sensor_height": camera.sensor_height,
        "sensor_fit": camera.sensor_fit,
        "shift_x": camera.shift_x,
        "shift_y": camera.shift_y,
    }


def cast(
    spec: SceneSpec, settings: SceneSettings, blender: Blender, motions: Path, scratch: Path
) -> Iterator[SceneSpec | None]:
    """The scene with cameras that pass every check: geometry first, then a few tiny pictures.

    Args:
        spec: The scene as drawn.
        settings: What it was drawn with.
        blender: Draws the tiny pictures.
        motions: Folder of the recordings, as :func:`pipelines.motions.fetch` left it.
        scratch: A folder to work in.

    Yields:
        None as a sign of life after every round, then the scene.

    Raises:
        UnusableClip: The scene itself is no good, or a camera failed every try; the reason is the check's.
        WorkerError: Blender died.
    """
    baked = {group: bake(spec, time=group[0], edit=group[1], cache=motions) for group in grouped(spec)}
    if problem := checks.scene_problem(next(iter(baked.values()))):
        raise UnusableClip(*_parts(problem))
    tried: set[str] = set()
    for attempt in range(1, _TRIES + 1):
        bad: dict[str, str] = {}
        for group, takes in grouped(spec).items():
            if group not in baked:  # a bullet time drawn again may freeze another moment
                baked[group] = bake(spec, time=group[0], edit=group[1], cache=motions)
            fresh = [camera for camera in takes if camera.name not in tried]
            found = _problems(spec, fresh, baked[group], blender, scratch)
            bad |= found
        tried = {camera.name for camera in spec.cameras} - set(bad)
        if not bad:
            yield spec
            return
        yield None
        again = {camera.twin_of or camera.name for camera in spec.cameras if camera.name in bad}
        for name in sorted(again):
            spec = redraw_camera(spec, name, attempt, settings)
        tried -= {camera.name for camera in spec.cameras if (camera.twin_of or camera.name) in again}
    reason, message = _parts(next(iter(bad.values())))
    raise UnusableClip(
        reason, f"{len(bad)} cameras found no good path in {_TRIES} tries; the first: {message}"
    )


def _problems(
    spec: SceneSpec, takes: list[Camera], baked: Baked, blender: Blender, scratch: Path
) -> dict[str, str]:
    """What is wrong with each camera that is no good."""
    paths = {camera.name: camera_path(spec, camera, baked) for camera in takes}
    bad = {
        camera.name: problem
        for camera in takes
        if (problem := checks.geometry_problem(camera, paths[camera.name], baked))
    }
    left = [camera for camera in takes if camera.name not in bad]
    if not left:
        return bad
    width, height = _WIDTH, max(2, round(_WIDTH * spec.height / spec.width))
    looks = sorted({round(n) for n in np.linspace(0, spec.frames - 1, _LOOKS)})
    write(baked, spec.world, scratch)
    blender.ask(
        {
            "op": "check",
            "folder": str(scratch),
            "takes": [take_request(spec, camera, baked, scratch / camera.name) for camera in left],
            "width": width,
            "height": height,
            "fps": float(spec.fps),
            "frames": looks,
        }
    )
    entries = [look + 1 for look in looks]
    subject = next((body for body in baked.bodies if body.name == spec.subject), None)
    for camera in left:
        path = paths[camera.name]
        k = optics.intrinsics(camera, path.lens[entries], width, height)
        w2c = optics.world_to_camera(path.c2w[entries])
        points = np.full((len(entries), 1, 2), np.nan)
        if subject is not None:
            points, depth = optics.project(world_vertices(subject, entries), k, w2c)
            points[depth <= 0] = np.nan
        problem = checks.picture_problem(
            np.load(scratch / camera.name / "ids.npy"),
            np.load(scratch / camera.name / "depth.npy"),
            subject.index if subject else 0,
            points,
            also=_edited(spec, camera, baked),
        )
        if problem:
            bad[camera.name] = problem
    return bad


def _edited(spec: SceneSpec, camera: Camera, baked: Baked) -> list[int]:
    """Index of the object that an edit twin of this camera changes: it must be seen."""
    names = {twin.edit.object for twin in spec.cameras if twin.edit and camera.name == twin.twin_of}
    return [body.index for body in baked.bodies if body.name in names]


def _parts(problem: str) -> tuple[str, str]:
    """The reason word and the rest of a check's line."""
    reason, _, message = problem.partition(": ")
    return reason, message or problem
