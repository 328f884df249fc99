"""Checks before rendering: each finds what it is for, and says so; a good camera passes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import checks
from renderers.scenes.bake import Baked, bake, camera_path, world_vertices
from renderers.scenes.cameras import intrinsics, project, world_to_camera
from renderers.scenes.random_scene import SceneSettings, random_scene
from renderers.scenes.spec import Camera, Motion, Object, SceneSpec, Texture
from renderers.scenes.trajectories import Move, Path, Trajectory

GREY = Texture(kind="plain", a=(0.5, 0.5, 0.5))
FRAMES = 5
EMPTY = replace(
    random_scene(0, 0, cameras=0, width=96, height=54, frames=FRAMES, fps=8, settings=SceneSettings()),
    objects=(),
)
ANN = replace(EMPTY.people[0], name="ann", position=(0.0, 0.0), height=1.7)
ANN = replace(ANN, performance=replace(ANN.performance, name="wave", sha256=""))


def scene(*objects: Object) -> SceneSpec:
    return replace(EMPTY, objects=objects, people=(ANN,), subject="ann")


def thing(x: float, y: float = 0.0, **more) -> Object:
    base = {"shape": "box", "size": (1.0, 1.0, 1.0), "position": (x, y, 0.0), "heading": 0.0, "texture": GREY}
    return Object(name="it", **{**base, **more})


def camera(eye=(4.0, 0.0, 1.5), *moves: Move, **more) -> Camera:
    return Camera(name="c", trajectory=Trajectory(eye=eye, target=(0.0, 0.0, 1.0), moves=moves, **more))


def judged(spec: SceneSpec, used: Camera) -> str | None:
    baked = bake(spec)
    return checks.geometry_problem(used, camera_path(spec, used, baked), baked)


def test_a_good_camera() -> None:
    assert judged(scene(thing(-3.0)), camera()) is None


@pytest.mark.parametrize(
    ("reason", "objects", "used"),
    [
        ("lens", (), camera(lens=300.0)),
        ("lens", (), camera((4.0, 0.0, 1.5), Move(kind="zoom", amount=0.1))),
        ("below_ground", (), camera((4.0, 0.0, 1.5), Move(kind="pedestal", amount=-2.0))),
        ("too_near", (thing(4.0, size=(1.0, 1.0, 3.0)),), camera()),  # inside
        ("too_near", (thing(4.0),), camera((4.0, 0.0, 1.3))),  # 0.3 m above
        (
            "too_near",
            (thing(2.0, size=(1.0, 1.0, 3.0)),),
            camera((4.0, 0.0, 1.5), Move(kind="dolly", amount=2.0)),
        ),
        ("too_near", (), camera((4.0, 0.0, 1.0), Move(kind="dolly", amount=3.9))),  # ann
        (
            "too_near",
            (thing(4.0, 1.6, motion=Motion(kind="slide", amplitude=1.0, period=2.0, direction=-90)),),
            camera((4.0, 0.0, 0.8)),
        ),
    ],
)
def test_what_is_wrong_is_said(reason: str, objects: tuple[Object, ...], used: Camera) -> None:
    problem = judged(scene(*objects), used)
    assert problem and problem.startswith(f"{reason}: ") and "c " in problem and "\n" not in problem


def test_a_path_that_is_not_finite() -> None:
    baked = bake(scene())
    path = camera_path(scene(), camera(), baked)
    broken = Path(c2w=path.c2w, lens=np.full_like(path.lens, np.nan))
    assert (checks.geometry_problem(camera(), broken, baked) or "").startswith("not_finite")


@settings(max_examples=30, deadline=None)
@given(
    gap=st.floats(0.02, 1.0),
    side=st.sampled_from([(1, 0), (-1, 0), (0, 1), (0, -1)]),
    heading=st.floats(0, 360),
)
def test_the_distance_is_that_of_the_turned_box(gap: float, side: tuple[int, int], heading: float) -> None:
    """A box 2 m wide and 1 m deep, the camera ``gap`` metres off one of its sides."""
    turn = np.radians(heading)
    half = np.array([1.0, 0.5])
    local = np.array(side) * (half + gap)
    x, y = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ local
    spec = scene(thing(6.0, 5.0, size=(2.0, 1.0, 2.0), heading=heading))
    baked = bake(replace(spec, people=(), subject="it"))
    eye = np.tile(np.eye(4), (FRAMES + 2, 1, 1))
    eye[:, :3, 3] = (6.0 + x, 5.0 + y, 1.0)
    problem = checks.geometry_problem(camera(), Path(c2w=eye, lens=np.full(FRAMES + 2, 35.0)), baked)
    if abs(gap - checks.DISTANCE) > 1e-6:
        assert (problem is not None) == (gap < checks.DISTANCE)
    if problem:
        said = float(problem.split(" within ")[1].split(" m of it")[0])
        assert said == pytest.approx(gap, abs=0.0051)


def test_people_who_walk_into_each_other_or_into_things() -> None:
    assert checks.scene_problem(bake(scene(thing(2.0)))) is None
    assert "collision: ann" in (checks.scene_problem(bake(scene(thing(0.3)))) or "")
    ghost = replace(scene(), people=(ANN, replace(ANN, name="bob", position=(0.2, 0.0))))
    assert "bob" in (checks.scene_problem(bake(ghost)) or "")
    hung = thing(0.0, position=(0.0, 0.0, 2.5), size=(0.5, 0.5, 0.5))
    assert checks.scene_problem(bake(scene(hung))) is None


def test_most_random_scenes_are_fine() -> None:
    take = {"cameras": 0, "width": 96, "height": 54, "frames": 33, "fps": 8, "settings": SceneSettings()}
    problems = [checks.scene_problem(bake(random_scene(1, index, **take))) for index in range(12)]
    assert sum(problem is None for problem in problems) >= 11, problems


# Pictures: 5 of 36 x 64 pixels, the ground below, the background above, the subject (2) a standing box.
K, H, W = 5, 36, 64


def pictures(left: int = 28, width: int = 8, cover: int = 0, sky: int = 10) -> tuple[np.ndarray, ...]:
    ids = np.zeros((K, H, W), int)
    ids[:, sky:] = 1
    depth = np.where(ids == 0, 1e10, 5.0)
    ids[:, 8:28, max(0, left) : max(0, left + width)] = 2
    depth[ids == 2] = 4.0
    ids[:, 8:28, max(0, left) : max(0, left + cover)] = 3
    depth[ids == 3] = 2.0
    x, y = np.meshgrid(np.arange(left, left + width) + 0.5, np.arange(8, 28) + 0.5)
    points = np.stack([x, y], -1).reshape(-1, 2)
    return ids, depth, np.tile(points, (K, 1, 1))


def look(ids: np.ndarray, depth: np.ndarray, points: np.ndarray, **more) -> str:
    return checks.picture_problem(ids, depth, 2, points, **more) or "fine"


def test_good_pictures() -> None:
    assert look(*pictures()) == "fine"
    assert look(*pictures(cover=5)) == "fine"  # 3/8 of it are seen
    assert look(*pictures(left=-3)) == "fine"  # 5/8 of it are in the picture
    assert look(*pictures(left=50)) == "fine"  # far right in a wide picture


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("out_of_frame: 38%", pictures(left=-5)),
        ("out_of_frame: 0%", pictures(left=70)),
        ("covered: 25%", pictures(cover=6)),
        ("covered: 0%", pictures(cover=8)),
        ("empty: 9", pictures(sky=36)),
    ],
)
def test_bad_pictures(reason: str, shown: tuple[np.ndarray, ...]) -> None:
    assert look(*shown).startswith(reason)


def test_too_small() -> None:
    ids, depth, points = pictures()
    ids[:, 8:28, 28:36] = 1
    ids[:, 20:22, 30:32] = 2
    points[:] = (31.0, 21.0)
    assert look(ids, depth, points).startswith("too_small: the subject fills 0.17%")


def test_something_very_near() -> None:
    ids, depth, points = pictures()
    depth[1, :, :12] = 0.1  # in one picture: enough to throw the take away
    assert look(ids, depth, points).startswith("too_near: 19%")
    depth[1, :, 6:12] = 4.0
    assert look(ids, depth, points) == "fine"


def test_behind_the_camera() -> None:
    ids, depth, points = pictures()
    assert look(ids, depth, np.full_like(points, np.nan)).startswith("out_of_frame: 0%")


def test_the_subject_may_leave_some_pictures() -> None:
    ids, depth, points = pictures()
    gone = [pictures(left=70)[2], pictures(left=70)[0]]
    for away in range(K + 1):
        seen, where = ids.copy(), points.copy()
        seen[:away], where[:away] = gone[1][:away], gone[0][:away]
        assert (look(seen, depth, where) == "fine") == (away <= 1)


def test_what_else_must_be_seen() -> None:
    ids, depth, points = pictures()
    assert look(ids, depth, points, also=[1]) == "fine"
    assert look(ids, depth, points, also=[1, 7]).startswith("unseen: body 7")
    ids[3, 30:34, 2:6] = 7  # a glimpse in one picture
    assert look(ids, depth, points, also=[1, 7]).startswith("unseen: body 7")
    ids[:, 30:34, 2:6] = 7
    assert look(ids, depth, points, also=[1, 7]) == "fine"


def drawn_by_hand(
    baked: Baked, used: Camera, spec: SceneSpec, height: int, width: int
) -> tuple[np.ndarray, ...]:
    """A tiny painter's-algorithm render: triangles far to near, an independent picture of the geometry."""
    path = camera_path(spec, used, baked)
    entries = [1, FRAMES]
    K_ = intrinsics(used, path.lens[entries], width, height)
    w2c = world_to_camera(path.c2w[entries])
    ids, depth = np.zeros((2, height, width), np.int32), np.full((2, height, width), 1e10)
    for picture in range(2):
        faces = []
        for body in baked.bodies[1:]:
            pixels, z = project(world_vertices(body, [entries[picture]])[0], K_[picture], w2c[picture])
            faces += [(z[t].mean(), body.index, pixels[t]) for t in body.triangles if (z[t] > 0.1).all()]
        for distance, index, corners in sorted(faces, key=lambda face: -face[0]):
            mask = np.zeros((height, width), np.uint8)
            cv2.fillConvexPoly(mask, np.round(corners * 16 - 8).astype(np.int32), 1, shift=4)
            ids[picture][mask > 0], depth[picture][mask > 0] = index, distance
        ground = (ids[picture] == 0) & (np.arange(height) > height / 2)[:, None]
        ids[picture][ground], depth[picture][ground] = 1, 5.0
    body = baked.body(spec.subject)
    points, _ = project(world_vertices(body, entries), K_[:, None], w2c[:, None])
    return ids, depth, points[:, 0] if points.ndim == 4 else points


@pytest.mark.parametrize(
    ("expected", "objects", "eye", "moves"),
    [
        ("fine", (), (4.0, 0.0, 1.2), ()),
        ("covered", (thing(1.5, size=(0.3, 2.5, 2.5)),), (4.0, 0.0, 1.2), ()),
        ("out_of_frame", (), (4.0, 0.0, 1.2), (Move(kind="truck", amount=9.0),)),
        ("too_small", (), (60.0, 0.0, 4.0), ()),
    ],
)
def test_real_geometry(
    expected: str, objects: tuple[Object, ...], eye: tuple[float, float, float], moves: tuple[Move, ...]
) -> None:
    spec = scene(*objects)
    baked = bake(spec)
    used = camera(eye, *moves)
    ids, depth, points = drawn_by_hand(baked, used, spec, 36, 64)
    if moves:  # judged where it ends
        ids, depth, points = ids[1:], depth[1:], points[1:]
    problem = checks.picture_problem(ids, depth, baked.body("ann").index, points)
    assert (problem or "fine").startswith(expected)
