"""The textured room against closed forms and against itself from elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers import room
from renderers.leaves import leaves, pyramid, sample
from renderers.scenes import cameras
from renderers.scenes.trajectories import Move

WIDTH, HEIGHT, FRAMES = 96, 64, 5


def take(*moves: Move, frames: int = FRAMES, seed: int = 0, movers: int = 0) -> room.Room:
    K, w2c = room.camera_path(moves, frames, WIDTH, HEIGHT, seed=seed)
    return room.render(K, w2c, WIDTH, HEIGHT, seed=seed, movers=movers)


def facing(eye: tuple[float, float, float]) -> np.ndarray:
    """World-to-camera [1, 4, 4] of a camera that looks along +y."""
    w2c = np.eye(4)
    w2c[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    w2c[:3, 3] = -w2c[:3, :3] @ eye
    return w2c[None]


def test_walls_floor_and_ceiling_are_planes_at_their_distances() -> None:
    K = np.array([[[40.0, 0, 48], [0, 40, 32], [0, 0, 1]]])
    behind = facing((0.5, -3.0, 1.2))
    behind[0, 0], behind[0, 2] = -behind[0, 0], -behind[0, 2]  # turn round: the near half has no boxes
    taken = room.render(K, behind, WIDTH, HEIGHT)
    rays = cameras.unproject(np.ones((1, HEIGHT, WIDTH)), K, behind)[0] - (0.5, -3.0, 1.2)
    with np.errstate(divide="ignore"):
        ways = [
            (room.HIGH[a] if s else room.LOW[a]) - (0.5, -3.0, 1.2)[a]
            for a in range(3)
            for s in (False, True)
        ]
        walls = np.stack([ways[2 * a + s] / rays[..., a] for a in range(3) for s in (0, 1)])
    expected = np.where(walls > 0, walls, np.inf).min(0)
    np.testing.assert_allclose(taken.depth[0], expected, rtol=1e-6)
    assert taken.depth[0, 32, 48] == pytest.approx(2.5, rel=1e-6)  # 5.5 - 3


def test_depth_of_two_views_is_of_one_world() -> None:
    taken = take(Move(kind="arc", amount=25.0), frames=2)
    world = cameras.unproject(taken.depth, taken.intrinsics, taken.extrinsics)
    pixels, depth = cameras.project(world[0].reshape(-1, 3), taken.intrinsics[1], taken.extrinsics[1])
    seen = room.tracks(taken, _every_pixel(0))[1][1]
    at = np.floor(pixels[seen]).astype(int)
    there = taken.depth[1, at[:, 1], at[:, 0]]
    # Half a pixel lies between a track and the centre of its pixel: on a plane that is little of its depth.
    assert np.median(np.abs(there / depth[seen] - 1)) < 2e-3
    assert 0.6 < seen.mean() < 0.98


def _every_pixel(frame: int) -> np.ndarray:
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return np.stack([np.full(u.size, frame), u.ravel(), v.ravel()], axis=1)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2), frame=st.integers(0, FRAMES - 1), movers=st.integers(0, 2))
def test_tracks_of_what_stands_are_its_depth_reprojected(seed: int, frame: int, movers: int) -> None:
    taken = take(Move(kind="truck", amount=0.5), Move(kind="handheld", amount=0.8), seed=seed, movers=movers)
    queries = _every_pixel(frame)[::97]
    pixels, visible = room.tracks(taken, queries)
    y, x = queries[:, 2].astype(int), queries[:, 1].astype(int)
    still = taken.labels[frame, y, x] == 0
    world = cameras.unproject(taken.depth, taken.intrinsics, taken.extrinsics)[frame, y, x][still]
    for n in range(FRAMES):
        expected, _ = cameras.project(world, taken.intrinsics[n], taken.extrinsics[n])
        np.testing.assert_allclose(pixels[n][still], expected, atol=1e-3)
    np.testing.assert_allclose(pixels[frame], queries[:, 1:], atol=1e-9)
    assert visible[frame].all()


def test_a_moving_box_takes_its_points_along_and_hides_what_it_passes() -> None:
    taken = take(frames=9, seed=1, movers=2)
    moving = np.argwhere(taken.labels[4] == 2)[::7]
    queries = np.column_stack([np.full(len(moving), 4), moving[:, 1] + 0.5, moving[:, 0] + 0.5])
    pixels, visible = room.tracks(taken, queries)
    assert np.ptp(pixels[..., 0], axis=0).min() > 5
    for n in range(9):
        at = np.floor(pixels[n][visible[n]]).astype(int)
        assert (taken.labels[n, at[:, 1], at[:, 0]] == 2).mean() > 0.9  # but for outlines
    # What stands behind where a box will be is hidden exactly while the box is there, away from outlines.
    still = _every_pixel(0)[taken.labels[0].ravel() == 0]
    _, seen = room.tracks(taken, still)
    covered = taken.labels[8].ravel()[taken.labels[0].ravel() == 0] > 0
    assert covered.any()
    np.testing.assert_array_equal(seen[8], ~covered)


def test_pictures_keep_the_colour_of_a_point_and_have_corners() -> None:
    K, w2c = room.camera_path((Move(kind="truck", amount=0.4),), 2, 320, 192, seed=2)
    taken = room.render(K, w2c, 320, 192, seed=2, movers=1)
    corners = cv2.SIFT.create().detect(taken.frames[0], None)
    assert len(corners) > 800
    queries = np.array([(0, point.pt[0] + 0.5, point.pt[1] + 0.5) for point in corners[:400]])
    pixels, visible = room.tracks(taken, queries)
    both = visible.all(0)

    def colours(n: int) -> np.ndarray:
        at = (pixels[n][both] - 0.5).astype(np.float32)
        return np.asarray(cv2.remap(taken.frames[n].astype(np.float32), at[:, None], None, cv2.INTER_LINEAR))

    change = np.abs(colours(0) - colours(1)).mean()
    chance = np.abs(colours(0) - np.roll(colours(1), 1, axis=0)).mean()
    assert change < chance / 5


def test_the_same_request_gives_the_same_bytes_and_movers_change_nothing_else() -> None:
    one, two = take(movers=1, seed=2), take(movers=1, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, two.frames, strict=True))
    np.testing.assert_array_equal(one.depth, two.depth)
    without = take(seed=2)
    still = one.labels == 0
    np.testing.assert_array_equal(one.depth[still], without.depth[still])
    assert (one.depth[~still] < without.depth[~still]).all()
    assert not np.array_equal(one.frames[0], take(seed=1).frames[0])


def test_bad_requests_are_refused() -> None:
    K, w2c = room.camera_path((), 2, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="extrinsics"):
        room.render(K, w2c[0], WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="leaves the room"):
        room.render(K[:1], facing((9.0, 0.0, 1.0)), WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="0 to 4"):
        room.render(K, w2c, WIDTH, HEIGHT, movers=5)


def test_sampling_is_linear_in_place_and_a_mean_at_a_distance() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, axis=0).repeat(3, axis=2)
    textures = pyramid([ramp, leaves(np.random.default_rng(0), 64, 96)])
    x = np.linspace(2, 60, 30)
    near = sample(textures, np.zeros(30, int), np.column_stack([x, x]), np.ones(30))
    np.testing.assert_allclose(near, np.repeat(3 * (x - 0.5)[:, None], 3, axis=1), atol=1e-9)
    far = sample(textures, np.ones(1, int), np.array([[16.0, 16.0]]), np.full(1, 32.0))
    first = int(textures.start[1, 0])
    picture = textures.texels[first : first + 64 * 96].reshape(96, 64, 3)
    np.testing.assert_allclose(far[0], picture[:32, :32].mean((0, 1)), atol=2.0)
