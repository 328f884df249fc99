"""Masks: motion against exact layers, people by a process, SAM 2's and EdgeTAM's classes."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import masks
from pipelines.estimators.masks_motion import moving
from pipelines.estimators.masks_sam import Follower
from pipelines.estimators.mediapipe_home import find_mediapipe, mediapipe
from tests.pipelines import dotted, tiny_sam
from tests.pipelines.discs import discs, line
from tests.pipelines.moving import scene, slide, texture
from tests.pipelines.portrait import FACE, portrait

try:
    find_mediapipe()
    MISSING = ""
except EstimatorUnavailable as error:
    MISSING = str(error)
needs_mediapipe = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("AVCONTROL_TEST_MEDIAPIPE"), reason=f"make mediapipe: {MISSING}"
)

KINDS = {"sam2": "Sam2Video", "edgetam": "EdgeTamVideo"}


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """One thread, and nothing of these tests outlives them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    masks.load.cache_clear()
    mediapipe.cache_clear()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def passing(step: tuple[float, float], camera: tuple[float, float], seed: int, count: int = 17) -> Any:
    """Frames of a disc that moves by ``step`` before a wall that the camera moves over, and where it is, [F, H, W]."""
    ground = slide(camera, (160, 96), count, seed)
    thing = texture(40, 40, np.random.default_rng(seed + 1))
    disc = cv2.circle(np.zeros((40, 40), np.uint8), (20, 20), 16, 255, -1)
    truth = np.zeros((count, 96, 160), bool)
    for n, frame in enumerate(ground):
        at = 60 + step[0] * (n - count // 2), 28 + step[1] * (n - count // 2)
        place = np.array([[1, 0, at[0]], [0, 1, at[1]]], float)
        truth[n] = cv2.warpAffine(disc, place, (160, 96)) > 127
        frame[truth[n]] = cv2.warpAffine(thing, place, (160, 96))[truth[n]]
    return ground, truth


# Motion


def test_layers_that_move_are_found_as_they_are() -> None:
    scores = []
    for seed in range(3):
        clip = scene(seed, count=25)
        found = masks.load("motion")(clip.frames)
        scores.append(iou(found.labels > 0, clip.layers > 0))
        assert set(found.kinds) == {"object"} and len(found.kinds) == len(found.scores) == found.labels.max()
        assert found.labels.dtype == np.uint8 and ((found.scores > 0.5) & (found.scores <= 1)).all()
    assert min(scores) > 0.85 and np.mean(scores) > 0.89


@settings(deadline=None, max_examples=10)
@given(
    pace=st.floats(3, 5) | st.floats(-5, -3),
    slope=st.floats(-0.3, 0.3),
    camera=st.sampled_from([(0.0, 0.0), (1.5, -0.5), (-2.5, 1.0)]),
    seed=st.integers(0, 99),
)
def test_what_moves_by_itself_is_found_whatever_the_camera_does(
    pace: float, slope: float, camera: tuple[float, float], seed: int
) -> None:
    frames, truth = passing((pace + camera[0], slope * pace + camera[1]), camera, seed)
    found = moving(frames)
    assert found.shape == truth.shape and found.dtype == np.float16
    inside = truth.any(axis=(1, 2))
    assert iou(found[inside] > 0.5, truth[inside]) > 0.65


@settings(deadline=None, max_examples=8)
@given(step=st.tuples(st.floats(-4, 4), st.floats(-4, 4)), seed=st.integers(0, 99))
def test_a_camera_that_moves_over_a_still_wall_sees_nothing_move(
    step: tuple[float, float], seed: int
) -> None:
    with pytest.raises(UnusableClip, match="nothing moves") as refused:
        masks.load("motion")(slide(step, (160, 96), 13, seed))
    assert refused.value.reason == "no_object"


def test_what_tarried_leaves_nothing_behind() -> None:
    """It stands still for a third of the clip, and then goes: the place where it stood is not it."""
    ground = slide((0, 0), (160, 96), 30)
    thing = texture(30, 30, np.random.default_rng(5))
    truth = np.zeros((30, 96, 160), bool)
    for n, frame in enumerate(ground):
        at = slice(30, 60), slice(20 + 5 * max(0, n - 9), 50 + 5 * max(0, n - 9))
        frame[at], truth[n][at] = thing, True
    found = moving(ground) > 0.5
    assert iou(found[5:], truth[5:]) > 0.8
    assert not found[20:, 30:60, 15:45].any()


def test_a_clip_of_no_use_is_told_why() -> None:
    def reason(frames: list[np.ndarray]) -> str:
        with pytest.raises(UnusableClip) as refused:
            masks.load("motion")(frames)
        return refused.value.reason

    flat = [np.full((96, 160, 3), level, np.uint8) for level in range(100, 109)]
    assert reason(flat) == "no_texture"
    assert reason([*slide((1, 0), (160, 96), 5, 0), *slide((1, 0), (160, 96), 5, 1)]) == "cut_inside"
    assert reason(slide((1, 0), (160, 96), 1)) == "no_object"
    with pytest.raises(ConfigError, match="no masks estimator 'sam3'"):
        masks.load("sam3")


def test_it_is_the_same_again_and_frames_stay_as_they_are() -> None:
    frames, _ = dotted.clip()
    before = np.stack(frames)
    one, two = masks.load("motion")(frames), masks.load("motion")(frames)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(np.stack(frames), before)


# People, by a process


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """MediaPipe's process, if it were here: people are where it is white."""

    def answer(frames: np.ndarray, what: np.ndarray) -> dict[str, np.ndarray]:
        assert frames.dtype == np.uint8 and frames.ndim == 4 and str(what) == "person"
        return {"mask": (frames.min(axis=-1) / 255).astype(np.float16)}

    process = mock.Mock(side_effect=answer)
    monkeypatch.setattr(masks, "mediapipe", lambda: process)
    masks.load.cache_clear()
    return process


def test_people_are_told_apart(hosted: mock.Mock) -> None:
    two = discs([line((20, 30), (60, 30)), line((140, 70), (100, 70))])
    frames = [np.repeat(frame[..., None], 3, -1) for frame in np.uint8(230) * two.any(0)]
    found = masks.load("selfie")(frames)
    assert found.kinds == ("person", "person") and hosted.call_count == 1
    np.testing.assert_array_equal(found.labels > 0, two.any(0))
    assert found.scores == pytest.approx([230 / 255] * 2, abs=1e-3)
    with pytest.raises(UnusableClip, match="nobody") as refused:
        masks.load("selfie")([np.zeros((64, 96, 3), np.uint8)] * 9)
    assert refused.value.reason == "no_object"
    with pytest.raises(UnusableClip, match="cover 100%"):
        masks.load("selfie")([np.full((64, 96, 3), 255, np.uint8)] * 9)
    hosted.side_effect = lambda frames, what: {"mask": np.full(frames.shape[:3], np.nan, np.float16)}
    with pytest.raises(UnusableClip) as refused:
        masks.load("selfie")(frames)
    assert refused.value.reason == "not_finite"


def test_without_mediapipe_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AVCONTROL_MEDIAPIPE", str(tmp_path / "none"))
    masks.load.cache_clear()
    mediapipe.cache_clear()
    with pytest.raises(EstimatorUnavailable, match="make mediapipe"):
        masks.load("selfie")


@needs_mediapipe
def test_a_photographed_person_is_found() -> None:
    her = cv2.resize(portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    frames = []
    for n in range(6):
        frame = np.full((352, 640, 3), 128, np.uint8)
        frame[40 : 40 + len(her), 100 + 2 * n : 100 + 2 * n + her.shape[1]] = her
        frames.append(frame)
    found = masks.load("selfie")(frames)
    assert found.kinds == ("person",) and found.scores[0] > 0.7
    x, y = 100 + FACE[0] // 2, 40 + FACE[1] // 2
    assert found.labels[0, y - 20 : y + 20, x - 20 : x + 20].all() and not found.labels[:, :, 400:].any()


# SAM 2 and EdgeTAM


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def weights(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sam.save(tmp_path_factory.mktemp(name), KINDS[name])


BOXES = np.array([[10, 10, 30, 30], [40, 5, 70, 40]], np.float32)


def noise(count: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 48, 80, 3), dtype=np.uint8)


def test_the_network_is_shown_what_was_trained_on(name: str, weights: Path) -> None:
    follower = Follower(weights, KINDS[name], "cpu")
    picture = cv2.resize(noise(1)[0], (300, 120))
    shown = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR), float)
    expected = (shown / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = follower.prepared(picture).numpy().transpose(1, 2, 0)
    assert np.abs(found - expected).max() < 1.5 / 255 / 0.224  # PIL rounds twice


def test_objects_are_followed_both_ways(name: str, weights: Path) -> None:
    follower, frames = Follower(weights, KINDS[name], "cpu"), noise()
    found = follower(frames=frames, boxes=BOXES, frame=np.array(3))
    assert found["labels"].shape == frames.shape[:3] and found["labels"].dtype == np.uint8
    assert found["sure"].dtype == np.float16 and found["labels"].max() <= 2
    np.testing.assert_array_equal(found["labels"] > 0, found["sure"] > 0)
    assert (found["sure"][found["labels"] > 0] >= 0.5).all()
    assert (found["labels"] > 0).any(axis=(1, 2)).sum() >= 6  # before the prompt and after it

    # The first object alone in its frame, by the class itself.
    session = follower._session(
        video=torch.stack([follower.prepared(frame) for frame in frames]),
        video_height=48,
        video_width=80,
        dtype=torch.float32,
    )
    box = torch.tensor(BOXES[0].reshape(2, 2) * (64 / 80, 64 / 48))[None, None].float()
    session.add_point_inputs(
        session.obj_id_to_idx(7), 3, {"point_coords": box, "point_labels": torch.tensor([[[2, 3]]])}
    )
    session.obj_with_new_inputs = [7]
    with torch.inference_mode():
        logits = follower.network(session, frame_idx=3).pred_masks[0, 0].numpy()
    logits = cv2.resize(logits, (80, 48), interpolation=cv2.INTER_LINEAR)
    alone = follower(frames=frames, boxes=BOXES[:1], frame=np.array(3))
    clear = np.abs(logits) > 0.01  # half precision does not tell the others
    assert clear.mean() > 0.9 and 0 < (logits > 0).mean() < 1
    np.testing.assert_array_equal(alone["labels"][3][clear] > 0, logits[clear] > 0)
    inside = logits > 0.01
    np.testing.assert_allclose(alone["sure"][3][inside], 1 / (1 + np.exp(-logits[inside])), atol=2e-3)


def test_objects_are_halved_until_they_fit(name: str, weights: Path) -> None:
    frames = noise(3)
    boxes = np.concatenate([BOXES, BOXES + 5, BOXES - 5])
    follower = Follower(weights, KINDS[name], "cpu")
    expected = follower(frames=frames, boxes=boxes, frame=np.array(1))
    tried, followed = list[int](), follower._followed

    def cramped(frames: np.ndarray, boxes: np.ndarray, first: int) -> Any:
        tried.append(len(boxes))
        if len(boxes) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return followed(frames, boxes, first)

    with mock.patch.object(follower, "_followed", cramped):
        found = follower(frames=frames, boxes=boxes, frame=np.array(1))
    assert tried == [6, 3, 1, 1, 1, 1, 1, 1]
    assert (found["labels"] != expected["labels"]).mean() < 0.01

    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with mock.patch.object(follower, "_followed", never), pytest.raises(UnusableClip) as refused:
        follower(frames=frames, boxes=boxes, frame=np.array(1))
    assert refused.value.reason == "out_of_memory"


def test_what_is_no_number_is_refused(name: str, weights: Path) -> None:
    follower = Follower(weights, KINDS[name], "cpu")
    with torch.no_grad():
        for values in follower.network.mask_decoder.parameters():
            values.fill_(float("nan"))
    with pytest.raises(UnusableClip) as refused:
        follower(frames=noise(3), boxes=BOXES, frame=np.array(1))
    assert refused.value.reason == "not_finite"


def test_it_starts_from_what_moves(name: str, weights: Path) -> None:
    frames, moves = dotted.clip()
    estimator = masks.load(name, weights=str(weights), device="cpu")
    start = masks.load("motion")(frames)
    asked: dict[str, Any] = {}
    sure = np.full(moves.shape, 0.75, np.float16)

    def follower(**arrays: np.ndarray) -> dict[str, np.ndarray]:
        asked.update(arrays)
        return {"labels": moves.astype(np.uint8), "sure": sure}

    found = masks._followed(follower)(frames)
    frame = int(asked["frame"])
    assert (start.labels[frame] > 0).sum() == (start.labels > 0).sum(axis=(1, 2)).max()
    for left, top, right, bottom in asked["boxes"].astype(int):
        inside = start.labels[frame, top:bottom, left:right] > 0
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
    np.testing.assert_array_equal(found[0], moves)
    assert found[1].tolist() == [0.75]
    assert estimator.card.name == name and estimator.weights == masks.weights_hash(name, weights=str(weights))
    try:
        real = estimator(frames)  # random weights see something or nothing, and say so
    except UnusableClip as refused:
        assert refused.reason == "no_object"
    else:
        assert real.labels.shape == moves.shape and set(real.kinds) == {"object"}


def test_weights_are_told_by_their_content(name: str, weights: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256()
    for file in ("config.json", "model.safetensors"):
        digest.update(f"{file}\0{hashlib.sha256((weights / file).read_bytes()).hexdigest()}\n".encode())
    assert masks.weights_hash(name, weights=str(weights)) == digest.hexdigest()
    other = tiny_sam.save(tmp_path / "other", KINDS[name], seed=1)
    assert masks.weights_hash(name, weights=str(other)) != digest.hexdigest()
    assert masks.weights_hash("motion") == masks.weights_hash("selfie") == ""


def test_what_is_missing_is_told_without_the_network(
    name: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        socket.socket, "connect", mock.Mock(side_effect=AssertionError("it asked the network"))
    )
    masks.weights_hash.cache_clear()
    with pytest.raises(EstimatorUnavailable, match=f"hf download {masks.card_of(name).weights} config.json"):
        masks.load(name)
    with pytest.raises(EstimatorUnavailable, match=r"has no config\.json.*--local-dir"):
        masks.load(name, weights=str(tmp_path))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((weights / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(EstimatorUnavailable, match="does not load"):
        masks.load(name, weights=str(broken))
    config = json.loads((weights / "config.json").read_text())
    config["memory_attention_num_layers"] = 2
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    masks.load.cache_clear()
    with pytest.raises(EstimatorUnavailable, match="lacks"):
        Follower(broken, KINDS[name], "cpu")


def test_cards_are_whole() -> None:
    assert [card.name for card in masks.ESTIMATORS] == ["motion", "selfie", "sam2", "edgetam"]
    for card in masks.ESTIMATORS:
        assert card.family == "masks" and card.license == "Apache-2.0" and card.commercial_ok and card.summary
        assert bool(card.weights) == bool(card.packages)
