"""Shapes are closed, face outward, have the size asked for and the volume they should; motions do what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import shapes
from renderers.scenes.spec import Motion, Object, Texture

SHAPES = ("box", "sphere", "cylinder", "cone", "torus", "capsule", "pyramid")
MOTIONS = ("still", "slide", "circle", "spin", "bounce", "swing")
# Of the box of size (a, b, c) around each, in closed form; a torus of rings 2 and 1 is 6 x 6 x 2, a capsule with
# radius 1/2 and a straight part of 1 is 1 x 1 x 2.
VOLUMES = {
    "box": 1.0,
    "sphere": math.pi / 6,
    "cylinder": math.pi / 4,
    "cone": math.pi / 12,
    "torus": 2 * math.pi**2 * 2 / (6 * 6 * 2),
    "capsule": (math.pi / 4 + math.pi / 6) / 2,
    "pyramid": 1 / 3,
}
STILL = Motion()
length = st.floats(0.1, 3)
degrees = st.floats(-360, 360)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15, deadline=None)
@given(size=st.tuples(length, length, length))
def test_mesh(shape: str, size: tuple[float, float, float]) -> None:
    vertices, triangles = shapes.mesh(shape, size)
    assert vertices.dtype == np.float32 and triangles.dtype == np.int32
    a, b, c = size
    np.testing.assert_allclose(vertices.min(0), (-a / 2, -b / 2, 0), atol=1e-6)
    np.testing.assert_allclose(vertices.max(0), (a / 2, b / 2, c), atol=1e-6)
    solid = trimesh.Trimesh(vertices.astype(float), triangles, process=False)
    assert solid.is_watertight and solid.is_winding_consistent
    # Positive only if the faces look outward; polyhedra inside curved things have a little less.
    assert solid.volume == pytest.approx(VOLUMES[shape] * a * b * c, rel=0.03)
    assert solid.volume <= VOLUMES[shape] * a * b * c * (1 + 1e-6)


def test_a_shape_nobody_knows() -> None:
    with pytest.raises(ValueError, match="teapot"):
        shapes.mesh("teapot", (1, 1, 1))


def test_meshes_are_not_shared() -> None:
    first, _ = shapes.mesh("box", (1, 1, 1))
    first[:] = 7
    assert shapes.mesh("box", (1, 1, 1))[0].max() == 1


def test_the_sides_of_a_pyramid_are_its_size() -> None:
    vertices, _ = shapes.mesh("pyramid", (2, 4, 1))
    corners = {tuple(np.round(corner, 5)) for corner in vertices[vertices[:, 2] == 0]} - {(0, 0, 0)}
    assert corners == {(-1, -2, 0), (-1, 2, 0), (1, -2, 0), (1, 2, 0)}


def test_ground_faces_up_and_has_no_holes() -> None:
    vertices, triangles = shapes.ground()
    corners = vertices[triangles].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).all() and (vertices[:, 2] == 0).all()
    assert normal[:, 2].sum() / 2 == pytest.approx(
        16 * shapes.GROUND_RADIUS**2 * math.sin(math.pi / 16), rel=1e-5
    )
    disc = trimesh.Trimesh(vertices.astype(float), triangles, process=False)
    assert disc.euler_number == 1 and disc.is_winding_consistent


def thing(motion: Motion = STILL, **more) -> Object:
    base = {
        "name": "it",
        "shape": "box",
        "size": (1.0, 0.5, 0.4),
        "position": (1.0, 2.0, 0.0),
        "heading": 30.0,
    }
    return Object(**{**base, "texture": Texture(kind="plain", a=(1, 0, 0)), "motion": motion, **more})


def rotation(turn: float) -> np.ndarray:
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize("kind", MOTIONS)
@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(length, length, length),
    heading=degrees,
    direction=degrees,
    phase=st.floats(0, 1),
    period=st.floats(0.3, 6),
    amplitude=st.floats(0, 2),
    lift=st.floats(0, 1),
)
def test_rigid_periodic_and_above_ground(
    kind: str,
    size: tuple[float, float, float],
    heading: float,
    direction: float,
    phase: float,
    period: float,
    amplitude: float,
    lift: float,
) -> None:
    amplitude *= 30 if kind == "swing" else 1
    motion = Motion(kind=kind, amplitude=amplitude, period=period, phase=phase, direction=direction)
    moving = thing(motion, size=size, heading=heading, position=(1.0, 2.0, lift))
    seconds = np.linspace(-1, 7, 60)
    pose = shapes.transforms(moving, seconds)
    assert pose.shape == (60, 4, 4) and pose.dtype == np.float64
    turn = pose[:, :3, :3]
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.tile(np.eye(3), (60, 1, 1)), atol=1e-9)
    assert (np.linalg.det(turn) > 0.99).all() and (pose[:, 3] == (0, 0, 0, 1)).all()
    again = shapes.transforms(moving, seconds + period)
    np.testing.assert_allclose(again, pose, atol=1e-6 * (1 + amplitude))
    one = shapes.transforms(moving, seconds[7:8])
    np.testing.assert_array_equal(one[0], pose[7])
    vertices, _ = shapes.mesh("box", size)
    corners = vertices @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
    assert corners[..., 2].min() > -1e-6


def test_still() -> None:
    pose = shapes.transforms(thing(), np.array([0.0, 3.0]))
    np.testing.assert_allclose(pose[:, :3, :3], [rotation(30)] * 2, atol=1e-12)
    np.testing.assert_allclose(pose[:, :3, 3], [(1, 2, 0)] * 2)


def test_slide_goes_to_and_fro_along_its_direction() -> None:
    motion = Motion(kind="slide", amplitude=0.5, period=4, direction=90)
    at = shapes.transforms(thing(motion), np.array([0.0, 1.0, 2.0, 3.0]))[:, :3, 3]
    np.testing.assert_allclose(at, [(1, 2, 0), (1, 2.5, 0), (1, 2, 0), (1, 1.5, 0)], atol=1e-12)


def test_circle_is_one_around_where_it_stands() -> None:
    motion = Motion(kind="circle", amplitude=0.5, period=4, phase=0.25)
    at = shapes.transforms(thing(motion), np.array([0.0, 1.0, 2.0, 3.0]))[:, :3, 3]
    np.testing.assert_allclose(at, [(1, 2.5, 0), (0.5, 2, 0), (1, 1.5, 0), (1.5, 2, 0)], atol=1e-12)


def test_spin_turns_anticlockwise_in_place() -> None:
    pose = shapes.transforms(thing(Motion(kind="spin", period=4, phase=0.5)), np.array([0.0, 1.0]))
    np.testing.assert_allclose(pose[:, :3, :3], [rotation(210), rotation(300)], atol=1e-12)
    np.testing.assert_allclose(pose[:, :3, 3], [(1, 2, 0)] * 2)


def test_bounce_is_free_fall() -> None:
    height = 0.8
    period = math.sqrt(8 * height / 9.81)
    motion = Motion(kind="bounce", amplitude=height, period=period)
    seconds = np.linspace(0, 0.999 * period, 101)
    z = shapes.transforms(thing(motion), seconds)[:, 2, 3]
    np.testing.assert_allclose(z, 9.81 * period / 2 * seconds - 9.81 / 2 * seconds**2, atol=1e-9)
    assert z.max() == pytest.approx(height, rel=1e-3)


def test_swing_is_a_pendulum() -> None:
    motion = Motion(kind="swing", amplitude=20, period=2, direction=90)
    hung = thing(motion, position=(1.0, 2.0, 1.0))
    rest, right, left = shapes.transforms(hung, np.array([0.0, 0.5, 1.5]))
    np.testing.assert_allclose(rest[:3, 3], (1, 2, 1), atol=1e-9)
    string = 9.81 / math.pi**2  # (T / 2 pi)^2 g with T = 2 s
    angle = math.radians(20)
    rise = string * (1 - math.cos(angle))
    np.testing.assert_allclose(right[:3, 3], (1, 2 + string * math.sin(angle), 1 + rise), atol=1e-9)
    np.testing.assert_allclose(left[:3, 3], (1, 2 - string * math.sin(angle), 1 + rise), atol=1e-9)
    # The string stays perpendicular to the underside and ends in the pivot.
    for pose in (rest, right, left):
        np.testing.assert_allclose(pose[:3, 3] + string * pose[:3, 2], (1, 2, 1 + string), atol=1e-9)


def test_what_swings_near_the_ground_just_clears_it() -> None:
    motion = Motion(kind="swing", amplitude=40, period=2)
    pose = shapes.transforms(thing(motion, heading=0.0), np.linspace(0, 2, 2001))
    vertices, _ = shapes.mesh("box", (1.0, 0.5, 0.4))
    corners = vertices @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
    assert corners[..., 2].min() == pytest.approx(0, abs=1e-4)
