"""Networks that workers share: one process, real sockets, real weights at a tiny size."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from catalogs.query import select
from catalogs.root import Root
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.estimators import depth, shared
from pipelines.estimators.depth_anything import DepthAnything
from tests.pipelines import tiny_depth
from tests.pipelines.tiny_depth import panned

SMALL = "depth-anything-v2-small"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_depth.save(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A process that another keeps alive, as a Ray actor does; it ends when that one is killed."""
    found = str(tmp_path_factory.mktemp("s") / "networks")
    monkeypatch.setenv(shared.VARIABLE, found)
    code = f"from pipelines.estimators import shared; shared.keep({found!r})"
    keeper = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    depth.load.cache_clear()
    yield found
    depth.load.cache_clear()
    keeper.kill()
    keeper.wait()
    deadline = time.monotonic() + 10
    while pids(found) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not pids(found)


def pids(address: str) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-f", f"estimators.shared {address}"], capture_output=True, text=True
    ).stdout
    return [int(line) for line in found.split()]


def test_a_shared_network_says_what_one_of_ones_own_says(address: str, weights: Path) -> None:
    frames = np.stack(panned(5)[0])
    alone = DepthAnything(weights, "cpu")(frames=frames)["inverse"]
    found = depth.load(SMALL, weights=str(weights), device="cpu")
    assert isinstance(found.network, shared.Shared)
    np.testing.assert_array_equal(found.network(frames=frames)["inverse"], alone)
    answers = list[np.ndarray]()

    def ask() -> None:
        mine = shared.network("depth", SMALL, weights=str(weights), checkout="", device="cpu")
        answers.append(mine(frames=frames)["inverse"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 4 and all((answer == alone).all() for answer in answers)
    assert len(pids(address)) == 1
    other = np.stack(panned(3, 64, 48)[0])
    assert found.network(frames=other)["inverse"].shape == (3, 48, 64)
    np.testing.assert_array_equal(found.network(frames=frames)["inverse"], alone)  # files are written over
    folder = found.network._folder.name
    del found
    depth.load.cache_clear()
    gc.collect()
    assert not Path(folder).exists()


def test_errors_come_back_as_what_they_are(address: str, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(EstimatorUnavailable, match=r"no folder.*hf download"):
        shared.network("depth", SMALL, weights=str(tmp_path / "none"), checkout="", device="cpu")
    with pytest.raises(ConfigError, match="no depth estimator 'midas'"):
        shared.network("depth", "midas", weights="", checkout="", device="cpu")
    found = shared.network("depth", SMALL, weights=str(weights), checkout="", device="cpu")
    with pytest.raises(UnusableClip, match=f"{SMALL}: TypeError") as refused:
        found(pictures=np.zeros(3))
    assert refused.value.reason == "estimator_failed"
    assert found(frames=np.stack(panned(2)[0]))["inverse"].shape == (2, 72, 128)


def test_a_process_that_dies_is_started_again(address: str, weights: Path) -> None:
    found = shared.network("depth", SMALL, weights=str(weights), checkout="", device="cpu")
    frames = np.stack(panned(2)[0])
    before, first = found(frames=frames), pids(address)
    os.kill(first[0], signal.SIGKILL)
    np.testing.assert_array_equal(found(frames=frames)["inverse"], before["inverse"])
    assert pids(address) and pids(address) != first


def test_one_that_never_comes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path / "nobody"))
    monkeypatch.setattr(shared, "PATIENCE_S", 0.1)
    with pytest.raises(EstimatorUnavailable, match="does not answer"):
        shared.network("depth", SMALL, weights="", checkout="", device="cpu")


@pytest.mark.usefixtures("ray_here")
def test_builds_with_and_without_a_gpu_share_or_not_and_give_the_same(
    clips: Path, weights: Path, tmp_path: Path
) -> None:
    """The cluster says that it has a GPU; the network behind it finds none and takes the CPU."""
    rows = {}
    for gpus in (None, 0.0, 0.5):
        said = {"modality": "depth,canny", "input": str(clips / "[34].mp4"), "resolution": "96x64x9"}
        root = str(tmp_path / str(gpus))
        reports = build(
            BuildConfig(**said, root=root, gpus=gpus, settings={"depth.weights": str(weights)}, shots="off")
        )
        assert [report.samples for report in reports] == [2, 2]
        table = select(Root.open(root), "depth", ["sample_id", "video", "reference_video", "signals"])
        rows[gpus] = sorted(table.to_pylist(), key=lambda row: row["sample_id"])
    assert rows[None] == rows[0.0] == rows[0.5]
    with pytest.raises(ConfigError, match="--gpus 3: Ray has 1"):
        build(
            BuildConfig(**said, root=str(tmp_path / "3"), gpus=3.0, settings={"depth.weights": str(weights)})
        )
