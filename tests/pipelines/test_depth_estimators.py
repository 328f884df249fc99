"""Depth estimators: the real network with random weights, the worker against checkouts written here, and flicker."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import depth
from pipelines.estimators.depth_anything import DepthAnything
from pipelines.estimators.depth_steady import follow, steady
from pipelines.modality import Clip, load, make_params
from pipelines.timeline import Timeline
from tests.pipelines import tiny_depth
from tests.pipelines.tiny_depth import panned

SMALL, VIDEO, THREE = "depth-anything-v2-small", "video-depth-anything-small", "depth-anything-3-small"


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Processes and networks of these tests do not outlive them."""
    yield
    depth.load.cache_clear()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_depth.save(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_: Any) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


# Depth Anything 2


@pytest.mark.parametrize("size", [(72, 128), (128, 72), (60, 60), (448, 768)])
def test_the_network_sees_what_the_library_would_show_it(weights: Path, size: tuple[int, int]) -> None:
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    picture = (40 + 0.7 * panned(1, size[1], size[0])[0][0]).astype(
        np.uint8
    )  # PIL cuts overshoots off in between
    short = min(size)
    wanted = {"height": round(size[0] * 56 / short), "width": round(size[1] * 56 / short)}
    processor = DPTImageProcessorPil(
        size=wanted,
        keep_aspect_ratio=False,
        ensure_multiple_of=14,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    expected = processor(picture, return_tensors="np")["pixel_values"]
    found = DepthAnything(weights, "cpu").prepared(torch.from_numpy(picture[None])).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1.5 / 255 / 0.224  # PIL rounds to whole numbers twice


def test_depth_of_each_frame_is_the_networks(weights: Path) -> None:
    frames, _ = panned(3)
    one_by_one = DepthAnything(weights, "cpu")
    found = one_by_one(np.stack(frames))["inverse"]
    assert found.shape == (3, 72, 128) and found.dtype == np.float32 and found.std() > 0.01
    with torch.inference_mode():
        raw = tiny_depth.network()(one_by_one.prepared(torch.from_numpy(np.stack(frames)))).predicted_depth
    assert raw.shape == (3, 56, 98)
    for one, other in zip(found, raw.numpy(), strict=True):
        np.testing.assert_allclose(one, cv2.resize(other, (128, 72)), atol=1e-3 * float(raw.std()))


def test_estimate_says_what_it_is_and_is_the_same_again(weights: Path) -> None:
    frames, _ = panned()
    estimator = depth.load(SMALL, weights=str(weights), device="cpu")
    found, again = estimator(frames), estimator(frames)
    assert found.inverse.shape == (9, 72, 128) and found.inverse.dtype == np.float32
    assert (found.unknown, found.confidence) == ("scale and shift", None)
    assert found.flicker is not None and found.flicker >= 0
    np.testing.assert_array_equal(found.inverse, again.inverse)
    assert depth.load(SMALL, weights=str(weights), device="cpu") is estimator
    raw = DepthAnything(weights, "cpu")(np.stack(frames))["inverse"]
    np.testing.assert_array_equal(found.inverse, steady(raw, follow(frames)))
    for steadied, before in zip(found.inverse, raw, strict=True):  # a scale and shift for each frame, no more
        assert np.corrcoef(steadied.ravel(), before.ravel())[0, 1] > 1 - 1e-5


def test_weights_are_told_apart_by_their_content(weights: Path, tmp_path: Path) -> None:
    said = depth.load(SMALL, weights=str(weights), device="cpu").weights
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update(f"{name}\0{hashlib.sha256((weights / name).read_bytes()).hexdigest()}\n".encode())
    assert said == depth.weights_hash(SMALL, weights=str(weights)) == digest.hexdigest()
    same, other = tiny_depth.save(tmp_path / "same"), tiny_depth.save(tmp_path / "other", seed=1)
    assert depth.weights_hash(SMALL, weights=str(same)) == said
    assert depth.weights_hash(SMALL, weights=str(other)) != said


@given(fits=st.integers(1, 9), count=st.integers(1, 9))
@settings(deadline=None, max_examples=10)
def test_batches_are_halved_until_they_fit(weights: Path, fits: int, count: int) -> None:
    frames = np.stack(panned(count, 56, 56)[0])
    one_by_one, tried = DepthAnything(weights, "cpu"), list[int]()
    network, expected = one_by_one.network, one_by_one(frames)["inverse"]

    def cramped(pixel_values: torch.Tensor) -> Any:
        tried.append(len(pixel_values))
        if len(pixel_values) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(pixel_values=pixel_values)

    one_by_one.network = mock.Mock(side_effect=cramped, config=network.config, dtype=network.dtype)
    np.testing.assert_allclose(one_by_one(frames)["inverse"], expected, rtol=1e-4, atol=1e-4)
    assert sum(size > fits for size in tried) <= 4  # from 9 by halves
    before = len(tried)
    one_by_one(frames)
    assert max(tried[before:]) <= fits  # it has learnt


def test_a_frame_too_large_for_the_memory_is_refused(weights: Path) -> None:
    one_by_one = DepthAnything(weights, "cpu")
    config, full = one_by_one.network.config, torch.OutOfMemoryError("CUDA out of memory")
    one_by_one.network = mock.Mock(side_effect=full, config=config, dtype=torch.float32)
    with pytest.raises(UnusableClip, match=r"128x72.*memory") as refused:
        one_by_one(np.stack(panned()[0]))
    assert refused.value.reason == "out_of_memory"


@pytest.mark.parametrize(("bias", "reason"), [(float("nan"), "not_finite"), (-1e9, "flat_depth")])
def test_what_is_no_depth_is_refused(tmp_path: Path, bias: float, reason: str) -> None:
    broken = tiny_depth.network()
    torch.nn.init.constant_(broken.head.conv3.bias, bias)
    broken.save_pretrained(tmp_path)
    with pytest.raises(UnusableClip, match=SMALL) as refused:
        depth.load(SMALL, weights=str(tmp_path), device="cpu")(panned()[0])
    assert refused.value.reason == reason


def test_a_cut_inside_is_refused(weights: Path) -> None:
    shots = [*panned(4, 320, 192, seed=1)[0], *panned(4, 320, 192, seed=11)[0]]
    with pytest.raises(UnusableClip, match="from frame 3 to the next: a cut") as refused:
        depth.load(SMALL, weights=str(weights), device="cpu")(shots)
    assert refused.value.reason == "cut_inside"


def test_weights_that_lack_some_or_are_no_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((weights / "config.json").read_bytes())
    tensors = load_file(weights / "model.safetensors")
    del tensors["head.conv1.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EstimatorUnavailable, match="lacks 1 of"):
        DepthAnything(tmp_path, "cpu")
    (tmp_path / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(EstimatorUnavailable, match="does not load"):
        DepthAnything(tmp_path, "cpu")


def test_weights_of_another_licence_are_not_taken_for_these(weights: Path, tmp_path: Path) -> None:
    config = json.loads((weights / "config.json").read_text())
    config["backbone_config"]["hidden_size"] = 768
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigError, match="depth-anything-v2-base"):
        depth.weights_hash(SMALL, weights=str(tmp_path))
    assert depth.weights_hash("depth-anything-v2-base", weights=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_name": "da3-large"}')
    with pytest.raises(ConfigError, match="size large"):
        depth.weights_hash(THREE, weights=str(tmp_path), checkout=str(tmp_path))
    assert not depth.card_of("depth-anything-v2-base").commercial_ok and depth.card_of(SMALL).commercial_ok


# What is missing


def test_missing_weights_are_named_at_once_without_the_network(no_hub: Path) -> None:
    with pytest.raises(EstimatorUnavailable) as missing:
        depth.load(SMALL)
    assert missing.value.hint == (
        "Get them with `hf download depth-anything/Depth-Anything-V2-Small-hf config.json model.safetensors`, "
        "or say weights=FOLDER. Or say estimator=motion: it wants no weights, but a camera that moves."
    )
    with pytest.raises(EstimatorUnavailable, match="/no/such/folder"):
        depth.load(SMALL, weights="/no/such/folder")


def test_weights_in_the_hubs_cache_are_found(no_hub: Path, weights: Path) -> None:
    repository = no_hub / "models--depth-anything--Depth-Anything-V2-Small-hf"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").symlink_to(weights / "config.json")
    depth.weights_hash.cache_clear()
    with pytest.raises(EstimatorUnavailable, match="not here"):  # a download that broke off
        depth.weights_hash(SMALL)
    (snapshot / "model.safetensors").symlink_to(weights / "model.safetensors")
    assert depth.weights_hash(SMALL) == depth.weights_hash(SMALL, weights=str(weights))
    depth.weights_hash.cache_clear()


def test_a_folder_without_weights_and_a_missing_checkout_are_named(no_hub: Path, tmp_path: Path) -> None:
    with pytest.raises(EstimatorUnavailable, match=r"has no config.json.*--local-dir"):
        depth.load(SMALL, weights=str(tmp_path))
    with pytest.raises(
        EstimatorUnavailable, match=r"git clone https://github.com/DepthAnything/Video-Depth-Anything"
    ):
        depth.load(VIDEO)
    with pytest.raises(EstimatorUnavailable, match=r"no folder.*git clone .*/Depth-Anything-3"):
        depth.load(THREE, checkout=str(tmp_path / "nothing"))
    with pytest.raises(
        EstimatorUnavailable, match=r"hf download depth-anything/Video-Depth-Anything-Small video_"
    ):
        depth.load(VIDEO, checkout=str(tmp_path))
    with pytest.raises(ConfigError, match=f"There are: {SMALL}"):
        depth.load("midas")


# In processes of their own

VIDEO_CHECKOUT = """
    import torch

    print("xFormers not available")

    class VideoDepthAnything(torch.nn.Module):
        def __init__(self, encoder, features, out_channels):
            super().__init__()
            assert (encoder, features, out_channels) == ("vits", 64, [48, 96, 192, 384])
            self.scale = torch.nn.Parameter(torch.zeros(()))

        def infer_video_depth(self, frames, target_fps, input_size=518, device="cuda", fp32=False):
            assert frames.dtype == "uint8" and frames.shape[3] == 3 and input_size == 518
            assert device == "cpu" and fp32 and not self.training
            print("chatter on stdout")
            mode = int(frames[0, 0, 0, 0])
            if mode == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            if mode == 2:
                import os
                os._exit(7)
            if mode == 3:
                frames = frames[1:]
            if mode == 4:
                raise ValueError("odd frames")
            return float(self.scale) * frames[..., 0].astype("float32"), target_fps
"""

THREE_CHECKOUT = """
    import types

    import numpy as np

    print("[WARN ] Dependency `gsplat` is required")

    class DepthAnything3:
        @classmethod
        def from_pretrained(cls, folder):
            assert open(folder + "/config.json").read() == "{}"
            return cls()

        def to(self, device):
            assert device == "cpu"
            return self

        def eval(self):
            return self

        def inference(self, image, process_res=504):
            assert isinstance(image, list) and image[0].dtype == "uint8" and process_res == 504
            small = np.stack([frame[..., 0].reshape(24, 2, 32, 2).mean(axis=(1, 3)) for frame in image])
            return types.SimpleNamespace(depth=1 / (1 + small), conf=1 + small)
"""


def written(folder: Path, module: str, source: str) -> Path:
    """A checkout with one module."""
    file = folder / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(line[4:] for line in source.splitlines()))
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> depth.Estimator:
    folder = tmp_path_factory.mktemp("video")
    checkout = written(folder / "checkout", "video_depth_anything.video_depth", VIDEO_CHECKOUT)
    torch.save({"scale": torch.tensor(2.0)}, folder / "video_depth_anything_vits.pth")
    return depth.load(VIDEO, weights=str(folder), checkout=str(checkout), device="cpu")


def marked(mode: int) -> list[np.ndarray]:
    frames, _ = panned(5, 64, 48)
    frames[0][0, 0, 0] = mode
    return frames


def test_a_video_network_is_run_from_its_checkout(video: depth.Estimator) -> None:
    frames = marked(0)
    found = video(frames)
    np.testing.assert_array_equal(found.inverse, 2 * np.stack(frames)[..., 0].astype(np.float32))
    assert found.unknown == "scale and shift" and found.confidence is None and len(video.weights) == 64


@pytest.mark.parametrize(
    ("mode", "reason", "message"),
    [
        (1, "out_of_memory", "CUDA out of memory"),
        (2, "crashed", "exit status 7"),
        (3, "estimator_failed", r"\(4, 48, 64\) for 5 frames"),
        (4, "estimator_failed", "ValueError: odd frames"),
    ],
)
def test_what_goes_wrong_in_its_process_is_told_and_does_not_last(
    video: depth.Estimator, mode: int, reason: str, message: str
) -> None:
    with pytest.raises(UnusableClip, match=message) as refused:
        video(marked(mode))
    assert refused.value.reason == reason
    assert video(marked(0)).inverse.shape == (5, 48, 64)


@pytest.mark.parametrize("module", ["depth_anything_3.api", "src.depth_anything_3.api"])
def test_depth_of_all_frames_together_becomes_inverse_at_the_frames_size(tmp_path: Path, module: str) -> None:
    checkout = written(tmp_path / "checkout", module, THREE_CHECKOUT)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    estimator = depth.load(THREE, weights=str(tmp_path), checkout=str(checkout), device="cpu")
    frames = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in panned(5, 64, 48)[0]]
    found = estimator(frames)
    expected = 1.0 + np.stack(frames)[..., 0]
    assert found.unknown == "scale" and found.confidence is not None
    assert found.inverse.shape == found.confidence.shape == expected.shape
    assert (
        np.abs(found.inverse - expected)[:, 2:-2, 2:-2].max() < 8
    )  # of 256; every second pixel was looked at
    np.testing.assert_allclose(found.confidence, found.inverse, rtol=1e-4)


def test_a_checkout_of_something_else_is_told(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "video_depth_anything_vits.pth")
    empty = tmp_path / "checkout"
    empty.mkdir()
    with pytest.raises(
        EstimatorUnavailable, match=r"No module named 'video_depth_anything'.*needs what https"
    ):
        depth.load(VIDEO, weights=str(tmp_path), checkout=str(empty), device="cpu")


def test_a_checkouts_own_environment_runs_it(tmp_path: Path) -> None:
    (tmp_path / "video_depth_anything_vits.pth").write_bytes(b"")
    python = tmp_path / "checkout" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho its own python >&2\nexit 5\n")
    python.chmod(0o755)
    with pytest.raises(EstimatorUnavailable, match=r"exit status 5.*its own python"):
        depth.load(VIDEO, weights=str(tmp_path), checkout=str(tmp_path / "checkout"), device="cpu")


# The modality


@pytest.fixture(scope="module")
def clip() -> Clip:
    frames, _ = panned(9, 128, 64)
    line = Timeline(width=128, height=64, frames=9, fps=Fraction(24))
    return Clip(frames=frames, audio=None, timeline=line)


def test_depth_of_a_real_clip_is_kept_relative_and_drawn(weights: Path, clip: Clip) -> None:
    modality = load("depth")
    params = make_params(modality, {"weights": str(weights)})
    assert modality.estimator_of(params).name == SMALL
    assert modality.weights_of(params) == depth.weights_hash(SMALL, weights=str(weights))
    signal = modality.signal(clip, params, np.random.default_rng(0))
    found = depth.load(SMALL, weights=str(weights))(clip.frames)
    low, high = signal["ends"].astype(float)
    decoded = low + signal["inverse"] * ((high - low) / 65535)
    np.testing.assert_allclose(decoded, found.inverse, atol=(high - low) / 65535)
    columns = modality.columns(clip, signal, params)
    assert columns == {
        "depth_unit": "relative",
        "depth_covered": 1.0,
        "depth_near_m": None,
        "depth_far_m": None,
        "depth_flicker": pytest.approx(found.flicker),
    }
    drawn = np.stack(modality.canvas(clip, signal, params))
    assert drawn.shape == (9, 64, 128, 3) and drawn.dtype == np.uint8 and np.ptp(drawn) == 255
    order = np.argsort(found.inverse.ravel())
    assert (np.diff(drawn[..., 0].ravel()[order].astype(int)) >= -1).all()  # nearer is no darker


def test_a_clip_without_weights_has_no_depth(no_hub: Path, clip: Clip) -> None:
    modality = load("depth")
    depth.weights_hash.cache_clear()
    for ask in (
        lambda: modality.signal(clip, modality.params(), np.random.default_rng(0)),
        lambda: modality.weights_of(modality.params()),
    ):
        with pytest.raises(EstimatorUnavailable, match="hf download"):
            ask()
    with pytest.raises(ConfigError, match=r"depth: estimator: .*There are"):
        make_params(modality, {"estimator": "midas"})


def test_cards_are_whole() -> None:
    for card in depth.ESTIMATORS:
        assert card.family == "depth" and card.packages and card.summary
        assert card.commercial_ok == (card.license == "Apache-2.0")
