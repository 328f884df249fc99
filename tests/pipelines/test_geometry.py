"""Cameras and depth in one scale: fits against closed forms; joined cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import UnusableClip
from pipelines.estimators import cameras as camera_estimators
from pipelines.estimators import depth, depth_motion, geometry
from pipelines.estimators.cameras import Cameras
from pipelines.estimators.geometry import Choice, align, assume, fit, in_one_scale, observed
from pipelines.estimators.joined import joined, joined_weights
from renderers.scenes import cameras as pinhole

FRAMES, HEIGHT, WIDTH = 6, 48, 64


def scene(seed: int = 0, points: int = 400) -> tuple[Cameras, np.ndarray]:
    """Cameras with points on a bumpy surface that all frames see, and its exact depth."""
    rng = np.random.default_rng(seed)
    k = np.tile([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], (FRAMES, 1, 1))
    w2c = np.tile(np.eye(4), (FRAMES, 1, 1))
    w2c[:, 2, 3] = np.linspace(0, 1, FRAMES)  # it goes back
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    truth = np.stack([4 + np.sin(u / 9) + np.cos(v / 7) + n * 0.2 for n in range(FRAMES)]).astype(np.float32)
    row, column = rng.integers(0, (HEIGHT, WIDTH), (points, 2)).T
    at = np.zeros((points, 3))
    for n in range(FRAMES):  # a point is seen in one frame, at the middle of a pixel
        own = np.arange(points) % FRAMES == n
        world = pinhole.unproject(truth[n], k[n], w2c[n])
        at[own] = world[row[own], column[own]]
    seen = np.arange(points)[None] % FRAMES == np.arange(FRAMES)[:, None]
    found = geometry.standing(FRAMES, WIDTH, HEIGHT, 60.0)
    return (
        dataclasses.replace(
            found, intrinsics=k, extrinsics=w2c, motion="moving", points=at.astype(np.float32), seen=seen
        ),
        truth,
    )


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 50), st.floats(-20, 20), st.booleans(), st.integers(0, 1000))
def test_a_fit_withstands_four_in_ten_wrong_values(
    scale: float, shift: float, shifted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 3, 200)
    y = scale * x + shift * shifted
    wrong = rng.random(200) < 0.4
    y[wrong] += rng.uniform(0.5, 3, wrong.sum()) * scale * 3
    np.testing.assert_allclose(fit(x, y, shifted), (scale, shift * shifted), rtol=1e-6, atol=1e-6 * scale)


def test_a_fit_to_one_value_has_no_slope() -> None:
    np.testing.assert_allclose(fit(np.ones(30), np.full(30, 2.0), True), (0, 2))


@pytest.mark.parametrize(("unknown", "scale", "shift"), [("scale", 7.0, 0.0), ("scale and shift", 7.0, -1.5)])
def test_relative_depth_comes_into_the_scale_of_the_cameras(unknown, scale, shift) -> None:
    cameras, truth = scene()
    relative = ((1 / truth - shift) / scale).astype(np.float32)
    found = align(relative, unknown, observed(cameras))
    np.testing.assert_allclose(found, truth, rtol=2e-3)


def test_each_frame_has_a_scale_of_its_own_where_the_network_looks_at_one_at_a_time() -> None:
    cameras, truth = scene(points=6000)
    wobble = np.linspace(0.8, 1.2, FRAMES, dtype=np.float32)[:, None, None]
    found = align(wobble / truth + wobble - 1, "scale and shift", observed(cameras))
    np.testing.assert_allclose(found, truth, rtol=0.03)
    together = align(wobble / truth, "scale", observed(cameras))
    assert np.abs(together / truth - 1).max() > 0.1  # one scale for the clip is what such a network promises


def test_what_is_unknown_or_beyond_infinity_stays_unknown() -> None:
    cameras, truth = scene()
    relative = 1 / truth
    relative[:, :10, :10] = np.nan
    relative[:, -1, -1] = -5.0
    found = align(relative, "scale", observed(cameras))
    assert np.isnan(found[:, :10, :10]).all() and np.isnan(found[:, -1, -1]).all()
    assert np.isfinite(found[:, 10:, 10:-1]).all()


def test_depth_of_another_scene_is_refused() -> None:
    cameras, truth = scene()
    noise = np.random.default_rng(0).uniform(0.01, 1, truth.shape).astype(np.float32)
    with pytest.raises(UnusableClip) as caught:
        align(noise, "scale", observed(cameras))
    assert caught.value.reason == "depth_disagrees"
    few, _ = scene(points=12)
    with pytest.raises(UnusableClip, match="12 points, 20 are needed"):
        align(1 / truth, "scale", observed(few))
    upside_down = (1 - 1 / truth).astype(np.float32)
    with pytest.raises(UnusableClip):
        align(upside_down, "scale and shift", observed(cameras))


def test_the_cameras_own_depth_is_known_too() -> None:
    cameras, truth = scene()
    own = truth.copy()
    own[:, :20] = np.nan
    known = observed(dataclasses.replace(cameras, points=None, seen=None, depth=own))
    assert known.row.min() >= 20
    np.testing.assert_allclose(1 / known.inverse, truth[known.frame, known.row, known.column])
    np.testing.assert_allclose(align(3 / truth, "scale", known), truth, rtol=1e-4)
    assert observed(dataclasses.replace(cameras, points=None, seen=None)) is None


def test_frames_that_are_not_registered_say_nothing() -> None:
    cameras, _ = scene()
    registered = np.arange(FRAMES) != 3
    assert 3 not in observed(dataclasses.replace(cameras, registered=registered)).frame


def test_one_scale_is_the_median_depth_or_metres() -> None:
    cameras, truth = scene()
    found = in_one_scale(cameras, truth, "exact")
    assert found.unit == "median depth" and found.distance == pytest.approx(1, abs=0.01)
    factor = truth[0, 0, 0] / found.depth[0, 0, 0]
    np.testing.assert_allclose(found.depth * factor, truth, rtol=1e-5)
    np.testing.assert_allclose(found.cameras.extrinsics[:, :3, 3] * factor, cameras.extrinsics[:, :3, 3])
    np.testing.assert_allclose(found.cameras.points * factor, cameras.points, rtol=1e-5)
    assert found.error < 2e-3
    assert in_one_scale(cameras, truth * 1.1, "worse").error == pytest.approx(0.1, abs=5e-3)
    metric = in_one_scale(dataclasses.replace(cameras, metric=True), truth, "exact")
    assert metric.unit == "m" and np.array_equal(metric.depth, truth)
    with pytest.raises(UnusableClip, match="no pixel"):
        in_one_scale(cameras, np.full_like(truth, np.nan), "none")


def test_an_assumed_shift_puts_the_farthest_ten_times_as_far() -> None:
    inverse = np.linspace(-3, 9, 64 * 48, dtype=np.float32).reshape(1, 48, 64)
    found = assume(inverse, "scale and shift")
    near, far = np.percentile(found, (1, 99))
    assert far / near == pytest.approx(geometry.FARTHEST, rel=0.05) and np.isfinite(found).all()
    np.testing.assert_allclose(assume(inverse + 4, "scale"), 1 / (inverse + 4))


def test_cameras_go_where_they_are_told_about_the_median_depth_ahead() -> None:
    cameras, truth = scene()
    found = in_one_scale(cameras, truth, "exact")
    k, w2c = geometry.directed(found, "truck=0.5", 25, Fraction(24))
    middle = float(np.median(found.depth[0]))
    assert k.shape == (25, 3, 3) and w2c.shape == (25, 4, 4)
    np.testing.assert_allclose(w2c[-1, 0, 3], -0.5 * middle, rtol=0.02)
    np.testing.assert_array_equal(w2c[0], found.cameras.extrinsics[0])


def test_a_standing_camera_has_the_field_of_view_it_is_given() -> None:
    np.testing.assert_allclose(geometry.standing(2, 640, 360, 70.0).fov, 70.0)


def test_who_measures_is_one_card() -> None:
    assert [card.name for card in Choice().cards] == ["colmap", "motion"] and Choice().weights == ""
    assert [card.name for card in Choice(cameras="depth-anything-3-base").cards] == ["depth-anything-3-base"]
    both = Choice(depth="depth-anything-v2-base").cards
    card = joined(both)
    assert card.name == "colmap+depth-anything-v2-base" and not card.commercial_ok
    assert card.license == "BSD-3-Clause + CC-BY-NC-4.0" and set(card.packages) >= {"pycolmap", "torch"}
    same = joined([depth_motion.CARD, camera_estimators.COLMAP, depth_motion.CARD])
    assert same.license == f"{depth_motion.CARD.license} + BSD-3-Clause" and same.commercial_ok
    assert joined([depth_motion.CARD]) is depth_motion.CARD
    for wrong in ({"cameras": "none"}, {"depth": "none"}, {"fov": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Choice(**wrong)


def test_weights_are_hashed_together() -> None:
    assert joined_weights(["", ""]) == "" and joined_weights(["ab"]) == "ab"
    hashes = {joined_weights(each) for each in (["ab", ""], ["", "ab"], ["ab", "cd"], ["cd", "ab"])}
    assert len(hashes) == 4 and all(len(each) == 64 for each in hashes)
    assert depth.ESTIMATORS[0].name == "depth-anything-v2-small"


def test_modalities_built_together_measure_a_clip_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def load(name: str, **options: object) -> Callable[[Sequence[np.ndarray]], Cameras]:
        def estimate(frames: Sequence[np.ndarray]) -> Cameras:
            asked.append(name)
            if not frames[0].any():
                raise UnusableClip("no_texture", "black")
            return geometry.standing(len(frames), 8, 6, 60.0)

        return estimate

    monkeypatch.setattr(geometry.camera_estimators, "load", load)
    one, two = ([np.full((6, 8, 3), value, np.uint8)] * 3 for value in (9, 0))
    choice, other = geometry.Choice(), geometry.Choice(fov=50.0)
    assert geometry.locate(one, choice) is geometry.locate(one, choice) and len(asked) == 1
    assert geometry.locate(one, other) is not geometry.locate(one, choice) and len(asked) == 2
    for _ in range(2):  # what was refused is refused again
        with pytest.raises(UnusableClip, match="black"):
            geometry.locate(two, choice)
    assert len(asked) == 3
    geometry.locate(one, choice)
    assert len(asked) == 4  # of one clip alone
