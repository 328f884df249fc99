"""Poses: the 133 joints of MediaPipe's landmarks, who is who, DWPose by rtmlib's classes, and the modality."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import blazeface, people, pose, wholebody
from pipelines.estimators.faces import GAP
from pipelines.estimators.mediapipe_home import find_mediapipe, mediapipe
from pipelines.modalities import pose as modality
from pipelines.modality import Clip
from pipelines.timeline import Timeline
from renderers.canvas.skeleton import BODY, FACE, LEFT_HAND, NAMES, RIGHT_HAND
from tests.pipelines import tiny_dwpose
from tests.pipelines.portrait import EYES, MOUTH, portrait
from tests.pipelines.portrait import FACE as HER_FACE
from tests.pipelines.tiny_dwpose import AT, MAN, scene

try:
    find_mediapipe()
    MISSING = ""
except EstimatorUnavailable as error:
    MISSING = str(error)
needs_mediapipe = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("AVCONTROL_TEST_MEDIAPIPE"), reason=f"make mediapipe: {MISSING}"
)


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Processes and networks of these tests do not outlive them."""
    yield
    pose.load.cache_clear()
    mediapipe.cache_clear()


# The 133 joints

LANDMARKS = (
    "nose",
    *(f"{side}_eye{part}" for side in ("left", "right") for part in ("_inner", "", "_outer")),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(
        f"{side}_{part}"
        for part in (
            "shoulder",
            "elbow",
            "wrist",
            "pinky",
            "index",
            "thumb",
            "hip",
            "knee",
            "ankle",
            "heel",
            "big_toe",
        )
        for side in ("left", "right")
    ),
)
"""The names of MediaPipe's 33, in the order of its documentation; its foot index is the big toe."""


@given(seed=st.integers(0, 999), parts=st.tuples(*[st.booleans()] * 3))
@settings(max_examples=20, deadline=None)
def test_landmarks_become_the_joints_of_the_same_name(seed: int, parts: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(seed)
    body = np.column_stack([rng.uniform(0, 900, (33, 2)), rng.uniform(0, 1, 33)])
    face, left, right = (
        rng.uniform(0, 900, (count, 2)) if there else None
        for count, there in zip((468, 21, 21), parts, strict=True)
    )
    joints, scores = wholebody.joined(body, face, left, right)
    known = dict(zip(LANDMARKS, body, strict=True))
    for index, name in enumerate(NAMES[:23]):
        if "small_toe" in name:
            assert np.isnan(joints[index]).all() and scores[index] == 0
        else:
            np.testing.assert_allclose([*joints[index], scores[index]], known[name], rtol=1e-6)
    for part, found, near in (
        (FACE, face, "nose"),
        (LEFT_HAND, left, "left_wrist"),
        (RIGHT_HAND, right, "right_wrist"),
    ):
        if found is None:
            assert np.isnan(joints[part]).all() and not scores[part].any()
        else:
            np.testing.assert_allclose(scores[part], max(0.5, known[near][2]), rtol=1e-6)
            assert {tuple(place) for place in joints[part]} <= {
                tuple(place) for place in found.astype(np.float32)
            }
    if left is not None:
        np.testing.assert_array_equal(joints[LEFT_HAND], left.astype(np.float32))


def test_the_points_of_the_face_are_where_ibug_has_them() -> None:
    """By the mesh that the face detector's package fits to a photograph, whatever it thinks the numbers are."""
    mesh, sure = blazeface.mesh(portrait(), np.array([*HER_FACE[:2], HER_FACE[2], HER_FACE[2], 0], float))
    assert sure > blazeface.SEEN and len(set(wholebody.MESH_68)) == 68
    x, y = mesh[list(wholebody.MESH_68), :2].T
    assert (np.diff(x[:17]) > 0).mean() > 0.8 and y[:17].argmax() in (
        7,
        8,
        9,
    )  # jaw: from her right, chin in the middle
    for run in (
        range(17, 27),
        range(31, 36),
        range(48, 55),
        range(60, 65),
    ):  # brows, nostrils, lips' upper edges
        assert (np.diff(x[list(run)]) > 0).all()
    for run in (range(54, 60), range(64, 68)):  # and back along the lower edges
        assert (np.diff(x[list(run)]) < 0).all()
    assert (np.diff(y[27:31]) > 0).all()  # down the nose
    assert abs(np.hypot(x[45] - x[36], y[45] - y[36]) - EYES) < 0.1 * EYES
    assert np.hypot(x[60:68].mean() - MOUTH[0], y[60:68].mean() - MOUTH[1]) < 0.1 * EYES
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (50, 58), (51, 57), (52, 56)):
        assert y[upper] < y[lower] and abs(x[upper] - x[lower]) < 0.15 * EYES


