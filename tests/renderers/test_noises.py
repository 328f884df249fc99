"""Beds made by formula: seeded, level, and different from one another."""

import numpy as np
import pytest

from renderers import noises

RATE = 16_000


@pytest.mark.parametrize("kind", noises.KINDS)
def test_a_bed_is_seeded_level_and_without_a_click(kind: str) -> None:
    one = noises.bed(kind, 3.0, RATE)
    assert one.shape == (3 * RATE, 2) and one.dtype == np.float32
    np.testing.assert_array_equal(one, noises.bed(kind, 3.0, RATE))
    assert not np.array_equal(one, noises.bed(kind, 3.0, RATE, seed=1))
    assert 20 * np.log10(np.sqrt(np.mean(one.astype(float) ** 2))) == pytest.approx(-30, abs=0.01)
    assert np.abs(one).max() < 0.5 and abs(np.corrcoef(one.T)[0, 1]) < 0.7
    assert (np.sqrt(np.mean(one.reshape(10, -1) ** 2, axis=1)) > 0.002).all()  # it is always there


def test_each_has_a_colour_of_its_own() -> None:
    centres = {}
    for kind in noises.KINDS:
        power = np.abs(np.fft.rfft(noises.bed(kind, 3.0, RATE)[:, 0])) ** 2
        centres[kind] = float((power * np.fft.rfftfreq(3 * RATE, 1 / RATE)).sum() / power.sum())
    assert centres["water"] > 3 * centres["wind"] and len({round(c, -1) for c in centres.values()}) == len(
        centres
    )
