"""Depth pictures: one scale for a clip, near is bright; the stored codes are as exact as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from renderers.canvas import depth

SHAPE = (5, 24, 32)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), unit=st.floats(1e-3, 1e3), inverse=st.booleans())
def test_near_is_bright_on_one_scale_in_any_unit(seed: int, unit: float, inverse: bool) -> None:
    values = np.random.default_rng(seed).uniform(1, 40, SHAPE).astype(np.float32)
    pictures = depth.gray(values * unit, inverse=inverse)
    assert all(picture.dtype == np.uint8 and picture.shape == (24, 32, 3) for picture in pictures)
    gray = np.stack(pictures)
    assert (gray == gray[..., :1]).all()
    near = values if inverse else 1 / values
    order = np.argsort(near.ravel())
    assert (np.diff(gray[..., 0].ravel()[order].astype(int)) >= 0).all()  # over all frames at once
    low, high = np.percentile(near, [1, 99])
    expected = 255 * np.clip((near - low) / (high - low), 0, 1)
    assert np.abs(gray[..., 0] - expected).max() <= 0.51


def test_the_scale_is_the_clips_not_the_frames() -> None:
    clip = np.full((2, 10, 10), 4.0)
    clip[0, :, :5] = 1.0  # something near, gone in the second frame
    first, second = depth.gray(clip)
    assert (first[:, :5] == 255).all() and (first[:, 5:] == 0).all()
    np.testing.assert_array_equal(second, np.zeros_like(second))


def test_a_few_wild_pixels_do_not_dim_the_rest() -> None:
    clip = np.random.default_rng(0).uniform(2, 8, SHAPE)
    clean = np.stack(depth.gray(clip)).astype(int)
    clip[0, 0, 0], clip[1, 3, 3], clip[2, 5, 5] = 1e-4, 1e-3, 1e10
    wild = np.stack(depth.gray(clip)).astype(int)
    differ = np.abs(wild - clean)
    differ[0, 0, 0] = differ[1, 3, 3] = differ[2, 5, 5] = 0
    assert differ.max() <= 4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("inverse", [False, True])
def test_nothing_is_black_and_does_not_count(inverse: bool) -> None:
    clip = np.random.default_rng(1).uniform(2, 8, SHAPE)
    valid = np.random.default_rng(2).uniform(size=SHAPE) < 0.7
    holes = clip.copy()
    holes[~valid] = np.inf
    holes[0, 0, :2] = np.nan, -np.inf
    valid[0, 0, :2] = False
    pictures = np.stack(depth.gray(holes, inverse=inverse))
    assert (pictures[~valid] == 0).all()
    wild = np.where(valid, clip, 1e-3 if not inverse else 1e3)
    np.testing.assert_array_equal(pictures, depth.gray(wild, inverse=inverse, valid=valid))
    empty = depth.gray(np.full(SHAPE, np.nan), inverse=inverse)
    assert len(empty) == SHAPE[0] and not np.any(empty)
    if not inverse:
        zeros = clip.copy()
        zeros[0, :3], zeros[1, :3] = 0, -1
        assert not np.stack(depth.gray(zeros))[:2, :3].any()


def test_zero_inverse_depth_is_far_and_not_nothing() -> None:
    ramp = np.linspace(0, 10, 1000).reshape(1, 20, 50)
    shifted = depth.gray(ramp + 1, inverse=True)[0]
    assert np.abs(depth.gray(ramp, inverse=True)[0].astype(int) - shifted).max() <= 1


def test_a_clip_of_one_depth_is_white_where_it_is_something() -> None:
    clip = np.full((2, 4, 4), 3.0)
    clip[:, 0] = np.inf
    for picture in depth.gray(clip):
        assert (picture[0] == 0).all() and (picture[1:] == 255).all()


def test_a_long_clip_of_frames_is_sampled_evenly() -> None:
    clip = [np.full((448, 768), 10.0) - 0.1 * index for index in range(40)]  # 14 million pixels
    levels = [int(picture[0, 0, 0]) for picture in depth.gray(clip)]
    near = 1 / np.array([frame[0, 0] for frame in clip])
    assert levels[0] == 0 and levels[-1] == 255
    np.testing.assert_allclose(levels, 255 * (near - near[0]) / (near[-1] - near[0]), atol=1)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint16, st.integers(0, 50)))
def test_codes_come_back_exactly(codes: np.ndarray) -> None:
    metres = depth.decode_log(codes)
    assert metres.dtype == np.float32 and metres.shape == codes.shape
    np.testing.assert_array_equal(np.isinf(metres), codes == depth.NOTHING)
    back = depth.encode_log(metres)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, codes)


def test_every_code_comes_back_and_they_rise() -> None:
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    metres = depth.decode_log(codes)
    np.testing.assert_array_equal(depth.encode_log(metres), codes)
    assert (np.diff(metres.ravel()) > 0).all()
    np.testing.assert_allclose(metres.ravel()[[0, -2]], [depth.NEAR, depth.FAR], rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, 40, elements=st.floats(0.25, 139, width=32)))
def test_metres_come_back_within_the_stated_error(metres: np.ndarray) -> None:
    back = depth.decode_log(depth.encode_log(metres))
    assert (np.abs(back / metres - 1) < 5.01e-5).all()


@pytest.mark.filterwarnings("error")
def test_what_is_out_of_reach_is_absent() -> None:
    outside = np.array([np.nan, np.inf, -np.inf, 0, -3, 0.19, 141, 1e10])
    assert (depth.encode_log(outside) == depth.NOTHING).all()
    assert (depth.encode_log(np.float32([depth.NEAR, depth.FAR])) == [0, 65534]).all()
    assert np.isinf(depth.decode_log(depth.encode_log(outside))).all()
