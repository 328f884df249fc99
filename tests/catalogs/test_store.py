from __future__ import annotations

import multiprocessing
import os
import threading
import time

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from catalogs.errors import BrokenCatalog, CatalogNotFound, StorageError
from catalogs.root import Root
from catalogs.store import Table

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])
RUN = {"run_id": "r"}


def table(root: Root, **more) -> Table:
    return Table.open(root, "t", key=("id",), create=SCHEMA, **more)


def rows(*numbers: int) -> list[dict]:
    return [{"id": f"id'{n}", "n": n} for n in numbers]


def numbers(one: Table) -> list[int]:
    one.refresh()
    return sorted(one.read()["n"].to_pylist())


def test_two_builders_write_each_row_once(root):
    first, second = table(root), table(root)
    assert first.append_new(rows(1, 2), RUN) == 2
    assert second.append_new(rows(2, 3, 3), RUN) == 1  # it has not seen the first's commit yet
    assert first.append_new(rows(1, 2, 3), RUN) == 0
    assert numbers(first) == [1, 2, 3]
    assert first.version == 2  # what adds nothing is no version


def _append(uri: str, start: int) -> None:
    one = table(Root.open(uri))
    for n in range(start, start + 12):  # neighbours overlap by half
        one.append_new(rows(n), RUN)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_four_at_once_lose_nothing_and_double_nothing(root, how):
    table(root)
    if how == "threads":
        workers = [threading.Thread(target=_append, args=(root.uri, 6 * k)) for k in range(4)]
    else:
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_append, args=(root.uri, 6 * k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert numbers(table(root)) == list(range(30))


def test_delete_keeps_earlier_versions(root):
    one = table(root)
    one.append_new(rows(1, 2, 3), RUN)
    assert one.delete("id", ["id'1", "id'3", "none"], {"run_id": "gone"}) == 2
    assert numbers(one) == [2]
    assert sorted(Table.open(root, "t", key=("id",), version=1).read()["n"].to_pylist()) == [1, 2, 3]
    assert one.history()[0]["run_id"] == "gone"
    past = Table.open(root, "t", key=("id",), version=1).history()
    assert [(commit["version"], commit.get("run_id")) for commit in past] == [(1, "r"), (0, None)]
    assert one.append_new(rows(1), RUN) == 1  # deleted keys can come again
    assert one.delete("id", [], RUN) == 0


def test_a_delete_that_never_commits_says_so(root, monkeypatch):
    one = table(root)
    one.append_new(rows(1), RUN)
    monkeypatch.setattr("catalogs.store._ATTEMPTS", 2)

    def busy(*_: object) -> None:
        raise CommitFailedError("busy")

    monkeypatch.setattr("catalogs.rewrite.delete", busy)
    with pytest.raises(StorageError, match="could not commit"):
        one.delete("id", ["x"], RUN)


def test_columns_can_be_added(root):
    one = table(root)
    one.append_new(rows(1), RUN)
    wider = pa.schema([*SCHEMA, ("mood", pa.string())])
    assert one.append_new([{"id": "b", "n": 2, "mood": "glad"}], RUN, wider) == 1
    assert one.append_new([{"id": "c", "n": 3}], RUN, SCHEMA) == 1  # and by an older release after that
    one.refresh()
    assert sorted(one.read()["mood"].to_pylist(), key=str) == [None, None, "glad"]
    assert one.schema.names == ["id", "n", "mood"]


def test_what_cannot_be_opened(root):
    with pytest.raises(CatalogNotFound, match="no table"):
        Table.open(root, "none", key=("id",))
    table(root)
    for version in (7, 2**70):
        with pytest.raises(CatalogNotFound, match="no version"):
            Table.open(root, "t", key=("id",), version=version)
    DeltaTable.create(
        f"{root.uri}/newer", SCHEMA, configuration={"avcontrol.schema": "99"}, raise_if_key_not_exists=False
    )
    with pytest.raises(BrokenCatalog, match=r"schema version 99.*newer avcontrol"):
        Table.open(root, "newer", key=("id",))


def test_a_lost_data_file_is_a_broken_catalog(root):
    one = table(root)
    one.append_new(rows(1), RUN)
    next((root.folder / "t").glob("*.parquet")).write_bytes(b"not parquet")
    with pytest.raises(BrokenCatalog, match="missing or corrupt"):
        table(root).read()


def test_many_commits_are_few_files_and_the_same_rows(root, monkeypatch):
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 5)
    one, planned = table(root), table(root)
    planned.overlook()
    for n in range(23):
        assert (one if n % 2 else planned).append_new(rows(n), RUN) == 1
    assert numbers(one) == list(range(23)) and len(one.files()) < 8
    versions = [row for row in one.history() if row.get("run_id") == "r"]
    assert len(versions) == 23 and one.version > 24  # the versions that made files one come between
    for row in versions:
        then = Table.open(root, "t", key=("id",), version=row["version"]).count()
        assert then == len([other for other in versions if other["version"] <= row["version"]])
    assert one.append_new(rows(3, 22), RUN) == 0 and planned.append_new(rows(23, 24), RUN) == 2
    assert list((root.folder / "t/_delta_log").glob("*.checkpoint.parquet"))


def test_four_at_once_while_files_are_made_one(root, monkeypatch):
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 4)
    table(root)
    workers = [threading.Thread(target=_append, args=(root.uri, 6 * k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert numbers(table(root)) == list(range(30))


def test_versions_are_not_forgotten_after_a_month(root):
    one = Table.open(root, "t", key=("id",), create=SCHEMA)
    for n in range(120):
        one.append_new(rows(n), RUN)
    month_ago = time.time() - 60 * 86400
    for file in (root.folder / "t/_delta_log").iterdir():
        os.utime(file, (month_ago, month_ago))
    for n in range(120, 205):
        one.append_new(rows(n), RUN)
    assert Table.open(root, "t", key=("id",), version=7).count() == 7


def test_however_many_versions_little_is_read_to_open(root):
    one = table(root)
    for n in range(150):
        one.append_new(rows(n), RUN)
    log = root.folder / "t/_delta_log"
    checkpoint = max(int(file.name[:20]) for file in log.glob("*.checkpoint.parquet"))
    assert one.version - checkpoint <= 64 and len(one.files()) <= 64
