"""Cameras: closed forms, and the ladder in a room that is known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from catalogs.errors import UnusableClip
from pipelines.estimators import cameras
from pipelines.estimators.bundle import Pairs, State, misses, solve, triangulated
from pipelines.estimators.camera_errors import compare, rotation_error_deg, trajectory_error, umeyama
from pipelines.estimators.camera_path import filled, posed, rebased
from pipelines.estimators.camera_tracks import follow
from pipelines.estimators.rotation import nearest_rotation
from renderers import room
from renderers.scenes.cameras import project, world_to_camera
from renderers.scenes.trajectories import Move

SIZE = (320, 192)


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Processes of these tests do not outlive them."""
    yield
    cameras.load.cache_clear()


def taken(*moves: Move, frames: int = 13, movers: int = 0) -> room.Room:
    return room.render(*room.camera_path(moves, frames, *SIZE, seed=1), *SIZE, seed=1, movers=movers)


@pytest.fixture(scope="module")
def arc() -> room.Room:
    return taken(Move(kind="arc", amount=25.0), movers=1)


# Closed forms


def drawn(seed: int, frames: int = 6, zoom: float = 0.0, reach: float = 0.0) -> tuple[Pairs, State]:
    """Exact places of points that are followed from frame 0, and the cameras that see them so."""
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, frames)[:, None]
    turns = u * rng.uniform(-0.3, 0.3, 3)
    turns[:, 1] += 0.2 * u[:, 0]
    inverse = rng.uniform(0.3, 1.5, 60)
    state = State(
        logs=np.log(rng.uniform(220, 420)) + zoom * u[:, 0],
        rotation=Rotation.from_rotvec(turns).as_matrix(),
        shift=reach * u * (rng.uniform(0.5, 1), *rng.uniform(-0.5, 0.5, 2)),
        inverse=inverse,
    )
    here = np.tile(rng.uniform((-120, -70), (120, 70), (60, 2)), (frames - 1, 1))
    two = np.repeat(np.arange(1, frames), 60)
    point = np.tile(np.arange(60), frames - 1)
    found = Pairs(one=0 * two, two=two, point=point, here=here, there=np.zeros_like(here))
    focal = np.exp(state.logs)
    world = np.column_stack([here[:60] / focal[0], np.ones(60)]) / inverse[:, None]
    K = cameras.matrices(focal, 0, 0)
    pixels, _ = project(world, K, posed(state.rotation, state.shift))
    there = pixels[1:].reshape(-1, 2)
    return Pairs(one=found.one, two=two, point=point, here=here, there=there), state


@given(seed=st.integers(0, 999), zoom=st.sampled_from([0.0, 0.4, -0.4]))
@settings(deadline=None, max_examples=12)
def test_a_turning_camera_is_found_with_its_lens(seed: int, zoom: float) -> None:
    found, state = drawn(seed, zoom=zoom)
    begin = State(
        logs=np.full(6, np.log(300.0)),
        rotation=np.tile(np.eye(3), (6, 1, 1)),
        shift=0 * state.shift,
        inverse=np.ones(60),
    )
    fit = solve(found, begin, 300.0, zooms=zoom != 0, moves=False)
    assert fit.measured
    np.testing.assert_allclose(fit.state.logs, state.logs, atol=0.03)
    assert (
        rotation_error_deg(posed(fit.state.rotation, 0 * state.shift), posed(state.rotation, 0 * state.shift))
        < 0.3
    )


@given(seed=st.integers(0, 999))
@settings(deadline=None, max_examples=8)
def test_exact_cameras_leave_nothing_over_and_are_kept(seed: int) -> None:
    found, state = drawn(seed, reach=0.6)
    assert np.abs(misses(found, state)).max() < 1e-9
    blind = State(logs=state.logs, rotation=state.rotation, shift=state.shift, inverse=np.ones(60))
    np.testing.assert_allclose(triangulated(found, blind).inverse, state.inverse, rtol=1e-6)
    rng = np.random.default_rng(seed)
    shaken = State(
        logs=state.logs + 0.1,
        rotation=state.rotation @ Rotation.from_rotvec([[0, 0, 0], *rng.normal(0, 0.01, (5, 3))]).as_matrix(),
        shift=state.shift + rng.normal(0, 0.02, (6, 3)) * (np.arange(6) > 0)[:, None],
        inverse=state.inverse * rng.uniform(0.8, 1.2, 60),
    )
    fit = solve(found, shaken, float(np.exp(state.logs[0])), zooms=False, moves=True)
    assert np.abs(misses(found, fit.state)).max() < 0.1
    assert (
        trajectory_error(posed(fit.state.rotation, fit.state.shift), posed(state.rotation, state.shift))
        < 0.02
    )


