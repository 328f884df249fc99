"""Masks: what is packed comes back, what is drawn by lot is repeatable, what is filled is #66FF00."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from renderers.canvas import masks

SHAPE = (9, 64, 96)
DRAW = {"box": masks.box, "strokes": masks.strokes, "blobs": masks.blobs, "frame": masks.frame_outside}
STILL = ("box", "strokes", "frame")


def _drawn(kind: str, seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return DRAW[kind](shape, np.random.default_rng(seed))


@settings(max_examples=40, deadline=None)
@given(arrays(bool, st.tuples(*[st.integers(1, 12)] * 3)))
def test_what_is_packed_comes_back(mask: np.ndarray) -> None:
    packed = masks.pack("m", mask)
    assert sorted(packed) == ["m", "m_shape"] and packed["m"].nbytes == -(-mask.size // 8)
    back = masks.unpack("m", packed)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)
    for at, bit in enumerate(mask.ravel()):  # most significant bit first, row by row, as numpy documents
        assert bool(packed["m"][at // 8] >> (7 - at % 8) & 1) == bit


@settings(max_examples=15, deadline=None)
@given(arrays(bool, (2, 5, 7)), st.integers(0, 2**31))
def test_filling_changes_the_masked_pixels_alone(mask: np.ndarray, seed: int) -> None:
    frames = list(np.random.default_rng(seed).integers(0, 255, (2, 5, 7, 3), dtype=np.uint8))
    before = [frame.copy() for frame in frames]
    filled = masks.fill(frames, mask)
    for picture, frame, old, hole in zip(filled, frames, before, mask, strict=True):
        assert (picture[hole] == (0x66, 0xFF, 0x00)).all() and (picture[~hole] == frame[~hole]).all()
        assert picture.dtype == np.uint8 and (frame == old).all() and picture is not frame


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        masks.fill([np.zeros((4, 4, 3), np.uint8)] * 3, np.zeros((2, 4, 4), bool))


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        bool, st.tuples(st.integers(1, 5), st.integers(1, 14), st.integers(1, 14)), elements=st.booleans()
    ),
    st.integers(0, 6) | st.floats(0, 6),
    st.integers(0, 6),
)
def test_a_mask_grows_by_a_disc_and_by_frames(mask: np.ndarray, pixels: float, frames: int) -> None:
    """By its definition: whatever lies within the radius, and within the frames, of a pixel of the mask."""
    before = mask.copy()
    grown = masks.dilate(mask, pixels, frames)
    at, there = np.argwhere(np.ones_like(mask)), np.argwhere(mask)
    apart = np.abs(at[:, None] - there[None])
    reached = (apart[..., 0] <= frames) & (np.hypot(apart[..., 1], apart[..., 2]) <= pixels + 1e-3)
    np.testing.assert_array_equal(grown, reached.any(1).reshape(mask.shape))
    assert grown.dtype == bool and (grown >= mask).all() and (mask == before).all()
    np.testing.assert_array_equal(masks.dilate(masks.dilate(mask, 0, frames), pixels, 0), grown)
    np.testing.assert_array_equal(masks.dilate(masks.dilate(mask, pixels, 0), 0, frames), grown)


@pytest.mark.parametrize("kind", DRAW)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32), shape=st.tuples(st.integers(1, 17), st.integers(32, 90), st.integers(32, 90))
)
def test_any_draw_is_a_mask_that_can_be_drawn_again(
    kind: str, seed: int, shape: tuple[int, int, int]
) -> None:
    mask = _drawn(kind, seed, shape)
    assert mask.shape == shape and mask.dtype == bool and mask.flags.writeable
    np.testing.assert_array_equal(mask, _drawn(kind, seed, shape))
    assert 0 < mask.mean() < 1


@pytest.mark.parametrize("kind", DRAW)
def test_seeds_give_different_masks(kind: str) -> None:
    assert len({_drawn(kind, seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        # One box of a tenth of each side at least, less a pixel of rounding; three of half a side at most.
        ("box", 0.08**2, 0.75),
        ("strokes", 0.002, 0.8),
        ("blobs", 0.002, 0.6),
        # Outside a crop of 50 to 90% of each side.
        ("frame", 1 - 0.9**2, 1 - 0.48**2),
    ],
)
def test_areas_are_in_range(kind: str, least: float, most: float) -> None:
    areas = [_drawn(kind, seed, (5, 64, 96)).mean() for seed in range(150)]
    assert least <= min(areas) and max(areas) <= most
    assert np.std(areas) > 0.03  # small ones and large ones


@pytest.mark.parametrize("kind", DRAW)
def test_blobs_move_and_the_others_stay(kind: str) -> None:
    for seed in range(10):
        mask = _drawn(kind, seed)
        moved = [float((one != two).mean()) for one, two in itertools.pairwise(mask)]
        if kind in STILL:
            assert max(moved) == 0
        else:
            assert max(moved) > 0 and max(moved) < 0.3  # a drift, not a jump
            assert mask.any(axis=(1, 2)).all()  # never out of sight


def test_blobs_drift_through_time_not_frame_numbers() -> None:
    """Twice the frames is the same movement, seen twice as often."""
    slow, fast = _drawn("blobs", 3, (17, 64, 96)), _drawn("blobs", 3, (9, 64, 96))
    np.testing.assert_array_equal(slow[::2], fast)


def test_outpainting_masks_are_a_frame() -> None:
    for seed in range(40):
        mask = _drawn("frame", seed)[0]
        rows, columns = np.flatnonzero(~mask.all(1)), np.flatnonzero(~mask.all(0))
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert not inner.any()  # one whole rectangle is left
        assert 0.48 * 64 <= inner.shape[0] <= 0.9 * 64 and 0.48 * 96 <= inner.shape[1] <= 0.9 * 96


def test_boxes_are_boxes() -> None:
    """Without loss of any corner: a mask of up to three boxes is the union of the boxes around its parts."""
    import cv2

    for seed in range(30):
        mask = _drawn("box", seed)[0]
        count, labels = cv2.connectedComponents(mask.astype(np.uint8))
        assert 1 <= count - 1 <= 3
        if count - 1 == 3:  # none of them overlap: each part is a full rectangle
            for label in range(1, 4):
                rows, columns = np.nonzero(labels == label)
                assert len(rows) == np.ptp(rows + 0) * np.ptp(columns) + np.ptp(rows) + np.ptp(columns) + 1
