"""Encoding a catalog on a real Ray: over two actors, killed, broken, repaired."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalogs.errors import ConfigError
from catalogs.root import Root
from catalogs.store import Table
from pipelines import encoding
from pipelines.encode import plan
from pipelines.encoding import EncodeConfig, EncodeReport
from pipelines.process import python_path
from tests.training.helpers import add_sample, make_catalog

SAMPLES = 4


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Four samples: eight clips and four captions."""
    root = Root.open(str(tmp_path / "root"), create=True)
    columns = ("video", "reference_video")
    make_catalog(root, "canny", [add_sample(root, index, columns=columns) for index in range(SAMPLES)])
    return root


def encode(root: Root, **given) -> EncodeReport:
    return encoding.encode(EncodeConfig(catalog="canny", root=root.uri, **given))


def rows(root: Root) -> list[dict]:
    return Table.open(root, "encodings", key=("encoding_id",)).read().to_pylist()


def paths(root: Root) -> dict[str, str]:
    """Where each encoding lies: every input has one, and its file holds what the row says."""
    assert Counter(row["kind"] for row in rows(root)) == {"video": 2 * SAMPLES, "text": SAMPLES}
    assert len({row["encoding_id"] for row in rows(root)}) == 3 * SAMPLES
    for row in rows(root):
        tensor = load_file(root.local(row["path"]))["latents" if row["kind"] == "video" else "video"]
        assert list(tensor.shape) == json.loads(row["shape"]) and torch.isfinite(tensor).all()
    return {row["encoding_id"]: row["path"] for row in rows(root)}


def test_killed_gone_on_with_by_two_actors_and_repaired(root: Root, cluster, ray_here) -> None:
    code = "from pipelines import cli, encoding; encoding._COMMIT_SECONDS = 0.01; cli.encode()"
    command = [sys.executable, "-c", code, "canny", "--root", root.uri, "--workers", "1", "--device", "cpu"]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": python_path()}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    while process.poll() is None and not plan(root, "canny", "test").known:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # not finished
    known = plan(root, "canny", "test").known
    assert 0 < known < 3 * SAMPLES
    report = encode(root, workers=2, device="cpu")
    assert report == EncodeReport(encoded=3 * SAMPLES - known, failed=0, known=known, reason="")
    before = paths(root)

    files = [root.local(row["path"]) for row in rows(root) if row["kind"] == "video"]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-9])
    save_file({"latents": load_file(files[2])["latents"] * float("nan")}, files[2])
    assert encode(root) == EncodeReport(
        encoded=0, failed=0, known=3 * SAMPLES, reason=""
    )  # it looks at rows alone
    report = encode(root, workers=1, repair=True)
    assert (report.encoded, report.failed, report.known) == (3, 0, 3 * SAMPLES - 3)
    assert paths(root) == before  # a CPU gives the same bytes


@pytest.mark.usefixtures("ray_here")
def test_one_bad_input_costs_itself_alone_on_the_gpu_that_ray_has(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's Ray has one GPU, by name, and two CPUs: one actor."""
    import ray

    clips = [unit["input"] for unit in plan(root, "canny", "test").units if unit["kind"] == "video"]
    root.local(clips[0]).unlink()
    root.local(clips[1]).write_bytes(b"\0" * 99)
    said, taken = [], []

    def warning(text: str, *values: object) -> None:
        said.append(text % values)
        taken.append((ray.available_resources().get("GPU", 0), ray.available_resources().get("CPU", 0)))

    monkeypatch.setattr(encoding.log, "warning", warning)
    report = encode(root)
    assert (report.encoded, report.failed) == (3 * SAMPLES - 2, 2)
    assert report.reason.startswith(clips[0]) and "missing file" in report.reason
    assert [clip in line for clip, line in zip(clips, said, strict=False)] == [True, True]
    assert taken[0] == (0, 1)
    assert plan(root, "canny", "test").known == 3 * SAMPLES - 2
    with pytest.raises(ConfigError, match="--gpus 2: Ray has 1"):
        encode(root, gpus=2.0)


def test_where_actors_run() -> None:
    for given, gpus in (({}, math.inf), ({"device": "cpu"}, 0), ({"gpus": 0.0}, 0), ({"gpus": 0.5}, 0.5)):
        assert EncodeConfig(catalog="canny", root=".", **given).resources().gpus == gpus
