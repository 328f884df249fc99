"""Damage of every kind to a real catalog: mended, then built again, it has the rows that it had."""

from __future__ import annotations

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
    "samples log cut": (log_of("samples", 0.5), "cut_log_entry", 1),
    "samples log emptied": (log_of("samples", 0), "cut_log_entry", 1),
    "ledger log cut": (log_of("ledger", 0.9), "cut_log_entry", 1),
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
