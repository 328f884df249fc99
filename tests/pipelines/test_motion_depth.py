"""Depth from motion against the exact depth of a ray-cast room, and its parts against closed forms."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import UnusableClip
from pipelines.estimators import depth as estimators
from pipelines.estimators import depth_motion, sights
from pipelines.estimators.depth_motion import motion_depth
from pipelines.modalities import depth as depth_modality
from renderers import room
from renderers.scenes import cameras as pinhole
from renderers.scenes.trajectories import Move
from tests.pipelines.in_room import as_clip, cameras, taken

FRAMES = 17


@pytest.fixture(scope="module")
def still() -> room.Room:
    """Nothing moves but the camera."""
    return taken(1, Move(kind="truck", amount=0.6))


@pytest.fixture(scope="module")
def lively() -> room.Room:
    """Two boxes cross the picture while the camera goes ahead."""
    return taken(2, Move(kind="dolly", amount=0.8), movers=2)


def test_what_stands_still_is_measured(still: room.Room) -> None:
    depth, sure = motion_depth(still.frames, cameras(still))
    assert depth.shape == sure.shape == still.depth.shape and depth.dtype == sure.dtype == np.float32
    known = np.isfinite(depth)
    ratio = np.maximum(depth / still.depth, still.depth / depth)[known]
    assert known.mean() > 0.75
    assert (ratio < 1.25).mean() > 0.985 and np.median(ratio) < 1.02
    assert ((sure > 0) == known).all() and sure.max() <= 1
    doubtful = sure[known] < np.quantile(sure[known], 0.1)
    assert (ratio[doubtful] > 1.1).mean() > 2 * (ratio[~doubtful] > 1.1).mean()


def test_what_moves_is_unknown_and_not_wrong(lively: room.Room) -> None:
    depth, _ = motion_depth(lively.frames, cameras(lively))
    known, moves = np.isfinite(depth), lively.labels > 0
    assert moves.mean() > 0.05
    assert known[moves].mean() < 0.05 and known[~moves].mean() > 0.5
    ratio = np.maximum(depth / lively.depth, lively.depth / depth)
    assert (ratio[known & ~moves] < 1.25).mean() > 0.98


def test_what_goes_along_with_the_camera_mostly_is_too() -> None:
    """The hard case: such a box looks like a still one behind the wall, and parts of the wall refute it."""
    clip = taken(0, Move(kind="truck", amount=0.6), movers=2)
    depth, _ = motion_depth(clip.frames, cameras(clip))
    assert np.isfinite(depth)[clip.labels > 0].mean() < 0.3


def test_depth_is_in_the_scale_of_the_cameras_and_repeats(still: room.Room) -> None:
    given_ = cameras(still)
    scaled = given_.extrinsics.copy()
    scaled[:, :3, 3] *= 7
    one, _ = motion_depth(still.frames, given_)
    two, _ = motion_depth(still.frames, dataclasses.replace(given_, extrinsics=scaled))
    both = np.isfinite(one) & np.isfinite(two)
    assert both.mean() > 0.99 * np.isfinite(one).mean()
    np.testing.assert_allclose(two[both], 7 * one[both], rtol=1e-3)
    repeated, _ = motion_depth(still.frames, given_)
    np.testing.assert_array_equal(one, repeated)


def test_frames_without_a_camera_neither_get_nor_give_depth(still: room.Room) -> None:
    registered = np.ones(FRAMES, bool)
    registered[5] = False
    wrong = cameras(still).extrinsics.copy()
    wrong[5, :3, 3] += 10
    depth, sure = motion_depth(still.frames, cameras(still, registered=registered, extrinsics=wrong))
    assert np.isnan(depth[5]).all() and not sure[5].any()
    ratio = (depth / still.depth)[np.isfinite(depth)]
    assert (np.abs(ratio - 1) < 0.25).mean() > 0.985


def test_larger_pictures_are_compared_smaller(still: room.Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_motion, "LONGEST", 240)
    depth, sure = motion_depth(still.frames, cameras(still))
    assert depth.shape == sure.shape == still.depth.shape
    known = np.isfinite(depth)
    assert known.mean() > 0.6 and (np.abs(depth / still.depth - 1)[known] < 0.25).mean() > 0.97


@pytest.mark.parametrize("motion", ["static", "rotation"])
def test_without_parallax_there_is_no_depth(still: room.Room, motion: str) -> None:
    with pytest.raises(UnusableClip, match="no depth from motion") as caught:
        motion_depth(still.frames, cameras(still, motion=motion))
    assert caught.value.reason == "no_parallax"


def test_clips_that_say_nothing_are_refused(still: room.Room) -> None:
    few = np.arange(FRAMES) < 2
    with pytest.raises(UnusableClip, match="2 of 17 frames") as caught:
        motion_depth(still.frames, cameras(still, registered=few))
    assert caught.value.reason == "few_registered"
    plain = [np.full_like(frame, 128) for frame in still.frames]
    with pytest.raises(UnusableClip, match="too little texture") as caught:
        motion_depth(plain, cameras(still))
    assert caught.value.reason == "no_depth"


def test_slow_cameras_are_compared_over_more_frames() -> None:
    points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (200, 3)).astype(np.float32)
    k = np.tile([[300.0, 0, 160], [0, 300, 96], [0, 0, 1]], (97, 1, 1))
    for pace, stretch in ((0.02, 1), (0.008, 2), (0.0001, 4)):
        w2c = np.tile(np.eye(4), (97, 1, 1))
        w2c[:, 0, 3] = -pace * np.arange(97)
        w2c[:, :3, :3] = [
            cv2.Rodrigues(np.array([0, 0.01 * n, 0]))[0] for n in range(97)
        ]  # turning is no parallax
        w2c[:, :3, 3] = np.einsum("nij,nj->ni", w2c[:, :3, :3], w2c[:, :3, 3])
        assert depth_motion._stretch(points, k, w2c) == stretch
    assert depth_motion._stretch(None, k, w2c) == depth_motion._stretch(points, k[:20], w2c[:20]) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_exact_flow_gives_exact_depth_and_its_miss_is_the_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = cv2.resize(rng.uniform(2, 6, (3, 4)), (40, 24), interpolation=cv2.INTER_LINEAR)
    k = np.array([[50.0, 0, 20], [0, 50, 12], [0, 0, 1]])
    poses = np.tile(np.eye(4), (4, 1, 1))
    for pose in poses[1:]:
        pose[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.02, 3))[0]
        pose[:3, 3] = rng.normal(0, 0.2, 3)
    world = pinhole.unproject(depth, k, poses[0]).reshape(-1, 3)
    home = np.stack(np.meshgrid(np.arange(40), np.arange(24)), -1) + 0.5
    found = []
    for pose in poses[1:]:
        there = pinhole.project(world, k, pose)[0].reshape(24, 40, 2)
        go = (there - home).astype(np.float32)
        come = -go  # near enough to come back within a pixel, where it stays inside
        one = sights.sight(k, poses[0], k, pose, go, come)
        found.append(dataclasses.replace(one, seen=np.ones_like(one.seen)))
        assert one.miss((1 / depth).astype(np.float32)).max() < 1e-3
        nearer = (1.1 / depth).astype(np.float32)
        elsewhere = pinhole.project(world, k, pose)[0]
        moved = pinhole.project(pinhole.unproject(depth / 1.1, k, poses[0]).reshape(-1, 3), k, pose)[0]
        expected = np.linalg.norm(moved - elsewhere, axis=-1).reshape(24, 40)
        np.testing.assert_allclose(one.miss(nearer), expected, atol=2e-3)
    inverse, spread = sights.triangulate(found)
    strong = spread < 0.05
    np.testing.assert_allclose(inverse[strong], 1 / depth[strong], rtol=2e-3)


def test_what_others_see_through_is_dropped() -> None:
    """A wall at 4 m; a frame's patch at 8 m would be hidden by the others' wall, that at 2 m would not."""
    depth = np.full((49, 48, 64), 4.0, np.float32)
    depth[24, 10:20, 10:20], depth[24, 30:40, 40:50] = 8.0, 2.0
    k = np.tile([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], (49, 1, 1))
    w2c = np.tile(np.eye(4), (49, 1, 1))
    w2c[:, 0, 3] = -0.001 * np.arange(49)
    depth_motion._free_space(depth, k, w2c)
    assert np.isnan(depth[24, 10:20, 10:20]).all()
    assert (depth[24, 32:38, 42:48] == 2).all() and np.isfinite(depth[24]).mean() > 0.9
    assert np.isfinite(depth[0]).all()


@pytest.fixture(scope="module")
def found(still: room.Room) -> estimators.Depth:
    """The real estimator with the real cameras."""
    pytest.importorskip("pycolmap")
    return estimators.load("motion")(still.frames)


def test_it_is_an_estimator_of_depth_like_the_others(still: room.Room, found: estimators.Depth) -> None:
    assert estimators.weights_hash("motion") == "" and estimators.ESTIMATORS[-1].name == "motion"
    assert found.valid is not None and found.unknown == "scale"
    assert (np.isfinite(found.inverse) == found.valid).all() and 0.6 < found.valid.mean() < 1
    assert found.flicker is not None and found.flicker < 0.1
    product = (found.inverse * still.depth)[found.valid]
    assert (np.abs(product / np.median(product) - 1) < 0.25).mean() > 0.97


def test_the_depth_modality_draws_black_what_it_does_not_know(
    still: room.Room, found: estimators.Depth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimators, "load", lambda *args, **options: lambda frames: found)
    clip, params = as_clip(still), depth_modality.Params(estimator="motion")
    signal = depth_modality.signal(clip, params, np.random.default_rng(0))
    low, high = signal["ends"]
    restored = low + signal["inverse"].astype(float) * (high - low) / 65535
    np.testing.assert_allclose(
        restored[found.valid], found.inverse[found.valid], atol=2 * (high - low) / 65535
    )
    assert ((signal["inverse"] > 0) == found.valid).all()
    pictures = np.stack(depth_modality.canvas(clip, signal, params))
    assert not pictures[~found.valid].any() and np.ptp(pictures[found.valid]) > 200
    columns = depth_modality.columns(clip, signal, params)
    assert (
        columns["depth_covered"] == pytest.approx(found.valid.mean()) and columns["depth_unit"] == "relative"
    )
    picky = dataclasses.replace(params, min_covered=0.99)
    with pytest.raises(UnusableClip, match="of the pixels have a depth"):
        depth_modality.columns(clip, signal, picky)
