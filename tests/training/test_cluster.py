"""Workers through Ray: real ones, on the CPU."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from safetensors.torch import load_file, save_file

from catalogs.errors import ConfigError, TrainingError
from catalogs.root import Root
from tests.training.helpers import add_sample, encode, make_catalog
from tests.training.test_loop import run
from training import cluster, data, loop
from training.config import TrainConfig


@pytest.fixture(scope="module", autouse=True)
def ray_ends() -> Iterator[None]:
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Workers and this process share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def workers() -> list[int]:
    """The processes of this test's Ray Train workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"RayTrainWorker" not in (process / "cmdline").read_bytes():
                continue
            parent = int(process.name)
            while parent not in (0, os.getpid()):
                parent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent:
            found.append(int(process.name))
    return found


def test_a_killed_worker_costs_the_steps_since_the_last_checkpoint(
    root: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL of one of two workers in step 25 or so; the adapter is the one of a single process's quiet run."""
    steps, killed = [], []

    def kill(done) -> None:
        steps.append(done.step)
        if done.step == 25 and not killed:
            killed.extend(workers())
            os.kill(killed[-1], signal.SIGKILL)

    many = {"steps": 60, "checkpoint_every": 20}
    with caplog.at_level(logging.WARNING, logger="avcontrol"):
        file, losses = run(root, tmp_path / "two", kill, gpus=2, grad_accum=1, **many)
    assert len(killed) == 2 and steps[-1] == 60
    assert steps.count(21) == 2 and steps.count(20) == 1  # it went on from step 20, not from the beginning
    assert "starting again from step-000020" in caplog.text
    one, wanted = run(root, tmp_path / "one", **many)
    assert losses[-40:] == pytest.approx(wanted[-40:], rel=1e-5)
    torch.testing.assert_close(load_file(file), load_file(one), rtol=1e-4, atol=1e-6)
    assert not (tmp_path / "two" / ".ray").exists()


def test_what_a_worker_cannot_use_comes_back_as_one_line(tmp_path: Path, path: Path) -> None:
    """One of two samples has latents that are not finite: the worker that reads it says so, the other waits."""
    root = Root.open(str(tmp_path / "root"), create=True)
    make_catalog(root, "canny", [add_sample(root, i, columns=("video", "reference_video")) for i in range(2)])
    encode(root, "canny")
    bad = data.load(root, "canny", path, backbone="test").examples[1]
    latents = root.local(bad.latents["video"])
    save_file({"latents": load_file(latents)["latents"] * float("nan")}, latents)
    with pytest.raises(TrainingError, match=f"latents of sample {bad.sample_id} are not finite"):
        run(root, tmp_path / "out", gpus=2, grad_accum=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has GPUs")
def test_more_gpus_than_there_are(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # a cluster may get more, this machine does not
    # Another test's cluster, should this process be in one, has at most one.
    with pytest.raises(ConfigError, match=r"--gpus 2: this machine has [01]"):
        run(root, tmp_path, gpus=2, device="auto")


def test_a_worker_takes_the_gpu_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray Train gives it on a GPU, without one."""
    done: list[TrainConfig] = []
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cuda:1"))
    monkeypatch.setattr("training.loop.work", lambda config, report: done.append(config))
    config = TrainConfig(catalog="canny@1", root="r", out=tmp_path, gpus=2)
    cluster._work({"config": config, "news": None})
    assert (done[0].device, done[0].gpus) == ("cuda:1", 2)
    with pytest.raises(ConfigError, match="--gpus 2 and --device cuda:1"):
        loop.train(done[0])


def test_what_a_submitted_job_runs() -> None:
    command = [sys.executable, "-m", "training", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("Usage: python -m training [OPTIONS] CATALOG") and "--gpus" in said
