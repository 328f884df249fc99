"""Networks that give cameras, against checkouts written here: what they are asked, what becomes of their answers."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import cameras
from pipelines.estimators.camera_errors import compare
from pipelines.estimators.camera_networks import Networked, reprojected
from pipelines.estimators.camera_path import posed
from pipelines.estimators.camera_tracks import Chain
from pipelines.estimators.cameras_worker import fitted
from renderers import room
from renderers.scenes.cameras import project, world_to_camera
from renderers.scenes.trajectories import Move

SIZE = (320, 192)
BASE, SPATIAL = "depth-anything-3-base", "spatialtracker-v2"


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Processes of these tests do not outlive them."""
    yield
    cameras.load.cache_clear()


@pytest.fixture(scope="module")
def arc() -> room.Room:
    return room.render(*room.camera_path((Move(kind="arc", amount=12.0),), 5, *SIZE, seed=1), *SIZE, seed=1)


DA3 = """
    import types

    import numpy as np

    print("[WARN ] Dependency `gsplat` is required")

    class DepthAnything3:
        @classmethod
        def from_pretrained(cls, folder):
            made = cls()
            made.truth = np.load(folder + "/truth.npz")
            return made

        def to(self, device):
            assert device == "cpu"
            return self

        def eval(self):
            return self

        def inference(self, image, process_res=504):
            assert isinstance(image, list) and image[0].dtype == "uint8" and image[0].ndim == 3
            if image[0][0, 0, 0] == 1 and process_res == 504:
                raise MemoryError("out of memory")
            assert process_res == (252 if image[0][0, 0, 0] == 1 else 504)
            K = self.truth["K"].astype(np.float32)
            extrinsics = self.truth["w2c"][:, :3].astype(np.float32)
            depth = self.truth["depth"][:, 1::2, 1::2].copy()
            if image[0][0, 0, 0] == 2:
                depth[:] = np.nan
            K[:, :2] /= 2
            return types.SimpleNamespace(
                depth=depth, conf=np.ones_like(depth), extrinsics=extrinsics, intrinsics=K
            )
"""

FRONT = """
    import numpy as np
    import torch

    class VGGT4Track(torch.nn.Module):
        @classmethod
        def from_pretrained(cls, folder):
            assert folder.endswith("SpatialTrackerV2_Front")
            return cls()

        def forward(self, images):
            batch, count, colours, height, width = images.shape
            assert batch == 1 and colours == 3 and width == 518 and height % 14 == 0 and height <= 518
            assert 0 <= images.min() and images.max() <= 1 and not self.training
            return {
                "poses_pred": torch.eye(4).repeat(1, count, 1, 1),
                "intrs": torch.eye(3).repeat(1, count, 1, 1),
                "points_map": torch.full((count, height, width, 3), 2.0),
                "unc_metric": torch.full((count, height, width), 0.9),
            }
"""

REFINER = """
    import types

    import numpy as np
    import torch
    from models.SpaTrackV2.models.tracker3D.spatrack_modules.ba import ba_pycolmap

    class Predictor(torch.nn.Module):
        spatrack = types.SimpleNamespace(track_num=0)

        @classmethod
        def from_pretrained(cls, folder):
            assert folder.endswith("SpatialTrackerV2-Offline")
            made = cls()
            made.truth = np.load(folder + "/truth.npz")
            return made

        def to(self, device):
            assert device == "cpu"

        def forward(self, video, depth, intrs, extrs, unc_metric, queries, fps, full_point, iters_track,
                    query_no_BA, fixed_cam, stage, support_frame, replace_ratio):
            count, colours, height, width = video.shape
            assert width == 518 and video.max() > 1 and depth.shape == unc_metric.shape == (count, height, width)
            assert intrs.shape == (count, 3, 3) and extrs.shape == (count, 4, 4) and support_frame == count - 1
            assert unc_metric.dtype == bool and queries.shape[1] == 3 and (queries[:, 0] == 0).all()
            assert (queries[:, 1] < width).all() and (queries[:, 2] < height).all()
            assert self.spatrack.track_num == 756 and ba_pycolmap() == "cpu"
            c2w = torch.from_numpy(np.linalg.inv(self.truth["w2c"])).float()
            points = torch.full((count, 3, height, width), 3.0)
            rest = [None] * 6
            return c2w, torch.from_numpy(self.truth["small"]).float().cuda(), points, *rest
"""

