"""Looking at a scene: a plot of its rig, a contact sheet of its cameras."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalogs import rig
from catalogs.errors import ConfigError, InputError
from catalogs.root import storage_errors
from pipelines.blender import Blender
from pipelines.casting import grouped, take_request
from pipelines.motions import cache_folder
from pipelines.takes import TakeParams
from renderers.scenes import cameras as optics
from renderers.scenes.bake import Baked, bake, camera_path, write
from renderers.scenes.motion import MotionError
from renderers.scenes.spec import SceneSpec, from_json

_LOOKS = 4
_THUMB = 320


def read_spec(path: Path) -> SceneSpec:
    """Read a scene file.

    Raises:
        InputError: No such file, or no scene; the message names the fields that are wrong.
    """
    try:
        return from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is {error}", "`avcontrol scene draw` prints one that is.") from None


def rig_plot(spec: SceneSpec, path: Path) -> None:
    """Draw where every camera goes, what it sees and how wide, and where the people and the subject are."""
    views: list[rig.View] = []
    points: dict[str, NDArray[np.float64]] = {}
    for (time, edit), takes in grouped(spec).items():
        baked = bake(spec, time=time, edit=edit, cache=cache_folder())
        for camera in takes:
            way = camera_path(spec, camera, baked)
            k = optics.intrinsics(camera, way.lens[1:-1], spec.width, spec.height)
            fov, aspect = optics.fov(k, spec.width), spec.width / spec.height
            views.append(rig.View(name=camera.name, c2w=way.c2w[1:-1], fov=fov, aspect=aspect))
        if not points:
            points = _places(spec, baked)
    rig.draw(path, views, points=points)


def contact_sheet(spec: SceneSpec, path: Path, *, finished: bool) -> None:
    """Draw every camera at four times, a row each.

    Raises:
        EstimatorUnavailable: Blender is not here.
        WorkerError: It failed.
    """
    from PIL import Image, ImageDraw, ImageFont

    looks = sorted({round(n) for n in np.linspace(0, spec.frames - 1, _LOOKS)})
    wide = min(_THUMB, spec.width)
    high = max(2, round(wide * spec.height / spec.width))
    kind = "picture" if finished else "preview"
    band, font = 20, ImageFont.load_default(size=13)
    sheet = Image.new("RGB", (len(looks) * wide, len(spec.cameras) * (high + band)), "#14161a")
    draw, rows = ImageDraw.Draw(sheet), {camera.name: n for n, camera in enumerate(spec.cameras)}
    blender = Blender()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for (time, edit), takes in grouped(spec).items():
            baked = bake(spec, time=time, edit=edit, cache=cache_folder())
            write(baked, spec.world, scratch)
            request = {
                "op": "render",
                "folder": str(scratch),
                "takes": [take_request(spec, camera, baked, scratch / camera.name) for camera in takes],
                "width": wide,
                "height": high,
                "frames": spec.frames,
                "fps": float(spec.fps),
                "passes": [kind],
                "samples": TakeParams().samples,
                "denoise": True,
                "threads": 2,
                "device": "auto",
                "flow": False,
                "only": looks,
            }
            blender.ask(request)
            for camera in takes:
                top = rows[camera.name] * (high + band)
                moves = "+".join(move.kind for move in camera.trajectory.moves) or "static"
                draw.text((6, top + 3), f"{camera.name}: {moves}, {camera.time.kind} time", "#eceef2", font)
                for n, picture in enumerate(np.load(scratch / camera.name / f"{kind}.npy")):
                    sheet.paste(Image.fromarray(picture), (n * wide, top + band))
    blender.close()
    with storage_errors(path):
        sheet.save(path)


def _places(spec: SceneSpec, baked: Baked) -> dict[str, NDArray[np.float64]]:
    """The subject over time, people's hips over time, and where objects stand."""
    places = {f"subject {spec.subject}": baked.subject[1:-1]}
    for number, name in enumerate(baked.people):
        if name != spec.subject:
            places[name] = np.nanmean(baked.joints[1:-1, number, 11:13], axis=1)
    for thing in spec.objects:
        if thing.name != spec.subject:
            places[thing.name] = np.array([thing.position], float)
    return places


@contextmanager
def motion_errors() -> Iterator[None]:
    """Turn a motion that cannot be found into a line that says where to give it."""
    try:
        yield
    except MotionError as error:
        raise ConfigError(str(error), "Give the folder that holds it with --motions.") from None
