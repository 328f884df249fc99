"""Expected errors: from a figure that every sample has to the error that graded clips had at such a figure.

Isotonic regression (Barlow et al., 1972): the monotone curve nearest to the graded clips in the least squares sense,
straight between them and level beyond. Ten or twenty clips make a weak one: it ranks samples, and its numbers are those
of the graded footage, not of yours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.identity import canonical

Knots = list[tuple[float, float]]

_DIGITS = 6


def fit(figures: Sequence[float], errors: Sequence[float], *, grows: bool) -> Knots:
    """The curve, as its corners in ascending order of the figure.

    Args:
        figures: One for each graded clip.
        errors: Theirs.
        grows: Whether the error can only grow with the figure, or only shrink.
    """
    from scipy.optimize import isotonic_regression  # not in workers, which only read curves

    x = np.array([_rounded(value) for value in figures])
    places, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=np.asarray(errors, np.float64)) / counts
    curve = isotonic_regression(means, weights=counts, increasing=grows).x
    heights = [_rounded(value) for value in curve]
    inner = {n for n in range(1, len(places) - 1) if heights[n - 1] == heights[n] == heights[n + 1]}
    return [(float(places[n]), heights[n]) for n in range(len(places)) if n not in inner]


def best(
    clips: Sequence[tuple[Mapping[str, float | None], float]], figures: Mapping[str, bool]
) -> tuple[str, Knots] | None:
    """The figure whose ranks go best with the errors', the way they should, and its curve.

    Args:
        clips: Figures and error of each graded clip.
        figures: Which figures may be taken, and whether the error grows with them.

    Returns:
        None where no clip has any of the figures.
    """
    made: list[tuple[float, str, Knots]] = []
    for name, grows in figures.items():
        known = [(value, error) for each, error in clips if (value := each.get(name)) is not None]
        if known:
            values, errors = ([pair[n] for pair in known] for n in (0, 1))
            agreed = _agreement(values, errors) * (1 if grows else -1)
            made.append((agreed, name, fit(values, errors, grows=grows)))
    if not made:
        return None
    _, name, knots = max(made, key=lambda each: each[0])  # the first of equals
    return name, knots


def written(metric: str, figure: str, knots: Knots) -> str:
    """A calibration as canonical JSON: what :func:`expected_error` reads."""
    return canonical({"metric": metric, "figure": figure, "knots": knots})


def expected_error(calibration: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns ``expected_error`` and ``expected_error_of`` of a sample.

    Args:
        calibration: Of its estimator, as :func:`written` gives it; "" for one that was never graded.
        columns: The sample's columns so far.

    Returns:
        Both None where nothing is known: never graded, or the sample lacks the figure.
    """
    made = json.loads(calibration) if calibration else {}
    figure = columns.get(made.get("figure", ""))
    if figure is None:
        return {"expected_error": None, "expected_error_of": None}
    x, y = zip(*made["knots"], strict=True)
    return {"expected_error": _rounded(float(np.interp(figure, x, y))), "expected_error_of": made["metric"]}


def _agreement(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of them is the same everywhere."""
    from scipy.stats import rankdata

    one, two = rankdata(a), rankdata(b)
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return 0.0
    return float(np.corrcoef(one, two)[0, 1])


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