ADJUSTMENT = """
    def pycolmap_to_batch_matrix(reconstruction, device="cuda", camera_type="SIMPLE_PINHOLE"):
        return device

    def ba_pycolmap():
        return pycolmap_to_batch_matrix(None, device="cuda", camera_type="SIMPLE_PINHOLE")
"""


def written(folder: Path, path: str, source: str) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(line[4:] for line in source.splitlines()))


@pytest.fixture(scope="module")
def da3(tmp_path_factory: pytest.TempPathFactory, arc: room.Room) -> cameras.Estimator:
    folder = tmp_path_factory.mktemp("da3")
    written(folder / "checkout", "src/depth_anything_3/api.py", DA3)
    (folder / "config.json").write_text('{"model_name": "da3-base"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    np.savez(folder / "truth.npz", K=arc.intrinsics, w2c=arc.extrinsics, depth=arc.depth)
    return cameras.load(BASE, weights=str(folder), checkout=str(folder / "checkout"), device="cpu")


def marked(frames: list[np.ndarray], mode: int) -> list[np.ndarray]:
    first = frames[0].copy()
    first[0, 0, 0] = mode
    return [first, *frames[1:]]


def test_what_depth_anything_3_gives_becomes_ours(da3: cameras.Estimator, arc: room.Room) -> None:
    for mode in (0, 1):  # and so where memory is short, at half the size
        found = da3(marked(arc.frames, mode))
        np.testing.assert_allclose(found.intrinsics, arc.intrinsics, rtol=1e-5)
        expected = arc.extrinsics @ np.linalg.inv(arc.extrinsics[0])
        np.testing.assert_allclose(found.extrinsics, expected, atol=1e-5)
        assert found.motion == "moving" and not found.metric and found.points is None
        assert found.depth is not None and found.depth.shape == arc.depth.shape
        assert np.median(np.abs(found.depth / arc.depth - 1)) < 0.01
        assert found.reprojection_px is not None and found.reprojection_px < 0.5 and found.confidence > 0.9
    assert compare(found, arc.intrinsics, arc.extrinsics)["trajectory_error"] < 1e-5
    with pytest.raises(UnusableClip, match="not finite") as refused:
        da3(marked(arc.frames, 2))
    assert refused.value.reason == "not_finite"


def test_a_focal_length_below_zero_is_refused() -> None:
    K = np.tile(np.diag([-50.0, 50.0, 1.0]), (2, 1, 1))
    found = {"intrinsics": K, "extrinsics": np.tile(np.eye(4), (2, 1, 1)), "depth": np.ones((2, 6, 8))}
    with pytest.raises(UnusableClip, match="focal lengths that are not positive") as refused:
        Networked(name="odd", network=lambda frames: found)([np.zeros((6, 8, 3), np.uint8)] * 2)
    assert refused.value.reason == "estimator_failed"


def test_exact_cameras_and_depth_reproject_exactly() -> None:
    K, w2c = room.camera_path((Move(kind="arc", amount=20.0),), 4, *SIZE, seed=2)
    depth = np.full((4, 192, 320), 3.0, np.float32)
    points = np.random.default_rng(0).uniform((20, 20), (300, 170), (30, 2))
    world = np.column_stack([points, np.ones(30)]) @ np.linalg.inv(K[0]).T * 3
    c2w = world_to_camera(w2c[0])
    pixels, _ = project(world @ c2w[:3, :3].T + c2w[:3, 3], K, w2c)
    chain = Chain(start=0, pixels=pixels, alive=np.ones((4, 30), bool))
    assert reprojected(chain, K, w2c, depth).max() < 1e-6
    assert reprojected(chain, K, w2c, 1.1 * depth).max() > 0.5


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spatial")
    written(folder, "checkout/models/SpaTrackV2/models/predictor.py", REFINER)
    written(folder, "checkout/models/SpaTrackV2/models/vggt4track/models/vggt_moe.py", FRONT)
    adjustment = "checkout/models/SpaTrackV2/models/tracker3D/spatrack_modules/ba.py"
    written(folder, adjustment, ADJUSTMENT)
    written(folder, "checkout/utils3d/torch.py", "    def depth_edge(): ...")
    for name in ("SpatialTrackerV2_Front", "SpatialTrackerV2-Offline"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("size", [(192, 108), (108, 192)])
def test_what_spatialtracker_gives_becomes_ours(
    spatial: Path, size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    width, height = size
    _, scale, above = fitted(np.zeros((1, height, width, 3), np.uint8))
    w2c = world_to_camera(posed(np.tile(np.eye(3), (3, 1, 1)), np.outer([0, 1, 2], [0.1, 0, 0.5])))
    K = cameras.matrices(np.array([100.0, 110.0, 120.0]), width, height)
    seen = K.copy()  # as the network has it: of what is left of the picture, at its size
    seen[:, :2] *= scale[:, None]
    seen[:, 1, 2] -= above
    np.savez(spatial / "SpatialTrackerV2-Offline" / "truth.npz", w2c=w2c, small=seen)
    cameras.load.cache_clear()
    with caplog.at_level(logging.WARNING, "avcontrol"):
        options = {"weights": str(spatial), "checkout": str(spatial / "checkout"), "device": "cpu"}
        estimate = cameras.load(SPATIAL, **options)
        assert cameras.load(SPATIAL, **options) is estimate
    assert [record.message for record in caplog.records] == [
        "spatialtracker-v2 is for non-commercial use only (CC-BY-NC-4.0)"
    ]
    picture = np.asarray(
        cv2.resize(np.random.default_rng(5).integers(0, 256, (50, 80, 3), np.uint8), (width, height)),
        np.uint8,
    )
    found = estimate([np.roll(picture, 3 * n, 1) for n in range(3)])
    np.testing.assert_allclose(found.intrinsics, K, rtol=1e-5)
    np.testing.assert_allclose(found.extrinsics, w2c, atol=1e-5)
    assert found.depth is not None and found.depth.shape == (3, height, width)
    rows = np.isfinite(found.depth).all(axis=(0, 2))
    assert (found.depth[:, rows] == 3).all()
    assert (
        rows.all() if height < width else rows[42:150].all() and not rows[:40].any() and not rows[-40:].any()
    )
    assert len(estimate.weights) == 64 and not estimate.card.commercial_ok


def test_a_utils3d_of_another_interface_is_told_before_any_clip(spatial: Path, tmp_path: Path) -> None:
    shutil.copytree(spatial, tmp_path, dirs_exist_ok=True)
    written(tmp_path, "checkout/utils3d/torch.py", "    def depth_map_edge(): ...")
    with pytest.raises(EstimatorUnavailable, match=r"cannot import name 'depth_edge' from 'utils3d.torch'"):
        cameras.load(SPATIAL, weights=str(tmp_path), checkout=str(tmp_path / "checkout"), device="cpu")


def test_what_is_missing_is_told_with_the_command(
    spatial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: None)
    for name, options, message, command in (
        (BASE, {}, "none is given", "git clone https://github.com/ByteDance-Seed/Depth-Anything-3"),
        (SPATIAL, {"checkout": "/no/folder"}, "/no/folder is no folder", "git clone"),
        (
            BASE,
            {"checkout": str(tmp_path)},
            "weights are not here",
            "hf download depth-anything/DA3-BASE model",
        ),
        (
            SPATIAL,
            {"checkout": str(tmp_path), "weights": str(tmp_path)},
            "SpatialTrackerV2_Front is no folder",
            "hf download Yuxihenry/SpatialTrackerV2_Front",
        ),
    ):
        with pytest.raises(EstimatorUnavailable) as missing:
            cameras.load(name, **options)
        assert message in missing.value.message and command in missing.value.hint
    (tmp_path / "config.json").write_text('{"model_name": "da3-large"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigError, match="size large"):
        cameras.load(BASE, checkout=str(tmp_path), weights=str(tmp_path))
    with pytest.raises(ConfigError, match="There are: colmap"):
        cameras.load("orb-slam")
    with pytest.raises(ConfigError, match="prior_fov"):
        cameras.load("colmap", prior_fov=200)


def test_cards_are_complete() -> None:
    names = [card.name for card in cameras.ESTIMATORS]
    assert names == ["colmap", BASE, "depth-anything-3-small", SPATIAL]
    for card in cameras.ESTIMATORS:
        assert card.family == "cameras" and card.license and cameras.card_of(card.name) is card
        assert card.commercial_ok == (card.name != SPATIAL) and bool(card.weights) == bool(card.checkout)
    assert cameras.weights_hash("colmap") == ""
