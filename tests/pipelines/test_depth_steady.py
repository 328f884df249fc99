"""Depth that keeps still, and how much it flickers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.estimators.depth_steady import CUT, flicker, follow, steady
from tests.pipelines.moving import slide
from tests.pipelines.tiny_depth import panned


@given(seed=st.integers(0, 2**16), gain=st.floats(0, 0.2), shift=st.floats(0, 0.5))
@settings(deadline=None, max_examples=12)
def test_scale_and_shift_that_change_from_frame_to_frame_are_taken_out(
    seed: int, gain: float, shift: float
) -> None:
    frames, true = panned(17, 160, 96, seed)
    rng = np.random.default_rng(seed)
    scales, shifts = np.exp(rng.normal(0, gain, (17, 1, 1))), rng.normal(0, shift, (17, 1, 1))
    raw = (true * scales + shifts + rng.normal(0, 0.005, true.shape)).astype(np.float32)
    found = steady(raw, follow(frames))
    fit = np.polyfit(true.ravel(), found.ravel(), 1)
    assert fit[0] > 0
    assert (found - np.polyval(fit, true)).std() < 0.05 * fit[0] * true.std()  # one scale and shift for all


def test_a_still_scene_keeps_its_values_though_a_thing_comes_nearer() -> None:
    frames, true = panned(17, 160, 96, still=True)
    rng = np.random.default_rng(1)
    for n, frame in enumerate(frames):  # a textured square grows
        size = 20 + n
        patch = np.random.default_rng(5).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        frames[n] = frame.copy()
        frames[n][30 : 30 + size, 50 : 50 + size] = cv2.resize(patch, (size, size))
        true[n, 30 : 30 + size, 50 : 50 + size] = 6 + 0.3 * n
    raw = (true * np.exp(rng.normal(0, 0.1, (17, 1, 1)))).astype(np.float32)
    found = steady(raw, follow(frames))
    behind = found[:, :, 100:].reshape(17, -1)
    wobble = (behind.max(axis=0) - behind.min(axis=0)) / behind.std()
    assert wobble.max() < 0.15
    thing = found[:, 35:45, 55:65].mean(axis=(1, 2))
    assert (np.diff(thing) > 0).mean() > 0.9  # and it does come nearer


def test_frames_that_cannot_be_followed_are_left_as_they_are() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(4)]
    raw = rng.uniform(0, 1, (4, 48, 64)).astype(np.float32)
    np.testing.assert_allclose(steady(raw, follow(frames)), raw, atol=1e-5)
    blank = [np.zeros((48, 64, 3), np.uint8)] * 4
    level = np.ones((4, 48, 64), np.float32)
    np.testing.assert_array_equal(steady(level, follow(blank)), level)
    level[2, 0, 0] = 5  # nearly level
    assert np.isfinite(steady(level, follow(blank))).all()
    assert flicker(level[:1], follow(blank[:1])) is None  # one frame alone
    np.testing.assert_allclose(steady(raw[:1], follow(frames[:1])), raw[:1], atol=1e-5)


def test_flicker_is_what_drawn_depth_changes_by() -> None:
    frames, true = panned(9, 160, 96, still=True)
    motion = follow(frames)
    assert motion.seen.mean() > 0.99 and flicker(true, motion) == 0
    low, high = np.percentile(cv2.resize(true[0], motion.seen.shape[:0:-1]), (1, 99))
    true[:] = low
    true[:, :, 80:] = high
    wave = true.copy()
    wave[1::2, :, 80:] = low + 0.5 * (high - low)  # half of the picture goes to 0.55 of its level and back
    assert flicker(wave, motion) == pytest.approx(0.5 * -np.log(0.55), rel=0.03)
    wave[:, :, :80] = np.nan  # and what has no depth does not count
    wave[:, :4, 80:] = low
    assert flicker(wave, motion) == pytest.approx(92 / 96 * -np.log(0.55), rel=0.03)


def test_a_moving_camera_is_no_flicker_and_it_is_seen_through_scale_and_unit() -> None:
    frames, true = panned(9, 160, 96)
    motion = follow(frames)
    still = flicker(true, motion)
    assert still is not None and still < 0.01
    assert flicker(7 * true + 3, motion) == pytest.approx(still, rel=1e-3)
    rng = np.random.default_rng(0)
    shaken = true * np.exp(rng.normal(0, 0.1, (9, 1, 1)))
    assert flicker(shaken, motion) > 10 * still
    assert flicker(steady(shaken.astype(np.float32), motion), motion) < 2 * still + 0.002


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_is_told_from_what_moves(seed: int) -> None:
    shots = [*slide((2, 1), (256, 160), 4, seed=seed), *slide((2, 1), (256, 160), 4, seed=seed + 10)]
    share = follow(shots).seen.mean(axis=(1, 2))
    assert share[3] < CUT and np.delete(share, 3).min() > 2 * CUT
