"""A scenes catalog without Blender: boxes on a chequered ground, ray-traced in closed form and stored as takes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import samples_schema
from pipelines.identity import child_rng
from pipelines.multicam import COLUMNS
from pipelines.plan import Recipe
from pipelines.takes import Take, store
from renderers.scenes import cameras as optics
from renderers.scenes import surface
from renderers.scenes.bake import Baked, bake, camera_path, world_vertices
from renderers.scenes.spec import (
    Camera,
    Edit,
    Motion,
    Object,
    Performance,
    Person,
    SceneSpec,
    Texture,
    TimeMap,
    World,
)
from renderers.scenes.trajectories import Move, Trajectory

GREY = Texture(kind="plain", a=(0.5, 0.5, 0.5))
RECIPE = Recipe(
    modality="multicam",
    params="{}",
    timeline="96x64x9@24/1+0",
    estimator="closed form",
    weights="",
    code_version="1",
    seed=0,
    selection="{}",
    captioner="",
    shots="off",
)


def scene(index: int = 0, size: tuple[int, int, int] = (96, 64, 9)) -> SceneSpec:
    """A box that slides and somebody who waves, four cameras, and a twin of the first of every kind."""
    dolly = Trajectory(
        eye=(4.0, -4.0, 2.2), target=(0.0, 0.0, 0.8), lens=30.0, moves=(Move(kind="arc", amount=40.0),)
    )
    first = Camera(name="camera-0", trajectory=dolly)
    opposite = Trajectory(
        eye=(-4.0, -3.0, 1.8), target=(0.0, 0.0, 0.8), lens=28.0, moves=(Move(kind="truck", amount=1.0),)
    )
    slide = Motion(kind="slide", amplitude=0.6, period=0.7)
    retexture = Edit(kind="recolour", object="box", texture=GREY)
    cameras = [first, Camera(name="camera-1", trajectory=opposite)]
    cameras += [
        Camera(
            name="camera-0-static",
            trajectory=Trajectory(eye=dolly.eye, target=dolly.target, lens=30.0),
            twin_of="camera-0",
            twin="static",
        ),
        Camera(
            name="camera-0-retime",
            trajectory=dolly,
            time=TimeMap(kind="freeze", value=0.1),
            twin_of="camera-0",
            twin="retime",
        ),
        Camera(name="camera-0-edit", trajectory=dolly, edit=retexture, twin_of="camera-0", twin="edit"),
    ]
    width, height, frames = size
    return SceneSpec(
        seed=0,
        index=index,
        width=width,
        height=height,
        frames=frames,
        fps_num=24,
        world=World(hdri="city"),
        ground=GREY,
        objects=(
            Object(
                name="box",
                shape="box",
                size=(0.9, 0.7, 0.8),
                position=(0.9, 0.1, 0.0),
                heading=0.0,
                texture=GREY,
                motion=slide,
            ),
        ),
        people=(
            Person(
                name="ann",
                performance=Performance(name="wave"),
                position=(-0.3, 0.2),
                heading=270.0,
                height=1.7,
                build=1.0,
                skin=(0.5, 0.3, 0.2),
                top=GREY,
                trousers=GREY,
                hair=(0.1, 0.1, 0.1),
            ),
        ),
        cameras=tuple(cameras),
        subject="ann",
    )


def scenes_catalog(root: Root, count: int = 1, size: tuple[int, int, int] = (96, 64, 9)) -> None:
    """Make the catalog ``scenes``: five takes a scene."""
    rows = []
    for index in range(count):
        spec = scene(index, size)
        anchors = None
        for camera in spec.cameras:
            baked = bake(spec, time=camera.time, edit=camera.edit)
            anchors = anchors or surface.choose(baked, 200, child_rng(0, index))
            take = Take(
                spec=spec,
                camera=camera,
                baked=baked,
                points=surface.positions(baked, anchors),
                anchors=anchors,
            )
            folder = root.scratch("-take")
            folder.mkdir(parents=True)
            render(take, folder)
            own = {
                "modality": "multicam",
                "unit_id": str(index),
                "run_id": "0",
                "seed": 0,
                "schema_version": 1,
            }
            rows.append({**store(root, RECIPE, take, folder), **own, "source_uri": f"scene:0/{index}"})
    schema = samples_schema(COLUMNS)
    table_of(root, "scenes", create=schema).append_new(rows, {"run_id": "0"}, schema)


def render(take: Take, folder: Path) -> None:
    """What the renderer hands over, by slab tests against every body's bounding box and the ground plane."""
    spec, path = take.spec, camera_path(take.spec, take.camera, take.baked)
    k = optics.intrinsics(take.camera, path.lens, spec.width, spec.height)
    pictures, depths, ids, visible = [], [], [], []
    for n in range(spec.frames):
        eye, turn = path.c2w[n + 1, :3, 3], path.c2w[n + 1, :3, :3]
        v, u = np.mgrid[: spec.height, : spec.width] + 0.5
        local = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(k[n + 1]).T  # z = 1: t is planar depth
        rays = local @ turn.T
        depth, index = trace(eye, rays, boxes(take.baked, n + 1))
        where = eye + np.where(np.isfinite(depth), depth, 0)[..., None] * rays
        checks = (np.floor(where * 2).astype(int).sum(-1) % 2)[..., None]
        edited = take.camera.edit is not None
        tint = np.array(
            [[90, 140, 220], [120, 110, 90], [40, 200, 60] if edited else [200, 60, 50], [220, 180, 150]]
        )
        pictures.append((tint[index] * (0.6 + 0.4 * checks)).astype(np.uint8))
        depths.append(depth)
        ids.append(index)
        towards = take.points[n] - eye
        reach = (towards @ turn)[:, 2]
        seen, _ = trace(eye, towards / reach[:, None], boxes(take.baked, n + 1))
        pixels, _ = optics.project(take.points[n], k[n + 1], np.linalg.inv(path.c2w[n + 1]))
        inside = ((pixels >= 0) & (pixels < (spec.width, spec.height))).all(-1)
        visible.append(inside & (reach > 0) & (reach <= seen * 1.02 + 0.02))
    np.save(folder / "picture.npy", np.stack(pictures))
    np.save(folder / "depth.npy", np.stack(depths).astype(np.float32))
    np.save(folder / "ids.npy", np.stack(ids).astype(np.uint16))
    np.save(folder / "visible.npy", np.stack(visible))


def boxes(baked: Baked, entry: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Every body but the ground as (index, low corner, high corner) in the world."""
    found = []
    for body in baked.bodies:
        if body.name != "ground":
            vertices = world_vertices(body, [entry])[0]
            found.append((body.index, vertices.min(0), vertices.max(0)))
    return found


def trace(
    eye: np.ndarray, rays: np.ndarray, solids: list[tuple[int, np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """How many ``rays`` long the way is to what each hits, inf for nothing, and the index of that."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        index = np.where(np.isfinite(nearest), 1, 0)
        for number, low, high in solids:
            one, two = (low - eye) / rays, (high - eye) / rays
            enter, leave = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
            hit = (enter < leave) & (enter > 0) & (enter < nearest)
            nearest, index = np.where(hit, enter, nearest), np.where(hit, number, index)
    return nearest, index
