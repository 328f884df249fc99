"""Damage of every kind to a real catalog: mended, then built again, it has the rows that it had."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.repair import rebuild_list, repair
from catalogs.root import Root
from catalogs.validate import validate
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.writers import write_video
from tests.pipelines.conftest import FPS, moving

pytestmark = pytest.mark.usefixtures("ray_here")
CANNY = CatalogID.parse("canny")


def again(clips: Path, root: Path) -> tuple[int, int]:
    (report,) = build(
        BuildConfig(modality="canny", input=str(clips), root=str(root), resolution="64x64x9", commit_s=0)
    )
    return report.units, report.skipped


@pytest.fixture(scope="module")
def built(ray_here, tmp_path_factory) -> tuple[Path, Path]:
    """Three sources of two samples each, committed one by one, and one too short for any; a checkpoint."""
    clips, root = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("built")
    for index in range(3):
        write_video(clips / f"{index}.mp4", moving(18, index), FPS, preset="ultrafast")
    (clips / "broken.mp4").write_bytes(b"no film")
    again(clips, root)
    table_of(Root.open(str(root)), "canny").checkpoint()
    return clips, root


def content(root: Root) -> tuple[list[dict], ...]:
    books = ("run_id", "made_with")
    return tuple(
        [
            {key: value for key, value in row.items() if key not in books}
            for row in select(root, "canny", kind=kind).to_pylist()
        ]
        for kind in ("samples", "rejects", "ledger")
    )


def newest(root: Root, kind: str, pattern: str) -> Path:
    return max(
        (root.folder / "catalogs/canny" / kind).glob(pattern), key=lambda file: file.stat().st_mtime_ns
    )


def log_of(kind: str, part: float) -> Callable[[Root], None]:
    def cut(root: Root) -> None:
        file = max((root.folder / f"catalogs/canny/{kind}/_delta_log").glob("*.json"))
        checkpoint = file.with_name(file.stem + ".checkpoint.parquet")
        if checkpoint.exists():  # the log of a commit that no checkpoint has seen yet
            checkpoint.unlink()
            file.with_name("_last_checkpoint").unlink()
        file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])

    return cut


def old_log_of(kind: str, version: int, part: float | None) -> Callable[[Root], None]:
    """Damage to an entry that later ones build on; None removes it."""

    def cut(root: Root) -> None:
        log = root.folder / f"catalogs/canny/{kind}/_delta_log"
        for file in (*log.glob("*.checkpoint.parquet"), *log.glob("_last_checkpoint")):
            file.unlink()
        file = log / f"{version:020}.json"
        assert file.stat().st_size and file.with_name(f"{version + 1:020}.json").exists()
        content = file.read_bytes()
        file.unlink()
        if part is not None:
            file.write_bytes(content[: int(part * len(content))])

    return cut


def checkpoint(root: Root) -> None:
    newest(root, "samples/_delta_log", "*.checkpoint.parquet").write_bytes(b"PAR1 and no more")


def truncated(kind: str) -> Callable[[Root], None]:
    def cut(root: Root) -> None:
        file = newest(root, kind, "*.parquet")
        file.write_bytes(file.read_bytes()[:-9])

    return cut


def gone(root: Root) -> None:
    newest(root, "samples", "*.parquet").unlink()


def media(column: str, change: Callable[[Path], object]) -> Callable[[Root], None]:
    def damage(root: Root) -> None:
        change(root.folder / select(root, "canny", [column])[column][0].as_py())

    return damage


DAMAGE: dict[str, tuple[Callable[[Root], None], str, int]] = {  # what, the problem, units to make again
    "samples log cut": (log_of("samples", 0.5), "cut_log_entry", 0),
    "samples log emptied": (log_of("samples", 0), "cut_log_entry", 0),
    "samples log cut in the middle": (old_log_of("samples", 2, 0.5), "broken_log_entry", 0),
    "samples log lost in the middle": (old_log_of("samples", 1, None), "lost_log_entry", 0),
    "samples log without its beginning": (old_log_of("samples", 0, None), "lost_log_entry", 0),
    "ledger log emptied in the middle": (old_log_of("ledger", 2, 0), "broken_log_entry", 0),
    "ledger log cut": (log_of("ledger", 0.9), "cut_log_entry", 0),
    "checkpoint": (checkpoint, "broken_checkpoint", 0),
    "samples file cut": (truncated("samples"), "unreadable_parquet", 1),
    "samples file gone": (gone, "unreadable_parquet", 1),
    "rejects file cut": (truncated("rejects"), "unreadable_parquet", 1),
    "ledger file cut": (truncated("ledger"), "unreadable_parquet", 1),
    "target gone": (media("video", Path.unlink), "missing_file", 1),
    "reference changed": (
        media("reference_video", lambda file: file.write_bytes(file.read_bytes() + b"\0")),
        "wrong_hash",
        1,
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_was_damaged_is_mended_or_made_again(built, tmp_path, name):
    clips, whole = built
    damage, problem, units = DAMAGE[name]
    root = Root.open(str(shutil.copytree(whole, tmp_path / "root")))
    before = content(root)
    damage(root)
    assert problem in {one["problem"] for one in validate(root, CANNY, deep=True)}
    assert repair(root, CANNY, deep=True)
    assert validate(root, CANNY, deep=True) == [] and repair(root, CANNY, deep=True) == []
    listed = {row["unit_id"] for row in rebuild_list(root, "canny")}
    assert len(listed) <= units  # a unit that only the ledger forgot is in no list
    done, skipped = again(clips, root.folder)
    assert (done, skipped) == (units, 4 - units)
    assert content(root) == before
    assert validate(root, CANNY, deep=True) == [] and rebuild_list(root, "canny") == []


def test_a_copy_of_the_root_gives_entries_and_data_files_back(built, tmp_path):
    _, whole = built
    root, copy = (Root.open(str(shutil.copytree(whole, tmp_path / name))) for name in ("root", "copy"))
    before, pinned = content(root), select(root, "canny@2").to_pylist()
    entry = root.folder / f"catalogs/canny/samples/_delta_log/{2:020}.json"
    as_it_was, version = entry.read_bytes(), table_of(root, "canny").version
    old_log_of("samples", 2, 0.5)(root)
    gone(root)
    truncated("ledger")(root)
    done = repair(root, CANNY, copies=copy)
    assert [one["done"] for one in done].count("put back") == 3 and "left out" not in {
        one["done"] for one in done
    }
    assert [json.loads(line) for line in entry.read_bytes().splitlines()] == [
        json.loads(line) for line in as_it_was.splitlines()
    ]
    assert validate(root, CANNY, deep=True) == [] and table_of(root, "canny").version == version
    assert content(root) == before and select(root, "canny@2").to_pylist() == pinned


@pytest.mark.parametrize("copied", [True, False])
def test_an_entry_that_only_old_versions_need(built, tmp_path, copied):
    _, whole = built
    root, copy = (Root.open(str(shutil.copytree(whole, tmp_path / name))) for name in ("root", "copy"))
    before, pinned = content(root), select(root, "canny@2").to_pylist()
    entry = root.folder / f"catalogs/canny/samples/_delta_log/{1:020}.json"
    entry.write_bytes(entry.read_bytes()[:40])
    assert [one["problem"] for one in validate(root, CANNY)] == ["broken_log_entry"]
    done = [one["done"] for one in repair(root, CANNY, copies=copy if copied else None)]
    assert done == ["set aside", "put back"] and validate(root, CANNY) == []
    assert content(root) == before
    if copied:
        assert select(root, "canny@2").to_pylist() == pinned
    else:  # what is left
        assert 0 < select(root, "canny@2").num_rows < len(pinned)


def test_another_root_is_no_copy(built, tmp_path):
    clips, whole = built
    root = Root.open(str(shutil.copytree(whole, tmp_path / "root")))
    again(clips, tmp_path / "other")
    before = content(root)
    old_log_of("samples", 2, 0.5)(root)
    done = repair(root, CANNY, copies=Root.open(str(tmp_path / "other")))
    assert "found again" in {one["done"] for one in done}
    assert content(root) == before and validate(root, CANNY, deep=True) == []
