"""Comets: the trail of every point, from a blue head to a red tail, with gaps where it was not seen."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.canvas import comets

BLUE, RED = (0, 0, 255), (255, 0, 0)


def _wander(seed: int, frames: int, count: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.03, (frames, count, 2)).cumsum(0)
    tracks = (rng.uniform(-0.1, 1.1, (count, 2)) + steps) * (width, height)
    return tracks, rng.uniform(size=(frames, count)) < 0.8


def _plain(tracks: np.ndarray, visible: np.ndarray, width: int, height: int, history: int) -> np.ndarray:
    """The last picture by its definition: 6 x 6 samples a pixel, of the youngest moment's colour there."""
    fine = 6
    rows, columns = (np.mgrid[: height * fine, : width * fine] + 0.5) / fine
    samples = np.zeros((height * fine, width * fine, 3))
    for age in reversed(range(min(history, len(tracks)))):
        moment = len(tracks) - 1 - age
        share = age / (history - 1) if history > 1 else 0
        radius = (8 - 6 * share) * min(width, height) / 1080
        for point in np.flatnonzero(visible[moment]):
            x, y = tracks[moment, point]
            dx, dy = tracks[moment + 1, point] - (x, y) if age and visible[moment + 1, point] else (0.0, 0.0)
            nearest = np.clip(((columns - x) * dx + (rows - y) * dy) / max(dx**2 + dy**2, 1e-12), 0, 1)
            near = np.hypot(columns - x - nearest * dx, rows - y - nearest * dy) <= radius
            samples[near] = np.multiply(colorsys.hsv_to_rgb(2 / 3 * (1 - share), 1, 1), 255)
    return samples.reshape(height, fine, width, fine, 3).mean((1, 3))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    frames=st.integers(1, 9),
    count=st.integers(0, 5),
    history=st.integers(1, 7),
    size=st.sampled_from([(200, 110), (110, 140)]),
)
def test_a_picture_is_the_definition(
    seed: int, frames: int, count: int, history: int, size: tuple[int, int]
) -> None:
    tracks, visible = _wander(seed, frames, count, *size)
    drawn = comets.draw(tracks, visible, *size, history=history)
    assert len(drawn) == frames
    assert all(one.shape == (size[1], size[0], 3) and one.dtype == np.uint8 for one in drawn)
    expected = _plain(tracks, visible, *size, history)
    # OpenCV smooths edges in its own way: some levels along them, and nothing elsewhere.
    off = np.abs(drawn[-1] - expected).max(-1)
    near = cv2.dilate(expected.max(-1), np.ones((3, 3))) != cv2.erode(expected.min(-1), np.ones((3, 3)))
    assert not off[~near].any()
    assert off.max(initial=0) < 100 and (off[near].mean() if near.any() else 0) < 12


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.integers(2, 12), history=st.integers(1, 6))
def test_a_picture_depends_on_its_own_history_alone(seed: int, frames: int, history: int) -> None:
    tracks, visible = _wander(seed, frames, 6, 64, 36)
    drawn = comets.draw(tracks, visible, 64, 36, history=history)
    for frame, picture in enumerate(drawn):
        first = max(0, frame - history + 1)
        part = slice(first, frame + 1)
        np.testing.assert_array_equal(
            comets.draw(tracks[part], visible[part], 64, 36, history=history)[-1], picture
        )


@pytest.mark.parametrize("short", [144, 448, 1080])
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5])
def test_a_head_is_a_blue_disc_of_eight_pixels_at_1080(short: int, offset: float) -> None:
    at = np.array([[[short / 2 + offset, short / 3 + offset]]])
    (picture,) = comets.draw(at, np.ones((1, 1), bool), 2 * short, short)
    assert not picture[..., :2].any()
    weight = picture[..., 2] / 255
    rows, columns = np.mgrid[:short, : 2 * short] + 0.5
    centroid = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    np.testing.assert_allclose(centroid, at[0, 0], atol=0.1)
    assert np.sqrt(weight.sum() / np.pi) == pytest.approx(8 * short / 1080, rel=0.04)


def test_along_a_trail_colour_and_width_go_from_head_to_tail() -> None:
    frames, x = 60, 100 + 15.0 * np.arange(60)
    tracks = np.stack([x, np.full(frames, 300.0)], -1)[:, None]
    picture = comets.draw(tracks, np.ones((frames, 1), bool), 1080, 1080)[-1]
    assert (picture[300, int(x[59])] == BLUE).all() and (picture[300, int(x[10]) + 2] == RED).all()
    assert not picture[:, : int(x[9]) + 8].any()  # 50 moments, not more
    line = picture[300, int(x[10]) + 2 : int(x[59])].astype(float) / 255
    hue = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in line])
    assert (np.diff(hue) >= -1e-3).all()
    for colour in ((0, 255, 0), (255, 255, 0)):  # on the way it passes green and yellow
        assert (np.abs(line * 255 - colour).max(1) < 20).any()
    widths = (picture.max(-1) > 127).sum(0)
    assert widths[int(x[10]) + 2] == pytest.approx(4, abs=1) and widths[int(x[59])] == pytest.approx(
        16, abs=1
    )
    middle = widths[int(x[11]) : int(x[59])]
    assert (np.diff(middle) >= -2).all()


def test_invisible_moments_are_gaps() -> None:
    tracks = np.stack([50 + 20.0 * np.arange(20), np.full(20, 300.0)], -1)[:, None]
    visible = np.ones((20, 1), bool)
    visible[8:12] = False
    tracks[9] = np.nan
    picture = comets.draw(tracks, visible, 600, 560)[-1]
    lit = picture.any((0, 2))
    assert lit[50:190].all() and lit[292:430].all() and not lit[196:284].any()
    seen = visible.copy()
    seen[9:11] = True
    nan = tracks.copy()
    nan[8:12] = np.nan
    np.testing.assert_array_equal(comets.draw(nan, seen | True, 600, 560)[-1], picture)
    visible[19] = False  # the head itself unseen: no blue dot
    assert not (comets.draw(tracks, visible, 600, 560)[-1] == BLUE).all(-1).any()


@pytest.mark.filterwarnings("error")
def test_what_leaves_the_picture_is_clipped() -> None:
    tracks, visible = _wander(3, 20, 30, 560, 560)
    wide = comets.draw(tracks, visible, 900, 560)
    for picture, larger in zip(comets.draw(tracks, visible, 560, 560), wide, strict=True):
        np.testing.assert_allclose(picture[:, :558], larger[:, :558], atol=2)  # OpenCV clips to a sixteenth
        assert picture[:, 558:].any() == larger[:, 558:560].any()
    tracks[:, 0] = [1e9, np.inf]
    tracks[:, 1] = -np.inf
    visible[:, :2] = False
    expected = comets.draw(tracks, visible, 560, 560)
    visible[:, :2] = True
    np.testing.assert_array_equal(comets.draw(tracks, visible, 560, 560), expected)


def test_the_younger_lies_over_the_older() -> None:
    """Two points cross at one place at different times: there, the later passer's colour shows."""
    early = np.stack([np.linspace(100, 500, 21), np.full(21, 300.0)], -1)
    late = np.stack([np.full(21, 260.0), np.linspace(100, 340, 21)], -1)
    for order in ([early, late], [late, early]):
        picture = comets.draw(np.stack(order, 1), np.ones((21, 2), bool), 600, 600)[-1]
        age = 20 - 16
        share = age / 49
        expected = np.multiply(colorsys.hsv_to_rgb(2 / 3 * (1 - share), 1, 1), 255)
        assert np.abs(picture[300, 260] - expected).max() < 25
