"""A build that is killed, crowded or poisoned ends with the same catalog as one that is left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from catalogs.errors import StorageError
from catalogs.query import select
from catalogs.root import Root
from pipelines.plan import load_recipe, make_plan
from pipelines.runner import MediaWorker, raise_fatal
from pipelines.scan import scan_source
from pipelines.sources import list_sources
from pipelines.timeline import Timeline
from tests.pipelines.conftest import FPS, moving, write_video

CONFIG = ["--resolution", "96x64x9", "--commit-s", "0"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """24 sources of several clips each, one of them broken."""
    folder = tmp_path_factory.mktemp("sources")
    for index in range(23):
        write_video(folder / f"{index:02}.mp4", moving(45, index), FPS, preset="ultrafast")
    (folder / "bad.mp4").write_bytes(b"no video" * 100)
    return folder


def start(sources: Path, root: Path, cluster, *more: str) -> subprocess.Popen:
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pipelines",
            "canny",
            "--input",
            str(sources),
            "--root",
            str(root),
            *CONFIG,
            *more,
        ],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def content(root: Path) -> tuple[list[dict], list[dict], dict[str, bytes]]:
    """Samples, rejects and media bytes, without what names the run."""
    place = Root.open(str(root))
    tables = []
    for kind in ("samples", "rejects"):
        rows = select(place, "canny", kind=kind).to_pylist()
        tables.append([{key: value for key, value in row.items() if key != "run_id"} for row in rows])
    names = {row[column] for row in tables[0] for column in ("video", "reference_video")}
    names |= {signal["path"] for row in tables[0] for signal in row["signals"]}
    return tables[0], tables[1], {name: place.local(name).read_bytes() for name in sorted(names)}


@pytest.fixture(scope="module")
def undisturbed(sources, cluster, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    process = start(sources, root, cluster)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    samples, rejects, media = content(root)
    assert len(samples) == 23 * 5 and len(rejects) == 1
    return samples, rejects, media


def progress_of(root: Path) -> int:
    """Files of a build so far: media as they are made, and commits as they land."""
    return sum(1 for path in root.rglob("*") if path.suffix in (".mp4", ".npz", ".json", ".parquet"))


def test_sigkill_at_random_moments(sources, cluster, undisturbed, tmp_path):
    root = tmp_path / "root"
    rng = random.Random(time.time_ns())
    kills = 0
    for _ in range(9):
        process = start(sources, root, cluster)
        # Some builds die while they start, most a few files (media or commits) and some milliseconds further on.
        goal = progress_of(root) + rng.choice([0, 1, 3, 10, 30, 60])
        deadline = time.monotonic() + 60
        while process.poll() is None and progress_of(root) < goal and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 3
    process = start(sources, root, cluster)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert content(root) == undisturbed


def test_killed_workers_cost_nothing(sources, cluster, undisturbed, tmp_path):
    root = tmp_path / "root"
    process = start(sources, root, cluster)
    killed = 0
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.7)
        for pid in _processes("ray::_Shell" if killed % 2 == 0 else "pipelines.worker")[:1]:
            if killed < 4 and any((root / "media").rglob("*.mp4")):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert killed >= 2
    _, rejects, _ = content(root)
    # A killed Ray worker costs nothing. A killed worker process looks like a clip that crashes the decoder, and costs
    # that clip alone; --retry-rejects brings it back.
    crashed = [row for row in rejects if row["reason"] == "crashed"]
    assert len(rejects) - len(crashed) == 1 and len(crashed) <= 2
    process = start(sources, root, cluster, "--retry-rejects")
    said = process.communicate(timeout=100)[0]
    assert process.returncode == 0, said
    assert content(root) == undisturbed


def test_two_builds_at_once_lose_and_repeat_nothing(sources, cluster, undisturbed, tmp_path):
    root = tmp_path / "root"
    builds = [start(sources, root, cluster, "--workers", "1") for _ in range(2)]
    for process in builds:
        said = process.communicate(timeout=150)[0]
        assert process.returncode == 0, said
    assert content(root) == undisturbed


POISON = """
import os
import pipelines.selection as selection

measure, calls = selection.measure, 0

def third_time_fatal(frames):
    global calls
    calls += 1
    if calls == 3:
        os.abort()
    return measure(frames)

selection.measure = third_time_fatal
"""


FULL = """
import errno, os

def no_space(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")

os.fsync = no_space
"""


def work_on_one(source: Path, root: Path) -> tuple[list[dict], Timeline]:
    """What a media worker answers for the one unit of a source."""
    timeline = Timeline.parse("96x64x9")
    recipe = load_recipe("canny", {}, timeline)[2]
    listed = list_sources(str(source))[0]
    scanned = {listed.id: {"reason": None, "message": None, **scan_source(asdict(listed))}}
    (unit,) = make_plan([listed], scanned, recipe)
    root.mkdir()
    request = {"op": "make", "root": str(root), "decoder": "auto", "run_id": "r"}
    parts = [{"unit": asdict(unit), "recipe": asdict(recipe)}]
    return MediaWorker(request, timeout_s=60, memory_gb=6)({"parts": parts}), timeline


def test_a_clip_that_crashes_its_worker_is_one_reject(sources, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results, timeline = work_on_one(sources / "00.mp4", tmp_path / "root")
    rejects = [result["row"] for result in results if result["event"] == "reject"]
    assert [(row["reason"], row["span_start"]) for row in rejects] == [("crashed", 2 * timeline.ticks)]
    made = [
        result["row"]["span_start"] // timeline.ticks for result in results if result["event"] == "sample"
    ]
    assert made == [0, 1, 3, 4]
    assert (results[-1]["event"], results[-1]["samples"], results[-1]["rejects"]) == ("unit", 4, 1)


def test_a_full_disk_stops_the_build_and_is_no_reject(sources, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(FULL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results, _ = work_on_one(sources / "00.mp4", tmp_path / "root")
    assert [result["event"] for result in results] == ["error"]
    with pytest.raises(StorageError, match=r"disk full.*start the same command again"):
        raise_fatal(results[0])


def test_submitted_as_a_job(sources, cluster, undisturbed, tmp_path):
    """The documented command, against a real head node."""
    root = tmp_path / "root"
    ray = str(Path(sys.executable).parent / "ray")
    done = subprocess.run(
        [
            ray,
            "job",
            "submit",
            "--address",
            f"http://127.0.0.1:{cluster.dashboard}",
            "--working-dir",
            ".",
            "--",
            sys.executable,
            "-m",
            "pipelines",
            "canny",
            "--input",
            str(sources),
            "--root",
            str(root),
            *CONFIG,
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_ADDRESS": ""},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert content(root) == undisturbed


def _processes(words: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if words in line and "pytest" not in line:
                found.append(int(entry.name))
    return found
