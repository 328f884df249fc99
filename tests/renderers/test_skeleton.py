"""Skeletons: the layout's joints, where they are drawn, and what is left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.canvas import skeleton

WIDTH, HEIGHT = 320, 240


def _alone(joint: int, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """One person of whom one joint is known."""
    joints, scores = np.full((1, 133, 2), np.nan), np.zeros((1, 133))
    joints[0, joint], scores[0, joint] = (x, y), 1
    return joints, scores


def _crowd(seed: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-50, WIDTH + 50, (people, 133, 2)), rng.uniform(0, 1, (people, 133))


def _centroid(picture: np.ndarray) -> np.ndarray:
    """Weighted by brightness, pixel centres at +0.5."""
    weight = picture.max(-1).astype(float)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def test_the_layout_has_every_joint_once() -> None:
    assert len(skeleton.NAMES) == len(set(skeleton.NAMES)) == 133
    parts = [skeleton.BODY, skeleton.FEET, skeleton.FACE, skeleton.LEFT_HAND, skeleton.RIGHT_HAND]
    assert [index for part in parts for index in range(133)[part]] == list(range(133))
    # Places that the data set's documentation gives.
    for index, name in (
        (0, "nose"), (9, "left_wrist"), (16, "right_ankle"), (19, "left_heel"), (22, "right_heel"), (23, "face_0"),
        (90, "face_67"), (91, "left_hand_root"), (95, "left_thumb4"), (111, "left_pinky_finger4"),
        (112, "right_hand_root"), (132, "right_pinky_finger4"),
    ):  # fmt: skip
        assert skeleton.NAMES[index] == name


def test_limbs_join_the_body_as_a_tree() -> None:
    names = [*skeleton.NAMES, "neck"]
    limbs = {tuple(names[skeleton.OPENPOSE[end]] for end in limb) for limb in skeleton.LIMBS}
    assert len(skeleton.OPENPOSE) == 18 and len(limbs) == 17
    for side in ("left", "right"):
        chains = [
            ("neck", "shoulder", "elbow", "wrist"), ("neck", "hip", "knee", "ankle"), ("nose", "eye", "ear"),
        ]  # fmt: skip
        for chain in chains:
            full = [one if one in ("neck", "nose") else f"{side}_{one}" for one in chain]
            assert set(itertools.pairwise(full)) <= limbs
    assert ("neck", "nose") in limbs
    bones = skeleton.HAND_BONES
    assert len(bones) == 20 and sorted(end for _, end in bones) == list(range(1, 21))
    assert [start for start, end in bones if start == 0] == [0] * 5 and (3, 4) in bones and (0, 17) in bones


def test_colours_are_openposes() -> None:
    body = skeleton.PARTS[0]
    assert body.dots[:4] == ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0))
    assert body.dots[4] == (170, 255, 0) and body.dots[12] == (0, 0, 255) and body.dots[17] == (255, 0, 85)
    assert body.colours[0] == (153, 0, 0)


@settings(max_examples=30, deadline=None)
@given(
    joint=st.sampled_from([0, 7, 16, 23, 60, 90, 91, 100, 132]),
    x=st.floats(20, WIDTH - 20),
    y=st.floats(20, HEIGHT - 20),
    scale=st.sampled_from([1, 2, 3]),
)
def test_a_joint_is_a_round_dot_where_it_is(joint: int, x: float, y: float, scale: int) -> None:
    picture = skeleton.draw(*_alone(joint, x * scale, y * scale), WIDTH * scale, HEIGHT * scale)
    assert picture.shape == (HEIGHT * scale, WIDTH * scale, 3) and picture.dtype == np.uint8
    assert np.abs(_centroid(picture) - (x * scale, y * scale)).max() < 0.1
    lit = picture.max(-1) > 127
    radius = np.sqrt(lit.sum() / np.pi)
    nominal = (4 if joint < 17 else 2) * HEIGHT * scale / 512
    assert abs(radius - max(nominal, skeleton.LEAST)) < 0.6
    height, width = lit.any(1).sum(), lit.any(0).sum()
    assert abs(int(height) - int(width)) <= 1
    if joint >= 23:
        colour = (255, 255, 255) if joint < 91 else (0, 0, 255)
        assert (picture == np.multiply.outer(picture.max(-1) / 255, colour)).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([2, 3]))
def test_sizes_go_with_the_picture(seed: int, scale: int) -> None:
    """The same people on a larger picture are the same drawing, to within its edges."""
    joints, scores = _crowd(seed, 1)
    scores[:, 91:] = 0
    large = skeleton.draw(joints * 2 * scale, scores, WIDTH * 2 * scale, HEIGHT * 2 * scale)
    small = skeleton.draw(joints * 2, scores, WIDTH * 2, HEIGHT * 2).astype(float)
    mean = large.reshape(HEIGHT * 2, scale, WIDTH * 2, scale, 3).mean((1, 3))
    assert np.abs(mean - small).mean() < 1.5


def test_a_limb_is_an_ellipse_between_its_joints() -> None:
    joints, scores = _alone(7, 300, 300)
    joints[0, 9], scores[0, 9] = (540, 480), 1  # left elbow to wrist, 300 px
    picture = skeleton.draw(joints, scores, 900, 720)
    body = skeleton.PARTS[0]
    limb = (picture == body.colours[skeleton.LIMBS.index((6, 7))]).all(-1)
    rows, columns = np.mgrid[:720, :900] + 0.5
    along = ((columns - 420) * 0.8 + (rows - 390) * 0.6) / 150
    beside = ((columns - 420) * 0.6 - (rows - 390) * 0.8) / (4 * 720 / 512)
    ends = np.minimum(np.hypot(columns - 300, rows - 300), np.hypot(columns - 540, rows - 480)) < 9
    inner, outer = (along**2 + (beside / scale) ** 2 <= 1 for scale in (0.75, 1.25))
    assert limb[inner & ~ends].all() and (picture[~outer & ~ends] < 70).all()
    assert (picture[300, 300] == body.dots[6]).all() and (picture[480, 540] == body.dots[7]).all()


def test_the_neck_needs_both_shoulders() -> None:
    joints, scores = _alone(5, 100, 100)
    joints[0, 6], scores[0, 6] = (140, 110), 1
    both = skeleton.draw(joints, scores, WIDTH, HEIGHT)
    assert (both[104:106, 119:121] == skeleton.PARTS[0].dots[1]).all()
    scores[0, 6] = 0.1
    one = skeleton.draw(joints, scores, WIDTH, HEIGHT)
    np.testing.assert_array_equal(one, skeleton.draw(*_alone(5, 100, 100), WIDTH, HEIGHT))


@pytest.mark.filterwarnings("error")
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), threshold=st.floats(0.05, 0.95))
def test_low_scores_and_nan_are_not_drawn(seed: int, threshold: float) -> None:
    joints, scores = _crowd(seed, 2)
    hidden = scores < threshold
    expected = skeleton.draw(joints, np.where(hidden, 0, 1), WIDTH, HEIGHT)
    np.testing.assert_array_equal(skeleton.draw(joints, scores, WIDTH, HEIGHT, threshold=threshold), expected)
    for bad in (np.nan, np.inf, 1e300):
        gone = np.where(hidden[..., None], bad, joints)
        np.testing.assert_array_equal(skeleton.draw(gone, np.ones_like(scores), WIDTH, HEIGHT), expected)
    np.testing.assert_array_equal(
        skeleton.draw(joints, np.where(hidden, np.nan, scores), WIDTH, HEIGHT, threshold=threshold), expected
    )


def test_feet_are_not_drawn_and_nobody_is_black() -> None:
    joints, scores = _crowd(0, 1)
    scores[:, :17] = scores[:, 23:] = 0
    assert not skeleton.draw(joints, scores, WIDTH, HEIGHT).any()
    assert not skeleton.draw(np.zeros((0, 133, 2)), np.zeros((0, 133)), WIDTH, HEIGHT).any()


def test_what_is_off_the_picture_is_clipped() -> None:
    """A limb that leaves the picture shows as the same limb does on a larger one."""
    joints, scores = _alone(7, 100, 100)
    scores[0, 9] = 1
    for far in ((400, 170), (-300, -500), (90000, 20000)):
        joints[0, 9] = far
        picture = skeleton.draw(joints, scores, WIDTH, HEIGHT)
        assert picture.any(-1).sum() > 60 and picture[:, [0, -1]].any() | picture[[0, -1]].any()
    joints[0, 9] = (400, 170)
    wide = skeleton.draw(joints, scores, WIDTH + 200, HEIGHT)[:, :WIDTH]
    np.testing.assert_array_equal(wide, skeleton.draw(joints, scores, WIDTH, HEIGHT))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), factor=st.sampled_from([1, 2, 3]))
def test_painting_leaves_the_rest_of_the_picture(seed: int, factor: int) -> None:
    width, height = 200 * factor, 190 * factor
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    before = picture.copy()
    joints, scores = _crowd(seed, 1)
    scores[:, 23:91] = 0
    painted = skeleton.paint(picture, joints, scores)
    np.testing.assert_array_equal(picture, before)
    drawn = skeleton.draw(joints, scores, width, height)
    white = skeleton.paint(np.full_like(picture, 255), joints, scores)
    untouched = ~drawn.any(-1) & (white == 255).all(-1)
    assert 0.1 < untouched.mean() < 0.999
    np.testing.assert_array_equal(painted[untouched], picture[untouched])
    solid = (drawn == white).all(-1)  # covered wholly: neither black nor white shines through
    np.testing.assert_array_equal(painted[solid], drawn[solid])