def test_a_camera_that_only_shifts_shows_no_focal_length() -> None:
    found, state = drawn(0, reach=0.6)
    level = State(
        logs=state.logs, rotation=np.tile(np.eye(3), (6, 1, 1)), shift=state.shift, inverse=state.inverse
    )
    there = misses(Pairs(**{**vars(found), "there": 0 * found.there}), level)
    straight = Pairs(**{**vars(found), "there": there})
    assert not solve(straight, level, 300.0, zooms=False, moves=True).measured
    assert solve(found, state, 300.0, zooms=False, moves=True).measured


@given(
    turn=st.tuples(*[st.floats(-1.0, 1.0)] * 3), focal=st.floats(50, 2000), scale=st.sampled_from([1.0, -3.0])
)
def test_the_rotation_in_a_homography(turn: tuple[float, ...], focal: float, scale: float) -> None:
    rotation = Rotation.from_rotvec(turn).as_matrix()
    k = np.diag([focal, focal, 1.0])
    found = nearest_rotation(scale * k @ rotation @ np.linalg.inv(k), focal)
    np.testing.assert_allclose(found, rotation, atol=1e-6)


@given(seed=st.integers(0, 999), scale=st.floats(0.1, 10))
def test_a_similarity_is_undone(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    points, rotation = rng.normal(size=(9, 3)), Rotation.random(random_state=seed).as_matrix()
    moved = scale * points @ rotation.T + rng.normal(size=3)
    found = umeyama(points, moved)
    assert found.scale == pytest.approx(scale) and np.linalg.det(found.rotation) == pytest.approx(1)
    np.testing.assert_allclose(found(points), moved, atol=1e-8 * max(1, scale))


def test_errors_are_what_was_put_in() -> None:
    count = 11
    u = np.linspace(0, 1, count)
    turns = Rotation.from_rotvec(np.column_stack([0 * u, 0.5 * u, 0 * u])).as_matrix()
    true = posed(turns, np.column_stack([u, 0 * u, u**2]))
    K = cameras.matrices(np.full(count, 300.0), *SIZE)
    wrong = true.copy()
    wrong[1:, :3, :3] = Rotation.from_rotvec([0, 0, np.radians(2)]).as_matrix() @ true[1:, :3, :3]
    wrong[:, :3, 3] = (wrong[:, :3, :3] @ np.swapaxes(true[:, :3, :3], 1, 2) @ true[:, :3, 3:])[..., 0] * 5
    found = cameras.Cameras(
        intrinsics=1.1 * K,
        extrinsics=wrong,
        motion="moving",
        registered=np.ones(count, bool),
        reprojection_px=None,
        points=None,
        seen=None,
        depth=None,
        metric=False,
        confidence=1.0,
    )
    errors = compare(found, K, true)
    assert errors["focal_error"] == pytest.approx(0.1) and errors["rotation_deg"] == pytest.approx(2)
    assert errors["trajectory_error"] == pytest.approx(0, abs=1e-9)  # five times as large, and the same path
    centres = world_to_camera(true)
    centres[::2, 1, 3] += 0.02
    off = trajectory_error(world_to_camera(centres), true)
    length = np.linalg.norm(np.diff(world_to_camera(true)[:, :3, 3], axis=0), axis=1).sum()
    assert 0.5 * 0.01 / length < off <= 0.01 / length  # at best half of it is shifted away


def test_missing_frames_are_interpolated_and_ends_held() -> None:
    u = np.arange(9) / 8
    turns = Rotation.from_rotvec(np.outer(u, [0.1, 0.7, -0.2])).as_matrix()
    c2w = posed(turns, np.outer(u, [1.0, 2.0, -0.5]))
    true, focal = world_to_camera(c2w), 200 * 2**u
    known = np.array([1, 2, 5, 7])
    poses, lenses = filled(known, true[known], focal[known], 9)
    np.testing.assert_allclose(poses[1:8], true[1:8], atol=1e-9)
    np.testing.assert_allclose(lenses[1:8], focal[1:8])
    np.testing.assert_allclose(poses[[0, 8]], true[[1, 7]], atol=1e-9)
    moved = rebased(true)
    np.testing.assert_array_equal(moved[0], np.eye(4))
    np.testing.assert_allclose(moved[5] @ true[0], true[5], atol=1e-9)


# The ladder


def test_structure_from_motion_in_the_room(arc: room.Room) -> None:
    estimate = cameras.load("colmap")
    found = estimate(arc.frames)
    errors = compare(found, arc.intrinsics, arc.extrinsics)
    assert found.motion == "moving" and found.registered.all() and found.registered_fraction == 1
    assert (
        errors["focal_error"] < 0.02 and errors["rotation_deg"] < 0.3 and errors["trajectory_error"] < 0.005
    )
    np.testing.assert_array_equal(found.extrinsics[0], np.eye(4))
    assert found.fov.shape == (13,) and abs(found.fov[0] - 61.9) < 4
    assert found.reprojection_px is not None and found.reprojection_px < 0.4 and found.confidence > 0.9
    assert found.points is not None and found.seen is not None and found.seen.shape == (13, len(found.points))
    # Points are where the room's surfaces are, in the path's scale.
    scale = umeyama(
        world_to_camera(found.extrinsics)[:, :3, 3], world_to_camera(arc.extrinsics)[:, :3, 3]
    ).scale
    pixels, depth = project(found.points, found.intrinsics[0], np.eye(4))
    inside = ((pixels >= 0) & (pixels < SIZE)).all(axis=1) & found.seen[0]
    x, y = pixels[inside].astype(int).T
    assert inside.sum() > 100
    assert np.median(np.abs(scale * depth[inside] / arc.depth[0, y, x] - 1)) < 0.02
    again = estimate(arc.frames)
    for name in ("intrinsics", "extrinsics", "points", "seen"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))


