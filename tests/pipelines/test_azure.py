"""The whole path on Azure's blob store: build, look, mend, encode, train; two writers at once.

AVCONTROL_TEST_AZURE=127.0.0.1:10000 pytest tests/pipelines/test_azure.py

names an emulator with Azurite's account and key. Azurite 3.37 itself ignores ``startFrom`` in listings, which Delta
asks for: put something before it that leaves out names below.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

# Azurite's well-known key. Ray's workers see what its head node saw, which is started after this.
os.environ.update(
    AZURE_STORAGE_ACCOUNT_KEY="Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

from catalogs import object_store, review
from catalogs.browse.pages import Pages
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.repair import repair
from catalogs.root import Root, file_sha256
from catalogs.validate import validate
from pipelines.build import build
from tests.pipelines.test_object_storage import avcontrol_, config, two_write

ACCOUNT, AT = "devstoreaccount1", os.environ.get("AVCONTROL_TEST_AZURE", "")
pytestmark = [
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.skipif(not AT, reason="AVCONTROL_TEST_AZURE names no emulator"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of an empty place in the container ``controls``; copies of its files lie in a fresh cache."""
    place = f"abfs://controls@{ACCOUNT}.dfs.core.windows.net/{uuid.uuid4().hex}/deep/root"
    uri = f"{place}?endpoint_override={AT}&scheme=http"
    object_store.filesystem(uri)[0].create_dir("controls")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVCONTROL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield uri


@pytest.fixture(scope="module")
def built(clips: Path, store: str) -> Root:
    [report] = build(config(clips, store))
    assert report.samples == 18 and report.rejects == 0
    return Root.open(store)


def test_what_was_built_is_there(built: Root, clips: Path) -> None:
    [report] = build(config(clips, built.uri))
    assert (report.samples, report.units, report.skipped) == (0, 0, 7)
    for row in select(built, "canny").to_pylist():
        assert file_sha256(built.local(row["video"])) == Path(row["video"]).stem
    assert validate(built, CatalogID.parse("canny"), deep=True) == []


def test_commands_look_into_it(built: Root, tmp_path: Path) -> None:
    root = ("--root", built.uri)
    assert "canny" in avcontrol_("catalog", "list", *root)
    assert "18 samples" in avcontrol_("catalog", "stats", "canny", *root)
    ids = avcontrol_("catalog", "query", "canny", "--columns", "sample_id", "--csv", *root).split()[1:]
    review.write(built, "canny", ids[:5], verdict="accept")
    assert select(built, "canny?review='accept'").num_rows == 5
    assert len(Pages(built, "canny").page(0, 30)) == 18
    avcontrol_("catalog", "preview", "canny", "--limit", "1", "--out", str(tmp_path / "pair.mp4"), *root)
    assert "nothing to remove" in avcontrol_("catalog", "gc", "--grace-days", "0", *root)


def test_encode_and_train(built: Root, tmp_path: Path) -> None:
    few = "canny?source_uri LIKE '%/0.mp4'"
    assert "0 failed" in avcontrol_("encode", few, "--root", built.uri, "--device", "cpu")
    words = ("--root", built.uri, "--out", str(tmp_path), "--device", "cpu", "--validate-every", "0")
    avcontrol_("train", few, "--steps", "2", "--rank", "2", "--warmup", "0", *words)
    assert load_file(tmp_path / "adapter.safetensors")


def test_two_writers_and_small_files_made_one(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 5)
    root = Root.open(store.replace("/deep/root", "/race"))
    two_write(root)
    assert len(table_of(root, "race").files()) <= 8


def test_damage_is_mended(built: Root) -> None:
    row = select(built, "canny").to_pylist()[0]
    with built.filesystem.open_output_stream(built.path(row["video"])) as sink:
        sink.write(b"other bytes")
    assert repair(built, CatalogID.parse("canny"), deep=True)
    assert validate(built, CatalogID.parse("canny"), deep=True) == []
    assert row["sample_id"] not in select(built, "canny")["sample_id"].to_pylist()
