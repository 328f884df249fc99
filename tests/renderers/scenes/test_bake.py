"""Baking: indices that edits do not change, time maps, geometry that the spec's closed forms confirm, files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import bake as baking
from renderers.scenes import motion, people
from renderers.scenes.bake import Baked, bake, camera_path, world_vertices, write
from renderers.scenes.random_scene import SceneSettings, random_scene
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

RED, BLUE = Texture(kind="plain", a=(0.8, 0.1, 0.1)), Texture(kind="checker", a=(0.1, 0.1, 0.8))
FRAMES, FPS = 9, 16
LAST = (FRAMES - 1) / FPS


def box(name: str, x: float, **more) -> Object:
    base = {
        "shape": "box",
        "size": (0.6, 0.4, 0.8),
        "position": (x, 2.0, 0.0),
        "heading": 0.0,
        "texture": RED,
    }
    return Object(name=name, **{**base, **more})


def person(name: str, y: float, act: str = "walk") -> Person:
    return Person(
        name=name,
        performance=Performance(name=act, start=0.5),
        position=(0.0, y),
        heading=30.0,
        height=1.7,
        build=1.0,
        skin=(0.5, 0.3, 0.2),
        top=BLUE,
        trousers=RED,
        hair=(0.02, 0.02, 0.02),
    )


SPEC = SceneSpec(
    seed=0,
    index=0,
    width=96,
    height=54,
    frames=FRAMES,
    fps_num=FPS,
    world=World(hdri="city", strength=1.5, rotation=20.0),
    ground=BLUE,
    objects=(
        box("one", 2.0),
        box("two", -2.0, motion=Motion(kind="slide", amplitude=0.5, period=1.0)),
        box("three", 4.0, shape="sphere"),
    ),
    people=(person("ann", 0.0), person("bob", -3.0, "wave")),
    subject="ann",
)
BAKED = bake(SPEC)


def test_bodies_in_order() -> None:
    assert [(body.name, body.index) for body in BAKED.bodies] == [
        ("ground", 1),
        ("one", 2),
        ("two", 3),
        ("three", 4),
        ("ann", 5),
        ("bob", 6),
    ]
    assert [body.smooth for body in BAKED.bodies] == [False, False, False, True, True, True]
    assert BAKED.body("two") is BAKED.bodies[2]
    with pytest.raises(KeyError, match=r"nobody.*ann"):
        BAKED.body("nobody")


def test_arrays_are_as_promised() -> None:
    for body in BAKED.bodies:
        count = len(body.triangles)
        assert body.vertices.dtype == np.float32 and body.vertices.shape[1:] == (3,)
        assert body.triangles.dtype == np.int32 and body.triangles.shape == (count, 3)
        assert body.triangles.min() == 0 and body.triangles.max() == len(body.vertices) - 1
        assert body.material.dtype == np.int32 and body.material.shape == (count,)
        assert set(np.unique(body.material)) <= set(range(len(body.textures)))
        if body.cache is None:
            assert body.transforms.dtype == np.float64 and body.transforms.shape == (FRAMES + 2, 4, 4)
        else:
            assert body.transforms is None and body.cache.dtype == np.float32
            assert body.cache.shape == (FRAMES + 2, *body.vertices.shape)
    assert [body.cache is not None for body in BAKED.bodies] == [False] * 4 + [True] * 2


def test_surfaces_face_outward() -> None:
    for body in BAKED.bodies[1:]:
        solid = trimesh.Trimesh(body.vertices.astype(float), body.triangles, process=False)
        assert solid.is_winding_consistent and solid.volume > 0, body.name
    assert trimesh.Trimesh(*(getattr(BAKED.body("one"), k) for k in ("vertices", "triangles"))).volume == (
        pytest.approx(0.6 * 0.4 * 0.8, rel=1e-5)
    )
    for name in SPEC.people[0].name, SPEC.people[1].name:  # somebody of 1.7 m and 50 to 100 kg
        body = BAKED.body(name)
        assert 0.05 < trimesh.Trimesh(body.vertices.astype(float), body.triangles, process=False).volume < 0.1


def test_people_wear_what_the_spec_says() -> None:
    ann = BAKED.body("ann")
    worn = dict(zip(people.MATERIALS, ann.textures, strict=True))
    assert (worn["top"], worn["trousers"]) == (BLUE, RED)
    assert worn["skin"].a == (0.5, 0.3, 0.2) and worn["hair"].a == (0.02, 0.02, 0.02)
    # The top is above the trousers.
    height = [
        ann.vertices[ann.triangles[ann.material == people.MATERIALS.index(k)], 2].mean()
        for k in ("top", "trousers")
    ]
    assert height[0] > height[1] + 0.3


def test_entries_are_frames_from_minus_one() -> None:
    np.testing.assert_allclose(BAKED.seconds, np.arange(-1, FRAMES + 1) / FPS)
    x = BAKED.body("two").transforms[:, 0, 3]
    np.testing.assert_allclose(x, -2 + 0.5 * np.sin(2 * np.pi * BAKED.seconds), atol=1e-12)


def test_joints_belong_to_the_people() -> None:
    assert BAKED.people == ("ann", "bob") and BAKED.joints.shape == (FRAMES + 2, 2, 133, 3)
    assert BAKED.joints.dtype == np.float64
    for number, name in enumerate(BAKED.people):
        cache = BAKED.body(name).cache
        body = BAKED.joints[:, number, :17]
        assert np.isfinite(body).all()
        low, high = cache.min(1) - 0.05, cache.max(1) + 0.05
        assert ((body >= low[:, None]) & (body <= high[:, None])).all()
    recording = motion.find(SPEC.people[1].performance)
    figure = people.body(SPEC.people[1], recording, BAKED.seconds)
    np.testing.assert_array_equal(figure.joints, BAKED.joints[:, 1])
    np.testing.assert_array_equal(figure.vertices, BAKED.body("bob").cache)


def test_where_the_subject_is() -> None:
    hips, shoulders = BAKED.joints[:, 0, [11, 12]].mean(1), BAKED.joints[:, 0, [5, 6]].mean(1)
    np.testing.assert_allclose(BAKED.subject, (hips + shoulders) / 2, atol=1e-9)
    two = bake(replace(SPEC, subject="two", people=())).subject
    np.testing.assert_allclose(two[1], (-2, 2, 0.4))
    np.testing.assert_array_equal(
        bake(replace(SPEC, subject="", people=())).subject, np.zeros((FRAMES + 2, 3))
    )


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (TimeMap(), lambda t: t),
        (TimeMap(kind="freeze", value=0.25), lambda t: 0.25),
        (TimeMap(kind="slow", value=0.5), lambda t: t / 2),
        (TimeMap(kind="reverse"), lambda t: LAST - t),
        (TimeMap(kind="shift", value=0.2), lambda t: t + 0.2),
    ],
)
def test_time_maps(time: TimeMap, expected) -> None:
    spec = replace(SPEC, people=SPEC.people[:1])
    baked = bake(spec, time=time)
    seen = np.array([expected((entry - 1) / FPS) for entry in range(FRAMES + 2)], float)
    np.testing.assert_allclose(baked.seconds, seen, atol=1e-12)
    x = baked.body("two").transforms[:, 0, 3]
    np.testing.assert_allclose(x, -2 + 0.5 * np.sin(2 * np.pi * seen), atol=1e-9)
    np.testing.assert_array_equal(baked.subject, BAKED.subject)  # cameras go on as if nothing had happened
    figure = people.body(spec.people[0], motion.find(spec.people[0].performance), seen)
    np.testing.assert_allclose(baked.body("ann").cache, figure.vertices, atol=1e-5)
    for body in baked.bodies:
        if time.kind == "freeze" and body.name != "ground":
            states = body.cache if body.transforms is None else body.transforms
            assert np.ptp(states, axis=0).max() == 0


def test_the_reversed_take_shows_the_frames_of_the_normal_one() -> None:
    back = bake(SPEC, time=TimeMap(kind="reverse"))
    for body, normal in zip(back.bodies, BAKED.bodies, strict=True):
        now, then = (b.cache if b.transforms is None else b.transforms for b in (body, normal))
        np.testing.assert_allclose(now, then[::-1], atol=1e-5)


def same(one: baking.Body, two: baking.Body, *but: str) -> bool:
    keys = {"name", "index", "smooth", "textures", "vertices", "triangles", "material", "transforms", "cache"}
    return all(
        np.array_equal(getattr(one, key), getattr(two, key)) for key in keys - set(but) - {"textures"}
    ) and ("textures" in but or one.textures == two.textures)


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_removing_an_object_leaves_all_else(name: str) -> None:
    less = bake(SPEC, edit=Edit(kind="remove", object=name))
    left = [body for body in BAKED.bodies if body.name != name]
    assert len(less.bodies) == len(left) == 5
    assert all(same(one, two) for one, two in zip(less.bodies, left, strict=True))
    np.testing.assert_array_equal(less.joints, BAKED.joints)


@pytest.mark.parametrize("kind", ["recolour", "retexture"])
def test_another_surface_changes_nothing_else(kind: str) -> None:
    new = bake(SPEC, edit=Edit(kind=kind, object="two", texture=BLUE))
    for one, two in zip(new.bodies, BAKED.bodies, strict=True):
        assert same(one, two, "textures")
        assert one.textures == ((BLUE,) if one.name == "two" else two.textures)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit(kind="remove", object="nobody"), "nobody"),
        (Edit(kind="remove", object="ann"), "ann"),
        (Edit(kind="recolour", object="one"), "texture"),
    ],
)
def test_edits_that_make_no_sense(edit: Edit, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bake(SPEC, edit=edit)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subject": "nobody"}, "nobody"),
        ({"objects": (box("one", 0), box("one", 1))}, "one"),
        ({"objects": (box("ground", 0),)}, "ground"),
        ({"objects": (box("ann", 0),)}, "ann"),
    ],
)
def test_specs_that_make_no_sense(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bake(replace(SPEC, **change))


@settings(max_examples=20, deadline=None)
@given(heading=st.floats(-180, 180), entries=st.lists(st.integers(0, FRAMES + 1), min_size=1, max_size=4))
def test_world_vertices(heading: float, entries: list[int]) -> None:
    spec = replace(SPEC, people=(), subject="", objects=(box("one", 2.0, heading=heading),))
    c, s = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    expected = {
        (2 + c * x - s * y, 2 + s * x + c * y, z) for x in (-0.3, 0.3) for y in (-0.2, 0.2) for z in (0, 0.8)
    }
    found = world_vertices(bake(spec).body("one"), entries)
    assert found.shape == (len(entries), 8, 3) and found.dtype == np.float64
    for frame in found:
        gaps = np.linalg.norm(frame[:, None] - np.array(sorted(expected)), axis=-1)
        assert gaps.min(0).max() < 1e-6 and gaps.min(1).max() < 1e-6


def test_world_vertices_of_people() -> None:
    ann = BAKED.body("ann")
    np.testing.assert_array_equal(world_vertices(ann, slice(1, 3)), ann.cache[1:3].astype(float))


def camera(*moves: Move, **more) -> Camera:
    return Camera(
        name="c", trajectory=Trajectory(eye=(5.0, 0.0, 1.0), target=(0.0, 0.0, 1.0), moves=moves), **more
    )


def test_a_camera_takes_the_clip_from_first_to_last_frame() -> None:
    path = camera_path(SPEC, camera(Move(kind="truck", amount=2.0)), BAKED)
    assert path.c2w.shape == (FRAMES + 2, 4, 4) and path.lens.shape == (FRAMES + 2,)
    np.testing.assert_allclose(path.c2w[1, :3, 3], (5, 0, 1), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(path.c2w[FRAMES, :3, 3] - (5, 0, 1)), 2, atol=1e-9)
    steps = np.diff(path.c2w[:, :3, 3], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 2 / (FRAMES - 1), atol=1e-9)


def test_a_camera_follows_the_subject() -> None:
    path = camera_path(SPEC, camera(Move(kind="follow")), BAKED)
    np.testing.assert_allclose(np.diff(path.c2w[:, :3, 3], axis=0), np.diff(BAKED.subject, axis=0), atol=1e-9)
    assert np.ptp(BAKED.subject, axis=0).max() > 0.2


def test_a_clip_of_one_frame() -> None:
    spec = replace(SPEC, frames=1)
    baked = bake(spec)
    assert camera_path(spec, camera(Move(kind="dolly", amount=1.0)), baked).c2w.shape == (3, 4, 4)
    assert baked.seconds.shape == (3,)


def read(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(folder / "scene.npz", allow_pickle=False) as arrays:
        return json.loads((folder / "scene.json").read_text(encoding="utf-8")), dict(arrays)


def test_files(tmp_path: Path) -> None:
    write(BAKED, SPEC.world, tmp_path)
    described, arrays = read(tmp_path)
    assert described["world"] == {"hdri": "city", "strength": 1.5, "rotation": 20.0}
    assert [(body["index"], body["name"], body["smooth"]) for body in described["bodies"]] == [
        (body.index, body.name, body.smooth) for body in BAKED.bodies
    ]
    assert described["bodies"][1]["textures"] == [
        {"kind": "plain", "a": [0.8, 0.1, 0.1], "b": [0, 0, 0], "scale": 4, "roughness": 0.6, "metallic": 0}
    ]
    expected = set()
    for body in BAKED.bodies:
        moving = "transforms" if body.cache is None else "cache"
        for key in ("vertices", "triangles", "material", moving):
            expected.add(f"{body.index}/{key}")
            stored = arrays[f"{body.index}/{key}"]
            np.testing.assert_array_equal(stored, getattr(body, key))
            assert stored.dtype == getattr(body, key).dtype
    assert set(arrays) == expected


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 1000))
def test_any_random_scene_can_be_baked_and_nobody_is_under_ground(seed: int, index: int) -> None:
    spec = random_scene(
        seed,
        index,
        cameras=1,
        width=96,
        height=54,
        frames=5,
        fps=8,
        settings=SceneSettings(edit=1.0, retime=1.0),
    )
    for taken in spec.cameras:
        baked: Baked = bake(spec, time=taken.time, edit=taken.edit)
        again = bake(spec, time=taken.time, edit=taken.edit)
        for body, twice in zip(baked.bodies, again.bodies, strict=True):
            assert same(body, twice)
            assert world_vertices(body, slice(None))[..., 2].min() > -0.03
        assert np.isfinite(baked.subject).all()
        assert np.isfinite(camera_path(spec, taken, baked).c2w).all()
