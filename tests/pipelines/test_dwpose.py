"""DWPose by rtmlib's own classes, with tiny networks that answer in closed form."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from catalogs.errors import EstimatorUnavailable, UnusableClip
from pipelines.estimators import pose
from tests.pipelines import tiny_dwpose
from tests.pipelines.tiny_dwpose import AT, CAR, MAN, scene


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dwpose.save(tmp_path_factory.mktemp("dwpose"))


@pytest.fixture(scope="module")
def dwpose(weights: Path) -> pose.Estimator:
    return pose.load("dwpose", weights=str(weights), device="cpu")


@pytest.mark.parametrize("scale", [1, 2])
def test_joints_are_where_their_colour_is(dwpose: pose.Estimator, scale: int) -> None:
    rng = np.random.default_rng(scale)
    dots = rng.integers((225, 165), (385, 380), (6, 3, 2)) + 0.5 / scale  # in the middle of a pixel
    pictures = [scene({(9, 8): MAN, (15, 15): CAR}, one, scale) for one in dots]
    found = dwpose.network(frames=np.stack([scene({}, scale=scale), *pictures]))
    places, sure = found["joints"], found["scores"]
    assert places.shape == (7, 1, 133, 2) and places.dtype == np.float32  # a car is nobody
    assert np.isnan(places[0]).all() and not sure[0].any()
    assert np.isnan(places[:, 0, 0]).all()  # it does not answer
    seen = 1.25 * tiny_dwpose.BOX[1] * scale / 384  # pixels of the picture to one that the network sees
    for colour in (0, 1):  # its own cell is bluer than the blue dot
        joints = slice(3 + colour, 133, 3)
        error = places[1:, 0, joints] - dots[:, None, colour] * scale
        assert np.abs(error).max() <= 0.6 * seen + 0.1 and np.abs(error.mean((0, 1))).max() < 0.3 * seen
        part = sure[1:, 0, joints] / (0.5 + np.arange(133)[joints] / 266)
        np.testing.assert_allclose(part, 1, atol=0.06)


@pytest.mark.parametrize("batch", [1, None])
def test_people_are_looked_at_together_where_the_file_allows_it(tmp_path: Path, batch: int | None) -> None:
    estimator = pose.load("dwpose", weights=str(tiny_dwpose.save(tmp_path, batch=batch)), device="cpu")
    frames = [scene({(4 + n, 8): MAN, (14, 8): MAN}) for n in range(5)]
    together = estimator.network(frames=np.stack(frames))
    assert together["joints"].shape == (5, 2, 133, 2)
    calls: list[int] = []
    session = estimator.network.poses.session

    def cramped(names: Any, given: dict[str, np.ndarray]) -> Any:
        calls.append(len(next(iter(given.values()))))
        if calls[-1] > 3:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 12")
        return session.run(names, given)

    estimator.network.poses.session = mock.Mock(wraps=session, run=cramped)
    again = estimator.network(frames=np.stack(frames))
    assert calls == ([1] * 10 if batch else [10, 10, 8, 4, 2, 2, 2, 2, 2][: len(calls)])
    for name, array in together.items():
        np.testing.assert_allclose(again[name], array, atol=1e-4)
    estimator.network.poses.session = mock.Mock(
        wraps=session, run=mock.Mock(side_effect=RuntimeError("alloc"))
    )
    with pytest.raises(UnusableClip) as refused:
        estimator(frames)
    assert refused.value.reason == "out_of_memory"


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    estimator = pose.load("dwpose", weights=str(tiny_dwpose.save(tmp_path, nan=True)), device="cpu")
    with pytest.raises(UnusableClip, match="dwpose gives no finite place") as refused:
        estimator([scene(AT)])
    assert refused.value.reason == "not_finite"


def test_its_weights_are_told_by_their_content_and_found_without_the_network(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", mock.Mock(side_effect=AssertionError("the network")))
    files = ("yolox_l.onnx", "dw-ll_ucoco_384.onnx")
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{name}\0{hashlib.sha256((weights / name).read_bytes()).hexdigest()}\n".encode())
    said = pose.weights_hash("dwpose", weights=str(weights))
    assert said == digest.hexdigest()
    for folder in ("", "/no/such/folder"):
        with pytest.raises(EstimatorUnavailable) as missing:
            pose.load("dwpose", weights=folder)
        assert "`hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx" in missing.value.hint
    repository = tmp_path / "hub" / "models--yzd-v--DWPose"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / files[0]).symlink_to(weights / files[0])
    with pytest.raises(EstimatorUnavailable, match="its weights are not here"):
        pose.weights_hash("dwpose")
    (snapshot / files[1]).symlink_to(weights / files[1])
    assert pose.weights_hash("dwpose") == said
    pose.weights_hash.cache_clear()
