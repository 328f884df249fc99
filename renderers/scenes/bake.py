"""Baking: from a SceneSpec to plain geometry in world space at every frame, which any renderer can draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderers.scenes import motion, people, shapes, trajectories
from renderers.scenes.spec import Camera, Edit, Object, Person, SceneSpec, Texture, TimeMap, World

NORMAL = TimeMap()

TRUNK = [5, 6, 11, 12]
"""Shoulders and hips in COCO's order; their mean is the middle of a person."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """One thing to draw.

    The first axis of what moves has frames + 2 entries: frames -1, 0, …, frames, so that motion is known on both
    sides of every frame.

    Attributes:
        name: As in the spec; ``ground`` for the ground.
        index: Object index in the mask, from 1; the background is 0.
        vertices: At rest, own coordinates, float32 [V, 3].
        triangles: int32 [T, 3], counter-clockwise seen from outside.
        material: Which of ``textures`` a triangle has, int32 [T].
        textures: Surfaces.
        smooth: Shade it as a curved surface.
        transforms: Own coordinates to world of a rigid body, float64 [F + 2, 4, 4].
        cache: Vertices in world space of a deforming body, float32 [F + 2, V, 3]; then ``transforms`` is None.
    """

    name: str
    index: int
    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    textures: tuple[Texture, ...]
    smooth: bool
    transforms: NDArray[np.float64] | None
    cache: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class Baked:
    """A scene as one camera sees it, frames -1, 0, …, frames.

    Attributes:
        bodies: Ground first, then objects, then people.
        people: Their names, in the order of ``joints``.
        joints: COCO-WholeBody joints in world space, float64 [F + 2, P, 133, 3]; NaN where a body has none.
        subject: What cameras follow, float64 [F + 2, 3]: the middle of the subject in the normal take, whatever edit or
            time map this one has, so that a camera's path is its own.
        seconds: Which moment of the action is seen, float64 [F + 2].
    """

    bodies: tuple[Body, ...]
    people: tuple[str, ...]
    joints: NDArray[np.float64]
    subject: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def body(self, name: str) -> Body:
        """The body of that name.

        Raises:
            KeyError: There is none.
        """
        for body in self.bodies:
            if body.name == name:
                return body
        raise KeyError(f"no body {name!r}; there are {', '.join(body.name for body in self.bodies)}")


def bake(
    spec: SceneSpec,
    *,
    time: TimeMap = NORMAL,
    edit: Edit | None = None,
    motions: Sequence[Path] = (),
    cache: Path | None = None,
) -> Baked:
    """Geometry of a scene at frames -1 to ``spec.frames``.

    Args:
        spec: The scene.
        time: Which moments the frames show.
        edit: What is changed; the indices of the other bodies stay.
        motions: Folders with the recordings that people perform.
        cache: Folder for what was read from them.

    Raises:
        ValueError: The edit or the subject names nothing in the scene, or names are not unique.
    """
    _check(spec)
    normal = np.arange(-1, spec.frames + 1) / float(spec.fps)
    seconds = moments(time, normal, spec)
    bodies = [_ground(spec, len(seconds))]
    bodies += [_rigid(thing, index, seconds) for index, thing in objects(spec, edit)]
    recordings = [motion.find(person.performance, motions, cache) for person in spec.people]
    joints = np.full((len(seconds), len(spec.people), 133, 3), np.nan)
    for number, (person, recording) in enumerate(zip(spec.people, recordings, strict=True)):
        figure = people.body(person, recording, seconds)
        joints[:, number] = figure.joints
        bodies.append(_deforming(person, 2 + len(spec.objects) + number, figure))
    return Baked(
        bodies=tuple(bodies),
        people=tuple(person.name for person in spec.people),
        joints=joints,
        subject=_subject(spec, recordings, normal),
        seconds=seconds,
    )


def moments(time: TimeMap, t: NDArray[np.float64], spec: SceneSpec) -> NDArray[np.float64]:
    """Seconds of the action that a camera with this map shows at its own times ``t``.

    D of :class:`TimeMap` is the time of the last frame, so the reversed take shows the very moments of the normal one.
    """
    if time.kind == "freeze":
        return np.full_like(t, time.value)
    if time.kind == "slow":
        return time.value * t
    if time.kind == "reverse":
        return float((spec.frames - 1) / spec.fps) - t
    return t + time.value if time.kind == "shift" else t


def objects(spec: SceneSpec, edit: Edit | None = None) -> list[tuple[int, Object]]:
    """Objects with their indices in the mask (from 2: the ground is 1), after the edit.

    Raises:
        ValueError: The edit names no object, or gives no surface.
    """
    every = list(enumerate(spec.objects, start=2))
    if edit is None:
        return every
    if edit.object not in {thing.name for thing in spec.objects}:
        raise ValueError(f"the edit is about {edit.object!r}, which is no object of the scene")
    if edit.kind == "remove":
        return [(index, thing) for index, thing in every if thing.name != edit.object]
    if edit.texture is None:
        raise ValueError(f"a {edit.kind} edit needs a texture")
    surface = edit.texture
    return [
        (i, replace(thing, texture=surface) if thing.name == edit.object else thing) for i, thing in every
    ]


def world_vertices(body: Body, entries: slice | Sequence[int]) -> NDArray[np.float64]:
    """A body's vertices in world space [K, V, 3] at entries of the first axis (entry 0 is frame -1)."""
    if body.cache is not None:
        return body.cache[entries].astype(np.float64)
    assert body.transforms is not None
    pose = body.transforms[entries]
    # Not a matrix product: BLAS sums in an order that depends on the number of threads.
    turned = np.einsum("kij,vj->kvi", pose[:, :3, :3], body.vertices.astype(np.float64))
    return np.asarray(turned + pose[:, None, :3, 3])