# Who is who


def person(x: float, y: float, height: float, seed: int = 0) -> np.ndarray:
    """Joints of somebody whose middle is there."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((-0.2, -0.5), (0.2, 0.5), (133, 2))
    places[:2] = (-0.2, -0.5), (0.2, 0.5)
    return (places * height + (x, y)).astype(np.float32)


@given(dx=st.floats(-0.5, 0.5), dy=st.floats(-0.5, 0.5), scale=st.floats(0.1, 10), shift=st.floats(-500, 500))
@settings(max_examples=30, deadline=None)
def test_how_far_two_are_apart_is_told_in_their_size(
    dx: float, dy: float, scale: float, shift: float
) -> None:
    one, sure = person(0, 0, 100), np.ones(133, np.float32)
    other = one + 100 * np.float32((dx, dy))
    expected = np.hypot(dx, dy)
    assert wholebody.apart((one, sure), (other, sure)) == pytest.approx(expected, abs=1e-3)
    moved = [(scale * places + shift, sure) for places in (one, other)]
    assert wholebody.apart(*moved) == wholebody.apart(*moved[::-1]) == pytest.approx(expected, abs=1e-3)
    hidden = sure.copy()
    hidden[2:] = 0
    assert wholebody.apart((one, sure), (other, hidden)) == float("inf")  # two joints in common say nothing


@given(seed=st.integers(0, 999), noise=st.floats(0, 0.02), far=st.floats(0.8, 2.0))
@settings(max_examples=20, deadline=None)
def test_somebody_seen_twice_is_the_same_also_when_turned_round(seed: int, noise: float, far: float) -> None:
    rng = np.random.default_rng(seed)
    one, sure = person(0, 0, 100, seed), np.ones(133, np.float32)
    again = one + rng.normal(0, 100 * noise, one.shape)
    turned = again.copy()
    for index, name in enumerate(NAMES[BODY]):
        side, _, part = name.partition("_")
        if side == "left":
            other = NAMES.index(f"right_{part}")
            turned[[index, other]] = again[[other, index]]
    assert wholebody.same((one, sure), (again, sure)) and wholebody.same((one, sure), (turned, sure))
    assert wholebody.apart((turned, sure), (one, sure), mirrored=True) == pytest.approx(
        wholebody.apart((again, sure), (one, sure))
    )
    away = again + np.float32((100 * far, 0))
    assert not wholebody.same((one, sure), (away, sure))


@given(seed=st.integers(0, 9999), count=st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_everybody_keeps_a_column(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    frames, height = 40, 100.0
    joints = np.full((frames, count + 1, 133, 2), np.nan, np.float32)
    scores = np.zeros((frames, count + 1, 133), np.float32)
    expected = np.full((frames, count, 133, 2), np.nan, np.float32)
    gaps = rng.integers(5, 40 - GAP // 2, count)
    for frame in range(frames):
        here = []
        for one in range(count):
            x = 150 + 250 * one + 60 * np.sin(frame / 9 + one)
            if not gaps[one] <= frame < gaps[one] + GAP // 2:  # lost for a while
                expected[frame, one] = person(x, 200, height, one)
                here.append(expected[frame, one])
        if frame in (7, 8):  # a mistake, far away from everybody
            here.append(person(500, 900, 60, 9))
        for place, index in enumerate(rng.permutation(count + 1)[: len(here)]):
            joints[frame, index], scores[frame, index] = here[place], 0.8
    found, sure = people.sorted_out(joints, scores)
    np.testing.assert_array_equal(found, expected)  # from the left to the right; nothing in the gaps
    np.testing.assert_array_equal(sure > 0, np.isfinite(expected[..., 0]))


def test_two_who_cross_stay_who_they_are() -> None:
    walk = np.arange(30)
    joints = np.stack([[person(50 + 10 * n, 200, 100, 0), person(350 - 10 * n, 230, 130, 1)] for n in walk])
    joints[10:20] = joints[10:20, ::-1]
    found, _ = people.sorted_out(joints, np.ones(joints.shape[:3], np.float32))
    np.testing.assert_array_equal(found[:, 0], [person(50 + 10 * n, 200, 100, 0) for n in walk])


# What is missing


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dwpose.save(tmp_path_factory.mktemp("dwpose"))


@pytest.fixture
def forgotten() -> None:
    """What other tests have loaded, and found to be there, in this process."""
    for each in (pose.load, pose.weights_hash, mediapipe):
        each.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_what_is_missing_is_told_with_the_command(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("yolox_l.onnx", "dw-ll_ucoco_384.onnx"):
        (broken / name).write_text("<html>")
    with pytest.raises(EstimatorUnavailable, match="does not load"):
        pose.load("dwpose", weights=str(broken))
    with (
        monkeypatch.context() as patch,
        pytest.raises(EstimatorUnavailable, match="no package rtmlib") as missing,
    ):
        patch.setitem(__import__("sys").modules, "rtmlib", None)
        pose.open_network("dwpose", weights=str(weights), device="cpu")
    assert "pip install --no-deps rtmlib==0.0.16" in missing.value.hint
    monkeypatch.setenv("AVCONTROL_MEDIAPIPE", "/no/python")
    with pytest.raises(EstimatorUnavailable, match="AVCONTROL_MEDIAPIPE=/no/python is no file") as missing:
        find_mediapipe()
    assert "`make mediapipe`" in missing.value.hint
    with pytest.raises(EstimatorUnavailable, match="/no/python"):  # a build tells before it begins
        modality.weights_of(modality.Params())
    with pytest.raises(ConfigError, match="There are: mediapipe, dwpose"):
        pose.load("openpose")


@pytest.mark.usefixtures("forgotten")
def test_a_mediapipe_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named mediapipe >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv("AVCONTROL_MEDIAPIPE", str(python))
    with pytest.raises(EstimatorUnavailable, match=r"mediapipe does not start.*no module named mediapipe"):
        pose.load("mediapipe")


# MediaPipe on a photograph


def shown(
    places: list[tuple[int, int]], count: int, size: tuple[int, int], scale: float = 0.5
) -> list[np.ndarray]:
    """Grace Hopper's portrait, shrunk, on grey, at places (left, top) in pixels; she drifts by 2 px a frame."""
    her = cv2.resize(portrait(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frames = []
    for n in range(count):
        frame = np.full((size[1], size[0], 3), 128, np.uint8)
        for left, top in places:
            frame[top : top + len(her), left + 2 * n : left + 2 * n + her.shape[1]] = her
        frames.append(frame)
    return frames


@needs_mediapipe
def test_mediapipe_finds_two_people_and_follows_them() -> None:
    frames = shown([(30, 40), (360, 20)], 6, (640, 352))
    estimator = pose.load("mediapipe")
    found = estimator(frames)
    assert found.joints.shape == (6, 2, 133, 2) and found.joints.dtype == found.scores.dtype == np.float32
    assert (found.scores[:, :, BODY].max(-1) > 0.9).all()
    for column, (left, top) in enumerate([(30, 40), (360, 20)]):
        drift = 2 * np.arange(6)
        mouth = found.joints[:, column, 83:91].mean(1)  # the lips' inner edges, 60 to 67 of the face
        np.testing.assert_allclose(mouth[:, 0], left + drift + 0.5 * MOUTH[0], atol=4)
        np.testing.assert_allclose(mouth[:, 1], top + 0.5 * MOUTH[1], atol=4)
        eyes = found.joints[:, column, [23 + 36, 23 + 45]]  # outer corners; her right one is at the left
        np.testing.assert_allclose(eyes[:, 1, 0] - eyes[:, 0, 0], 0.5 * EYES, rtol=0.1)
        shoulders = found.joints[:, column, 5:7, 0]  # her left one is at the right
        assert (shoulders[:, 0] - shoulders[:, 1] > 0.5 * 1.5 * EYES).all()
        assert (found.scores[:, column, 15:17] < 0.3).all()  # ankles and knees are off the picture
    again = estimator(frames)
    np.testing.assert_array_equal(found.joints, again.joints)
    np.testing.assert_array_equal(found.scores, again.scores)


@needs_mediapipe
def test_mediapipe_finds_who_is_small_and_who_comes_late() -> None:
    size = (832, 480)
    nobody = [np.full((480, 832, 3), 128, np.uint8)] * 5
    found = pose.load("mediapipe")([*nobody, *shown([(600, 250)], 13, size, scale=0.25)])
    assert found.joints.shape[1] == 1
    there = found.scores[:, 0].max(-1) > 0
    assert not there[:5].any() and there[5:].mean() > 0.9
    nose = found.joints[5:, 0, 0][there[5:]]
    assert np.abs(nose[0] - (600 + 0.25 * MOUTH[0], 250 + 0.25 * (MOUTH[1] - 40))).max() < 12
    assert pose.load("mediapipe")(nobody).joints.shape == (5, 0, 133, 2)


@needs_mediapipe
def test_mediapipe_tells_people_from_the_rest() -> None:
    frames = np.stack(shown([(500, 20)], 2, (832, 352)))
    mask = mediapipe()(frames=frames, what=np.array("person"))["mask"]
    assert mask.shape == frames.shape[:3] and mask.dtype == np.float16
    face = mask[0, 20 + 80 : 20 + 150, 500 + 100 : 500 + 160]
    assert face.mean() > 0.9 and mask[0, :, :400].max() < 0.1 and np.isfinite(mask).all() and mask.max() <= 1


# The modality


def clip_of(frames: list[np.ndarray]) -> Clip:
    height, width = frames[0].shape[:2]
    line = Timeline(width=width, height=height, frames=len(frames), fps=Fraction(24))
    return Clip(frames=frames, audio=None, timeline=line)


def test_a_signal_and_its_figures(weights: Path) -> None:
    params = modality.Params(estimator="dwpose", weights=str(weights), min_joints=0.0)
    clip = clip_of([scene(AT)] * 9)
    signal = modality.signal(clip, params, np.random.default_rng(0))
    assert signal["joints"].shape == (9, 1, 133, 2)
    drawn = modality.canvas(clip, signal, params)
    assert len(drawn) == 9 and np.ptp(np.stack(drawn)) > 50
    joints = {**signal, "scores": np.zeros((9, 1, 133), np.float32)}
    joints["scores"][..., :10] = 0.5
    joints["scores"][..., 10:14] = 0.2
    joints["joints"] = np.broadcast_to(person(300, 300, 160), (9, 1, 133, 2)).copy()
    figures = modality.columns(clip, joints, params)
    assert figures == {
        "people": 1,
        "joints_seen": 10.0,
        "person_size": pytest.approx(0.25),
        "pose_score": 0.5,
    }
    joints["joints"][..., 0] += 1e4  # wherever they are
    assert modality.columns(clip, joints, params)["person_size"] == pytest.approx(0.25, abs=1e-4)


def test_a_clip_of_no_use_is_told_why(weights: Path) -> None:
    params = modality.Params(estimator="dwpose", weights=str(weights))

    def reason(frames: list[np.ndarray], height: float = 0.0, seen: int = 17) -> str:
        clip = clip_of(frames)
        with pytest.raises(UnusableClip) as refused:
            signal = dict(modality.signal(clip, params, np.random.default_rng(0)))
            if height:
                signal["joints"] = np.broadcast_to(person(50, 50, height), signal["joints"].shape)
                signal["scores"] = np.zeros_like(signal["scores"])
                signal["scores"][..., :seen] = 1
            modality.columns(clip, signal, params)
        return refused.value.reason

    assert reason([scene({})] * 9) == "no_person"
    assert reason([scene(AT)] * 9, height=40) == "tiny_person"
    assert reason([scene(AT)] * 9, height=300, seen=3) == "no_person"
    light = cv2.add(scene({(3, 8): MAN}, [(110.5, 210.5), (150.5, 250.5), (120.5, 330.5)]), (90, 60, 0, 0))
    assert reason([scene(AT)] * 5 + [light] * 4) == "cut_inside"


def test_a_cut_is_one_where_nobody_goes_on() -> None:
    def poses(xs: list[float]) -> pose.Poses:
        joints = np.stack([[person(x, 100, 100)] for x in xs])
        return pose.Poses(joints=joints, scores=np.ones(joints.shape[:3], np.float32))

    dark, light = np.zeros((72, 128, 3), np.uint8), np.full((72, 128, 3), 90, np.uint8)
    cut, flash = [dark] * 4 + [light] * 4, [dark] * 4 + [light] + [dark] * 3
    there = [50.0] * 4 + [400.0] * 4
    assert modality.cut_at(cut, poses(there)) == 4
    assert modality.cut_at(cut, poses([50.0] * 8)) is None  # a lamp
    assert modality.cut_at([dark] * 8, poses(there)) is None  # a jump
    assert modality.cut_at(flash, poses([50.0] * 8)) is None
    gone = poses(there)
    gone.scores[4:] = 0
    assert modality.cut_at(cut, gone) is None  # nobody comes: it cannot be told


def test_its_estimator_is_that_of_its_options(weights: Path) -> None:
    assert modality.estimator_of(modality.Params()).name == "mediapipe"
    params = modality.Params(estimator="dwpose", weights=str(weights))
    assert modality.weights_of(params) == pose.weights_hash("dwpose", weights=str(weights))
    with pytest.raises(ValueError, match="estimator: no pose estimator 'openpose'"):
        modality.Params(estimator="openpose")
    with pytest.raises(ValueError, match="min_size"):
        modality.Params(min_size=-0.1)
    for card in pose.ESTIMATORS:
        assert card.family == "pose" and card.license == "Apache-2.0" and pose.card_of(card.name) is card
