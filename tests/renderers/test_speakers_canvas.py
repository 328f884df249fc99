from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.canvas.speakers import SILENT, SPEAKING, draw

WIDTH, HEIGHT = 64, 48


def test_the_colours_are_the_authors() -> None:
    assert SPEAKING == (0, 200, 0) and SILENT == (92, 92, 92)


def test_a_box_covers_its_pixels_and_no_other() -> None:
    picture = draw(np.array([[10, 5, 30, 25.0], [40, 8, 50, 20.0]]), np.array([True, False]), WIDTH, HEIGHT)
    wanted = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    wanted[5:25, 10:30] = (0, 200, 0)
    wanted[8:20, 40:50] = (92, 92, 92)
    np.testing.assert_array_equal(picture, wanted)


def test_who_speaks_is_in_front() -> None:
    boxes = np.array([[10, 10, 30, 30.0], [20, 20, 40, 40.0]])
    for speaking in ([True, False], [False, True]):
        picture = draw(boxes, np.array(speaking), WIDTH, HEIGHT)
        assert tuple(picture[25, 25]) == SPEAKING
        assert (picture == SPEAKING).all(-1).sum() == 400
        assert (picture == SILENT).all(-1).sum() == 300


def test_who_is_not_there_is_not_drawn() -> None:
    nobody = np.full((1, 4), np.nan)
    assert not draw(nobody, np.array([True]), WIDTH, HEIGHT).any()
    assert not draw(np.zeros((0, 4)), np.zeros(0, bool), WIDTH, HEIGHT).any()
    assert not draw(
        np.array([[-30, -30, -1, -1.0], [70, 5, 90, 9]]), np.array([True, False]), WIDTH, HEIGHT
    ).any()


@given(
    st.lists(st.tuples(*[st.floats(-200, 200)] * 2, *[st.floats(0, 200)] * 2, st.booleans()), max_size=4),
)
@settings(deadline=None, max_examples=50)
def test_there_are_only_three_colours_and_boxes_are_cut_at_the_edges(heads: list[tuple[float, ...]]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in heads]).reshape(-1, 4)
    picture = draw(boxes, np.array([bool(head[4]) for head in heads], bool), WIDTH, HEIGHT)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert colours <= {(0, 0, 0), SPEAKING, SILENT}
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for left, top, right, bottom in np.rint(boxes):
        inside |= (x > left) & (x < right) & (y > top) & (y < bottom)
    np.testing.assert_array_equal(picture.any(-1), inside)
