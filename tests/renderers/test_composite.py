"""Masked depth with poses: depth inside the mask, black outside, people over both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.canvas import composite, depth, skeleton

WIDTH, HEIGHT = 160, 120


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), people=st.integers(0, 2), inside=st.booleans())
def test_depth_where_the_mask_holds_and_people_over_all(seed: int, people: int, inside: bool) -> None:
    rng = np.random.default_rng(seed)
    (gray,) = depth.gray(rng.uniform(1, 9, (1, HEIGHT, WIDTH)))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:90, 30:110] = True
    mask = mask if inside else ~mask
    joints, scores = rng.uniform(0, 120, (people, 133, 2)), rng.uniform(0, 1, (people, 133))
    before = gray.copy()
    picture = composite.depth_and_pose(gray, mask, joints, scores, threshold=0.8)
    np.testing.assert_array_equal(gray, before)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    people_alone = skeleton.draw(joints, scores, WIDTH, HEIGHT, threshold=0.8)
    np.testing.assert_array_equal(picture[~mask], people_alone[~mask])
    free = ~people_alone.any(-1)
    free &= (skeleton.paint(np.full_like(gray, 255), joints, scores, threshold=0.8) == 255).all(-1)
    np.testing.assert_array_equal(picture[mask & free], gray[mask & free])
    assert (mask & free).sum() > 1000


def test_a_joint_covers_the_depth() -> None:
    joints, scores = np.full((1, 133, 2), np.nan), np.ones((1, 133))
    joints[0, 0] = 80.5, 60.5
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    picture = composite.depth_and_pose(white, np.ones((HEIGHT, WIDTH), bool), joints, scores)
    assert picture[60, 80, 0] == 255 and (picture[60, 80, 1:] < 80).all()  # a red nose
    assert (picture[:50] == 255).all()


def test_a_mask_of_another_size_is_refused() -> None:
    gray = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(ValueError, match="does not go with"):
        composite.depth_and_pose(gray, np.ones((1, WIDTH), bool), np.zeros((0, 133, 2)), np.zeros((0, 133)))
