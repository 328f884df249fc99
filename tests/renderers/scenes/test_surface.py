"""Point tracks: on the surfaces, spread as promised, fixed to their bodies under edits and time maps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import surface
from renderers.scenes.bake import Baked, bake, world_vertices
from renderers.scenes.random_scene import SceneSettings, random_scene
from renderers.scenes.spec import Edit, Motion, Object, SceneSpec, Texture, TimeMap

FRAMES = 5


def drawn(index: int) -> SceneSpec:
    return random_scene(
        0, index, cameras=0, width=96, height=54, frames=FRAMES, fps=8, settings=SceneSettings(moving=0.5)
    )


@cache
def baked(index: int) -> Baked:
    return bake(drawn(index))


def chosen(index: int, count: int, seed: int = 0) -> surface.Anchors:
    return surface.choose(baked(index), count, np.random.default_rng(seed))


@settings(max_examples=10, deadline=None)
@given(index=st.integers(0, 5), count=st.integers(1, 600), seed=st.integers(0, 2**40))
def test_anchors_lie_on_surfaces(index: int, count: int, seed: int) -> None:
    scene, anchors = baked(index), chosen(index, count, seed)
    assert anchors.body.shape == anchors.triangle.shape == (count,) and anchors.barycentric.shape == (
        count,
        3,
    )
    assert anchors.body.dtype == anchors.triangle.dtype == np.int32
    assert (anchors.barycentric >= 0).all()
    np.testing.assert_allclose(anchors.barycentric.sum(1), 1, atol=1e-12)
    points = surface.positions(scene, anchors)
    assert points.shape == (FRAMES, count, 3) and points.dtype == np.float64
    for body in scene.bodies:
        mine = np.flatnonzero(anchors.body == body.index)
        corners = world_vertices(body, slice(1, -1))[:, body.triangles[anchors.triangle[mine]]]
        for frame in (0, FRAMES - 1):  # an independent way: distance of the point to the triangle
            nearest = trimesh.triangles.closest_point(corners[frame], points[frame, mine])
            assert np.abs(nearest - points[frame, mine]).max(initial=0) < 1e-6


def test_the_same_seed_chooses_the_same_points() -> None:
    one, two, other = chosen(0, 200), chosen(0, 200), chosen(0, 200, 1)
    for key in ("body", "triangle", "barycentric"):
        np.testing.assert_array_equal(getattr(one, key), getattr(two, key))
    assert (one.triangle != other.triangle).any()


@pytest.mark.parametrize("index", range(4))
def test_everything_gets_points_and_what_moves_gets_most(index: int) -> None:
    scene = baked(index)
    share = Counter(chosen(index, 2000).body.tolist())
    even = 2000 / len(scene.bodies) / 2
    assert share[1] == pytest.approx(even, abs=1)
    assert all(share[body.index] >= even - 1 for body in scene.bodies)

    def density(body: surface.Body) -> float:
        area = trimesh.Trimesh(world_vertices(body, [1])[0], body.triangles, process=False).area
        return (share[body.index] - even) / area

    moving = [density(body) for body in scene.bodies if surface.moves(body)]
    still = [density(body) for body in scene.bodies[1:] if not surface.moves(body)]
    assert not still or min(moving) > 2 * max(still)
    assert sum(share[body.index] for body in scene.bodies if surface.moves(body)) > 1000 or still


def test_the_number_is_exact_whatever_it_is() -> None:
    for count in range(30):
        assert len(chosen(1, count).body) == count


def thing(name: str, x: float, **more) -> Object:
    base = {"shape": "box", "size": (1.0, 2.0, 0.5), "position": (x, 0.0, 0.0), "heading": 0.0}
    return Object(name=name, **{**base, "texture": Texture(kind="plain", a=(1, 0, 0)), **more})


def boxes(*objects: Object) -> SceneSpec:
    return replace(drawn(0), objects=objects, people=(), subject=objects[0].name)


def test_points_are_uniform_by_area_and_not_on_what_lies_on_the_ground() -> None:
    scene = bake(boxes(thing("low", 3.0)))
    anchors = surface.choose(scene, 40000, np.random.default_rng(0))
    points = surface.positions(scene, anchors)[0][anchors.body == 2] - (3, 0, 0)
    sides = {
        "top": (np.isclose(points[:, 2], 0.5), 2.0),
        "east": (np.isclose(points[:, 0], 0.5), 1.0),
        "north": (np.isclose(points[:, 1], 1.0), 0.5),
        "below": (np.isclose(points[:, 2], 0.0), 0.0),
    }
    for name, (on, area) in sides.items():
        assert on.mean() == pytest.approx(area / 5, abs=0.01), name
    top = points[sides["top"][0]]
    np.testing.assert_allclose(np.histogram(top[:, 1], 8, (-1, 1))[0] / len(top), 1 / 8, atol=0.015)
    np.testing.assert_allclose(np.cov(top[:, :2].T), np.diag([1 / 12, 4 / 12]), atol=0.01)


def test_what_hangs_has_points_below() -> None:
    scene = bake(boxes(thing("high", 3.0, position=(0.0, 0.0, 1.0))))
    points = surface.positions(scene, surface.choose(scene, 4000, np.random.default_rng(0)))[0]
    assert np.isclose(points[:, 2], 1.0).sum() > 300


def test_points_on_the_ground_are_near_the_subject() -> None:
    scene = bake(boxes(thing("far", 30.0)))
    anchors = surface.choose(scene, 1000, np.random.default_rng(0))
    ground = surface.positions(scene, anchors)[0][anchors.body == 1]
    assert (ground[:, 2] == 0).all()
    assert np.median(np.linalg.norm(ground[:, :2] - (30, 0), axis=1)) < 15


def test_a_point_goes_where_its_body_goes() -> None:
    slide = Motion(kind="slide", amplitude=0.5, period=2.0)
    scene = bake(boxes(thing("it", 1.0, motion=slide)))
    anchors = surface.choose(scene, 100, np.random.default_rng(0))
    points = surface.positions(scene, anchors)[:, anchors.body == 2]
    expected = 0.5 * np.sin(2 * np.pi * np.arange(FRAMES) / 8 / 2.0)
    np.testing.assert_allclose(
        points[..., 0] - points[:1, :, 0], np.tile(expected[:, None], points.shape[1]), atol=1e-9
    )
    np.testing.assert_allclose(points[..., 1:], np.tile(points[:1, :, 1:], (FRAMES, 1, 1)), atol=1e-9)


@pytest.mark.parametrize("kind", ["remove", "recolour"])
def test_an_edit_leaves_the_points_of_the_others(kind: str) -> None:
    spec = drawn(1)
    name = spec.objects[1].name
    texture = None if kind == "remove" else Texture(kind="plain", a=(0, 0, 1))
    anchors = chosen(1, 500)
    before = surface.positions(baked(1), anchors)
    after = surface.positions(bake(spec, edit=Edit(kind=kind, object=name, texture=texture)), anchors)
    gone = (anchors.body == 3) if kind == "remove" else np.zeros(500, bool)
    assert np.isnan(after[:, gone]).all() and gone.any() == (kind == "remove")
    np.testing.assert_array_equal(after[:, ~gone], before[:, ~gone])


def test_the_reversed_take_has_the_reversed_tracks() -> None:
    anchors = chosen(2, 300)
    before = surface.positions(baked(2), anchors)
    after = surface.positions(bake(drawn(2), time=TimeMap(kind="reverse")), anchors)
    np.testing.assert_allclose(after, before[::-1], atol=1e-5)
    assert np.abs(after - before).max() > 0.01
