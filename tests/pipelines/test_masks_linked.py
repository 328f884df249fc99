"""Objects linked over time: what is one thing keeps one number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.estimators.masks_linked import BRIEF, GAP, link
from tests.pipelines.discs import discs, line


@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(st.sampled_from([12, 36, 60, 84]), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 999),
)
def test_things_apart_keep_a_number_each_the_largest_first(rows: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    every = np.concatenate(
        [
            discs([line((rng.uniform(10, 70), row), (rng.uniform(90, 150), row))], int(rng.integers(4, 10)))
            for row in rows
        ]
    )
    sure = np.where(every.any(0), rng.uniform(0.6, 1, every.shape[1:]), 0.2)
    sure[:, 0, 0] = 1  # a speck
    labels, scores = link(sure)
    assert len(scores) == len(rows) and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels > 0, every.any(0))
    numbers = [int(np.unique(labels[one]).item()) for one in every]  # one number each
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    areas = [(labels == one + 1).sum() for one in range(len(rows))]
    assert areas == sorted(areas, reverse=True)
    for number, one in zip(numbers, every, strict=True):
        assert scores[number - 1] == pytest.approx(sure[one].mean(), rel=1e-5)


def test_holes_of_a_frame_or_two_close_and_longer_ones_do_not() -> None:
    whole = discs([line((60, 40), (60, 40))])[0]
    for gone in range(1, 5):
        mask = whole.copy()
        mask[8 : 8 + gone] = False
        labels, scores = link(mask.astype(np.float32))
        assert (labels[8 : 8 + gone] > 0).any() == (gone <= GAP)
        assert len(scores) == 1 + (gone > GAP)  # who is out of sight for longer comes back as another
        np.testing.assert_array_equal((labels > 0) & whole, (whole if gone <= GAP else mask))


def test_what_is_brief_goes() -> None:
    for frames in (BRIEF - 1, BRIEF):
        path = line((60, 40), (70, 40))
        path[frames:] = np.nan
        assert len(link(discs([path])[0].astype(np.float32))[1]) == (frames >= BRIEF)


def test_two_who_cross_and_two_who_part() -> None:
    crossing = discs([line((20, 40), (140, 40)), line((140, 56), (20, 56))], 10)
    labels, _ = link(crossing.any(0).astype(np.float32))
    numbers = [np.bincount(labels[:, 40 + 16 * one][labels[:, 40 + 16 * one] > 0]).argmax() for one in (0, 1)]
    assert len(np.unique(labels)) == 3 and numbers[0] != numbers[1]
    for one, number in zip(crossing, numbers, strict=True):
        assert (labels[one] == number).mean() > 0.85
    parting = discs([line((60, 40), (20, 40)), line((70, 40), (140, 40))], 10)
    labels, _ = link(parting.any(0).astype(np.float32))
    assert len(np.unique(labels[-1])) == 3 and labels[-1].max() == 2


def test_parts_that_stay_together_are_one() -> None:
    """A head that comes from behind a wall before its body does, apart from it at first."""
    head, body = discs([line((60, 20), (60, 20)), line((60, 36), (60, 36))], 9)
    body[:6] = False
    body[6:9, 27:31] = False  # the neck is the last to be seen
    head[:9, 27:] = False
    labels, _ = link((head | body).astype(np.float32))
    assert np.unique(labels).tolist() == [0, 1]
    np.testing.assert_array_equal(labels > 0, head | body)