def test_a_camera_that_turns_among_moving_things() -> None:
    clip = taken(Move(kind="pan", amount=20.0), frames=9, movers=2)
    found = cameras.load("colmap")(clip.frames)
    errors = compare(found, clip.intrinsics, clip.extrinsics)
    assert found.motion == "rotation" and found.points is None and found.confidence > 0.9
    assert errors["focal_error"] < 0.02 and errors["rotation_deg"] < 0.2
    assert not found.extrinsics[:, :3, 3].any()


def test_a_lens_that_zooms_where_it_stands() -> None:
    clip = taken(Move(kind="zoom", amount=1.5), frames=9)
    found = cameras.load("colmap", prior_fov=70)(clip.frames)
    assert found.motion == "rotation"
    ratio, true = (each[:, 0, 0] / each[0, 0, 0] for each in (found.intrinsics, clip.intrinsics))
    np.testing.assert_allclose(ratio, true, rtol=0.01)
    assert rotation_error_deg(found.extrinsics, clip.extrinsics) < 0.1
    assert found.confidence < 0.5 and abs(found.fov[0] - 70) < 5  # how wide it is at all, nobody can tell


def test_a_camera_on_a_tripod_stands_though_people_walk() -> None:
    clip = taken(frames=5, movers=4)
    found = cameras.load("colmap", prior_fov=40)(clip.frames)
    assert found.motion == "static" and found.registered.all()
    np.testing.assert_array_equal(found.extrinsics, np.tile(np.eye(4), (5, 1, 1)))
    np.testing.assert_allclose(found.fov, 40)
    assert 0.4 < found.confidence <= 0.5  # its field of view is assumed


def test_a_straight_path_is_found_and_its_focal_length_assumed() -> None:
    clip = taken(Move(kind="truck", amount=0.6), frames=9)
    found = cameras.load("colmap", prior_fov=55)(clip.frames)
    assert found.motion == "moving" and 0.4 < found.confidence <= 0.5
    np.testing.assert_allclose(found.fov, 55, atol=1)
    assert trajectory_error(found.extrinsics, clip.extrinsics) < 0.01


def noise(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (50, 80, 3), np.uint8)
    return np.asarray(cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def tearing(count: int) -> list[np.ndarray]:
    """Stripes that each go their own way: nothing rigid."""
    picture, rng = noise(0), np.random.default_rng(1)
    ways = rng.uniform(-4, 4, (12, 2))
    frames = []
    for n in range(count):
        parts = [np.roll(picture, np.rint(n * way).astype(int), (0, 1)) for way in ways]
        frames.append(np.concatenate([p[16 * k : 16 * k + 16] for k, p in enumerate(parts)]))
    return frames


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([noise(0)], "too_short"),
        ([np.full((192, 320, 3), 90, np.uint8)] * 4, "no_texture"),
        (
            [*[np.roll(noise(0), n, 1) for n in range(4)], *[np.roll(noise(1), n, 1) for n in range(4)]],
            "cut_inside",
        ),
        (tearing(7), "not_registered"),
    ],
)
def test_what_has_no_camera_is_refused(frames: list[np.ndarray], reason: str) -> None:
    with pytest.raises(UnusableClip) as refused:
        cameras.load("colmap")(frames)
    assert refused.value.reason == reason and any(digit.isdigit() for digit in refused.value.message)


def test_chains_cover_a_clip_whose_points_leave() -> None:
    picture = np.asarray(cv2.resize(noise(3), (1280, 192), interpolation=cv2.INTER_CUBIC), np.uint8)[..., 0]
    chains = follow([picture[:, 20 * n : 20 * n + 320] for n in range(30)])
    ends = [(chain.start, chain.start + len(chain.alive) - 1) for chain in chains]
    assert len(chains) > 2 and ends[0][0] == 0 and ends[-1][1] == 29
    assert all(one[1] > two[0] > one[0] for one, two in pairwise(ends))
    for chain in chains:
        last = chain.alive[-1]
        gone = chain.pixels[-1, last] - chain.pixels[0, last]
        np.testing.assert_allclose(np.median(gone, axis=0), [-20 * (len(chain.alive) - 1), 0], atol=0.2)
