"""Expected errors from figures: monotone, clamped, and the same for the same grades."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.calibration import best, expected_error, fit, written

FIGURES = st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 2)), min_size=1, max_size=25)


@given(clips=FIGURES, grows=st.booleans(), order=st.randoms(use_true_random=False), asked=st.floats(-20, 20))
def test_a_calibration_is_monotone_and_stays_among_the_graded_errors(
    clips: list[tuple[float, float]], grows: bool, order: object, asked: float
) -> None:
    knots = fit(*zip(*clips, strict=True), grows=grows)
    x, y = np.array(knots).T
    assert (np.diff(x) > 0).all() and ((np.diff(y) >= 0) if grows else (np.diff(y) <= 0)).all()
    errors = [error for _, error in clips]
    assert min(errors) - 1e-5 <= y.min() and y.max() <= max(errors) + 1e-5
    order.shuffle(clips)  # type: ignore[attr-defined]
    np.testing.assert_allclose(fit(*zip(*clips, strict=True), grows=grows), knots, atol=1e-5)
    told = expected_error(written("abs_rel", "depth_flicker", knots), {"depth_flicker": asked})
    assert told["expected_error_of"] == "abs_rel" and y.min() <= told["expected_error"] + 1e-5
    edge = expected_error(written("abs_rel", "f", knots), {"f": 1e9})["expected_error"]
    assert edge == pytest.approx(y[-1], rel=1e-5)  # level beyond


def test_what_is_monotone_is_kept_and_what_is_not_is_pooled() -> None:
    assert fit([3, 1, 2], [0.3, 0.1, 0.2], grows=True) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert fit([1, 2, 3], [0.1, 0.3, 0.2], grows=True) == [(1, 0.1), (2, 0.25), (3, 0.25)]
    # Two clips with one figure weigh twice: (0.2 + 0.4 + 0.1) / 3.
    assert fit([1, 1, 2], [0.2, 0.4, 0.1], grows=True) == [(1, 0.233333), (2, 0.233333)]
    assert fit([1, 2], [0.1, 0.3], grows=False) == [(1, 0.2), (2, 0.2)]
    assert fit([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1], grows=True) == [(1, 0.25), (4, 0.25)]  # corners alone
    assert expected_error(written("m", "f", [(1, 0.1), (3, 0.3)]), {"f": 2.0})["expected_error"] == 0.2


def test_the_figure_that_tells_most_is_taken() -> None:
    clips = [({"a": float(n % 3), "b": float(-n), "c": None}, float(n)) for n in range(9)]
    found = best(clips, {"a": True, "b": False, "c": True})
    assert found is not None and found[0] == "b" and len(found[1]) == 9
    wrong = best(clips, {"a": True, "b": True})  # b goes the other way than it is said to
    assert wrong is not None and wrong[0] == "a"
    assert best(clips, {"c": True}) is None and best([], {"a": True}) is None


def test_no_grade_and_no_figure_is_no_expectation() -> None:
    nothing = {"expected_error": None, "expected_error_of": None}
    assert expected_error("", {"f": 1.0}) == nothing
    calibration = written("m", "f", [(1.0, 0.5)])
    assert expected_error(calibration, {"g": 1.0}) == expected_error(calibration, {"f": None}) == nothing
    assert expected_error(calibration, {"f": -3.0}) == {"expected_error": 0.5, "expected_error_of": "m"}
    assert json.loads(calibration) == {"metric": "m", "figure": "f", "knots": [[1.0, 0.5]]}