def camera_path(spec: SceneSpec, camera: Camera, baked: Baked) -> trajectories.Path:
    """Where a camera of the scene is in frames -1 to F, the subject followed if it follows."""
    last = max(1, spec.frames - 1)
    u = np.arange(-1, spec.frames + 1) / last
    return trajectories.path(camera.trajectory, u, duration=float(last / spec.fps), subject=baked.subject)


def write(baked: Baked, world: World, folder: Path) -> None:
    """Save what the Blender worker reads: ``scene.json`` and ``scene.npz``.

    The JSON holds ``{"world": {hdri, strength, rotation}, "bodies": [{name, index, smooth, textures}]}``. The arrays
    are named ``<index>/vertices``, ``/triangles``, ``/material`` and ``/transforms`` or ``/cache``, as in
    :class:`Body`; they are not compressed, for speed.
    """
    described = [
        {
            "name": body.name,
            "index": body.index,
            "smooth": body.smooth,
            "textures": [asdict(surface) for surface in body.textures],
        }
        for body in baked.bodies
    ]
    text = json.dumps({"world": asdict(world), "bodies": described})
    (folder / "scene.json").write_text(text, encoding="utf-8")
    arrays = {
        f"{body.index}/{key}": value
        for body in baked.bodies
        for key in ("vertices", "triangles", "material", "transforms", "cache")
        if (value := getattr(body, key)) is not None
    }
    np.savez(folder / "scene.npz", **arrays)


def _check(spec: SceneSpec) -> None:
    names = ["ground", *(thing.name for thing in spec.objects), *(person.name for person in spec.people)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two things in the scene are called {name!r}")
    if spec.subject and spec.subject not in names[1:]:
        raise ValueError(f"the subject {spec.subject!r} is not in the scene")


def _ground(spec: SceneSpec, entries: int) -> Body:
    vertices, triangles = shapes.ground()
    return Body(
        name="ground",
        index=1,
        vertices=vertices,
        triangles=triangles,
        material=np.zeros(len(triangles), np.int32),
        textures=(spec.ground,),
        smooth=False,
        transforms=np.tile(np.eye(4), (entries, 1, 1)),
        cache=None,
    )


def _rigid(thing: Object, index: int, seconds: NDArray[np.float64]) -> Body:
    vertices, triangles = shapes.mesh(thing.shape, thing.size)
    return Body(
        name=thing.name,
        index=index,
        vertices=vertices,
        triangles=triangles,
        material=np.zeros(len(triangles), np.int32),
        textures=(thing.texture,),
        smooth=thing.shape in shapes.SMOOTH,
        transforms=shapes.transforms(thing, seconds),
        cache=None,
    )


def _deforming(person: Person, index: int, figure: people.Figure) -> Body:
    return Body(
        name=person.name,
        index=index,
        vertices=figure.rest.astype(np.float32),
        triangles=figure.triangles.astype(np.int32),
        material=figure.material.astype(np.int32),
        textures=_dressed(person),
        smooth=True,
        transforms=None,
        cache=figure.vertices.astype(np.float32),
    )


def _dressed(person: Person) -> tuple[Texture, ...]:
    """The surfaces that a figure's materials count."""
    red, green, blue = person.skin
    surfaces = {
        "skin": Texture(kind="plain", a=person.skin, roughness=0.5),
        "top": person.top,
        "trousers": person.trousers,
        "hair": Texture(kind="plain", a=person.hair, roughness=0.4),
        "shoes": Texture(kind="plain", a=(0.03, 0.03, 0.03), roughness=0.4),
        "eyes": Texture(kind="plain", a=(0.02, 0.015, 0.01), roughness=0.1),
        "lips": Texture(kind="plain", a=(red * 0.8, green * 0.45, blue * 0.5), roughness=0.4),
    }
    return tuple(surfaces[name] for name in people.MATERIALS)


def _subject(
    spec: SceneSpec, recordings: Sequence[motion.Recording], seconds: NDArray[np.float64]
) -> NDArray[np.float64]:
    for person, recording in zip(spec.people, recordings, strict=True):
        if person.name == spec.subject:
            trunk = people.body(person, recording, seconds).joints[:, TRUNK]
            return np.asarray(np.nanmean(trunk, axis=1))
    for thing in spec.objects:
        if thing.name == spec.subject:
            pose = shapes.transforms(thing, seconds)
            return np.asarray(pose[:, :3, 3] + pose[:, :3, 2] * thing.size[2] / 2)
    return np.zeros((len(seconds), 3))
