"""The whole path on an S3-compatible server: build, look, check, encode, train; two builders at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import fs
from safetensors.torch import load_file

# Ray's workers see what its head node saw, which is started after this.
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")

import avcontrol
from catalogs import review
from catalogs.browse.app import Browse
from catalogs.errors import BrokenCatalog, ConfigError, StorageError
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.repair import repair
from catalogs.root import Root, file_sha256
from catalogs.store import Table
from catalogs.validate import validate
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.import_pairs import ImportConfig, import_pairs
from pipelines.scan import local_source
from pipelines.sources import list_sources

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Host and port of a server with the bucket ``controls``."""
    command = [sys.executable, str(Path(__file__).with_name("bucket.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        at = f"127.0.0.1:{int(server.stdout.readline())}"
        fs.S3FileSystem(endpoint_override=at, scheme="http", allow_bucket_creation=True).create_dir(
            "controls"
        )
        yield at
        server.kill()


@pytest.fixture(scope="module")
def bucket(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a root in the bucket; copies of its files lie in a fresh cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVCONTROL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield f"s3://controls/deep/root?endpoint_override={endpoint}&scheme=http&region=us-east-1"


def config(clips: Path, root: str, **more) -> BuildConfig:
    return BuildConfig(modality="canny", input=str(clips), root=root, resolution="96x64x9", **more)


@pytest.fixture(scope="module")
def built(clips: Path, bucket: str) -> Root:
    [report] = build(config(clips, bucket))
    assert report.samples == 18 and report.rejects == 0
    return Root.open(bucket)


def avcontrol_(*words: str) -> str:
    done = CliRunner().invoke(avcontrol.cli, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_same_rows_and_files_as_in_a_folder(built: Root, clips: Path, tmp_path: Path) -> None:
    [report] = build(config(clips, str(tmp_path), limit=3))
    here = select(Root.open(str(tmp_path)), "canny").to_pylist()
    there = {row["sample_id"]: row for row in select(built, "canny").to_pylist()}
    assert report.samples == len(here) > 5
    for row in here:
        assert {**there[row["sample_id"]], "run_id": ""} == {**row, "run_id": ""}
        assert file_sha256(built.local(row["video"])) == Path(row["video"]).stem


def test_a_second_build_finds_all_done(built: Root, clips: Path) -> None:
    [report] = build(config(clips, built.uri))
    assert (report.samples, report.units, report.skipped) == (0, 0, 7)


def test_every_command_looks_into_it(built: Root, tmp_path: Path) -> None:
    root = ("--root", built.uri)
    assert "canny" in avcontrol_("catalog", "list", *root)
    assert "sample_id" in avcontrol_("catalog", "show", "canny", *root)
    chosen = avcontrol_("catalog", "query", "canny?quality>0", "--columns", "sample_id", "--csv", *root)
    ids = chosen.split()[1:]
    assert len(ids) == 18
    assert "canny" in avcontrol_("catalog", "explain", ids[0], *root)
    assert "nothing wrong" in avcontrol_("catalog", "validate", "canny", "--deep", *root)
    assert "18 samples" in avcontrol_("catalog", "stats", "canny", *root)
    for out in ("sheet.png", "pair.mp4", "page"):
        avcontrol_("catalog", "preview", "canny", "--limit", "1", "--out", str(tmp_path / out), *root)
        assert (tmp_path / out).exists()
    review.write(built, "canny", ids[:5], verdict="accept")
    assert len(select(built, "canny?review='accept'")) == 5
    avcontrol_("catalog", "tag", "canny", "best", *root)
    assert select(built, "canny@best").num_rows == 18
    avcontrol_("catalog", "merge", "canny?review='accept'", "--into", "few", *root)
    assert select(built, "few")["sample_id"].to_pylist() == sorted(ids[:5])
    assert "nothing to remove" in avcontrol_("catalog", "gc", "--grace-days", "0", *root)


def test_exports_and_imports(built: Root, tmp_path: Path) -> None:
    words = ("catalog", "export", "canny", "--limit", "4", "--root", built.uri)
    avcontrol_(*words, "--format", "webdataset", "--out", str(tmp_path / "shards"))
    back = import_pairs(ImportConfig(folder=str(tmp_path / "shards"), catalog="back", root=built.uri))
    assert (back.samples, back.rejects) == (4, 0)
    columns = ["video", "reference_video"]
    first, second = select(built, "canny", columns, limit=4), select(built, "back", columns)
    assert {*map(str, first.to_pylist())} == {*map(str, second.to_pylist())}


def test_browse_opens_it(built: Root) -> None:
    app = Browse(built, CatalogID.parse("canny"))

    async def look() -> str:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            return app.export_screenshot()

    assert "18" in asyncio.run(look())


def test_encode_and_train(built: Root, tmp_path: Path) -> None:
    few = "canny?source_uri LIKE '%/0.mp4'"
    told = avcontrol_("encode", few, "--root", built.uri, "--device", "cpu")
    assert "0 failed" in told
    words = ("--root", built.uri, "--out", str(tmp_path), "--device", "cpu", "--validate-every", "0")
    avcontrol_("train", few, "--steps", "3", "--rank", "2", "--warmup", "0", *words)
    assert load_file(tmp_path / "adapter.safetensors")


def test_two_builders_at_once(clips: Path, bucket: str) -> None:
    """Both make everything, and commit every unit by itself: nothing is lost, nothing is there twice."""
    uri = bucket.replace("/deep/root", "/two")
    options = (
        "--input",
        str(clips),
        "--root",
        uri,
        "--resolution",
        "96x64x9",
        "--commit-s",
        "0",
        "--limit",
        "4",
    )
    command = [sys.executable, "-m", "pipelines", "canny", *options]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    rows = select(Root.open(uri), "canny").to_pylist()
    assert len(rows) == len({(row["sample_id"], row["unit_id"]) for row in rows}) == 10
    assert len(select(Root.open(uri), "canny", kind="ledger")) == 4


def two_write(root: Root) -> None:
    """Two threads append to one table; every third row is wanted by both."""
    schema = pa.schema([("sample_id", pa.string()), ("unit_id", pa.string()), ("by", pa.int64())])
    table_of(root, "race", create=schema)
    added = [0, 0]

    def append(me: int) -> None:
        table = table_of(root, "race")
        for n in range(12):
            key = f"{n}" if n % 3 == 0 else f"{n}-{me}"
            added[me] += table.append_new([{"sample_id": key, "unit_id": "u", "by": me}], {"run_id": str(me)})

    both = [threading.Thread(target=append, args=(me,)) for me in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    rows = select(root, "race").to_pylist()
    assert len(rows) == len({row["sample_id"] for row in rows}) == sum(added) == 4 + 2 * 8


def test_commits_that_come_second_are_made_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    meet, keys, met, again = threading.Barrier(2), Table.keys, threading.local(), list[int]()

    def looked(table: Table) -> set[tuple[str, ...]]:
        found = keys(table)
        if not hasattr(met, "once"):  # both have looked before either writes
            met.once = meet.wait(20)
        return found

    monkeypatch.setattr(Table, "keys", looked)
    monkeypatch.setattr("catalogs.store._back_off", again.append)
    two_write(Root.open(bucket.replace("/deep/root", "/race")))
    assert again  # the race was on


def test_many_small_files_become_one_while_two_write(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 5)
    root = Root.open(bucket.replace("/deep/root", "/small"))
    two_write(root)
    table = table_of(root, "race")
    assert len(table.files()) <= 8 and any(one.get("program") == "compact" for one in table.history())


def test_a_large_file_goes_up_in_parts(endpoint: str, built: Root) -> None:
    bytes_ = np.random.default_rng(0).bytes(12_000_000)
    scratch = built.scratch(".bin")
    scratch.write_bytes(bytes_)
    place = built.put(scratch, "media")
    assert built.local(place).read_bytes() == bytes_ and not scratch.exists()
    built.filesystem.delete_file(built.path(place))


def test_bad_roots_are_one_line(endpoint: str, built: Root) -> None:
    with pytest.raises(StorageError, match="bucket"):
        Root.open(f"s3://nosuch/x?endpoint_override={endpoint}&scheme=http&region=us-east-1", create=True)
    with pytest.raises(ConfigError, match="password"):
        Root.open(f"s3://key:secret@controls/x?endpoint_override={endpoint}&scheme=http")
    with pytest.raises(BrokenCatalog, match="missing file media/none"):
        built.local("media/none.mp4")


def test_the_environment_says_where_the_store_is(
    endpoint: str, built: Root, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``AWS_ENDPOINT_URL`` in the place of the URI's query: for roots, and for sources."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{endpoint}")
    root = Root.open("s3://controls/deep/root")
    assert select(root, "canny").num_rows == 18 and root.storage_options["AWS_ALLOW_HTTP"] == "true"
    with (
        (clips / "1.mp4").open("rb") as film,
        root.filesystem.open_output_stream("controls/clips/1.mp4") as sink,
    ):
        sink.write(film.read())
    with root.filesystem.open_output_stream("controls/clips/1.txt") as sink:
        sink.write(b"a wall")
    [source] = list_sources("s3://controls/clips")
    assert (source.uri, source.caption) == ("s3://controls/clips/1.mp4", "a wall")
    with local_source(source.uri) as path:
        assert path.read_bytes() == (clips / "1.mp4").read_bytes()


def test_damage_in_the_store_is_found_behind_whole_copies_and_mended(built: Root, clips: Path) -> None:
    row = select(built, "canny").to_pylist()[0]
    whole = built.local(row["video"]).read_bytes()
    with built.filesystem.open_output_stream(built.path(row["video"])) as sink:
        sink.write(b"other bytes")
    wrong = {one["problem"] for one in validate(built, CatalogID.parse("canny"), deep=True)}
    assert wrong == {"wrong_hash"}
    assert repair(built, CatalogID.parse("canny"), deep=True)
    assert validate(built, CatalogID.parse("canny"), deep=True) == []
    assert row["sample_id"] not in select(built, "canny")["sample_id"].to_pylist()
    [report] = build(config(clips, built.uri))
    assert report.samples > 0 and built.local(row["video"]).read_bytes() == whole


def test_copies_that_nobody_used_for_a_week_go(built: Root) -> None:
    rows = select(built, "canny", ["video"])["video"].to_pylist()
    old, new = (built.local(path) for path in sorted(set(rows))[:2])
    os.utime(old, (time.time() - 8 * 86400,) * 2)
    built.sweep()
    assert (old.exists(), new.exists()) == (False, True)
