from __future__ import annotations

import json

import pyarrow as pa
import pytest
from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError

from catalogs import compaction
from catalogs.root import Root
from catalogs.store import HOOKS, Table, delta_table

NARROW = pa.schema([("id", pa.string()), ("n", pa.int64())])
WIDE = pa.schema([*NARROW, ("seen", pa.list_(pa.struct([("path", pa.string())])))])
ONCE = CommitProperties(max_commit_retries=0, custom_metadata={"program": "compact"})


def filled(root: Root, count: int = 6) -> Table:
    """One row a file; a column more in the second half."""
    table = Table.open(root, "t", key=("id",), create=NARROW)
    for n in range(count):
        more = {"seen": [{"path": f"p{n}"}]} if n >= count // 2 else {}
        table.append_new([{"id": str(n), "n": n, **more}], {"run_id": "r"}, WIDE if more else NARROW)
    return table


def compact(root: Root, table: Table, delta) -> None:
    compaction.compact(root, "t", delta, table.schema, ONCE, HOOKS)


def parquet(root: Root) -> set[str]:
    return {file.name for file in (root.folder / "t").glob("*.parquet")}


def test_the_same_rows_in_one_file_and_old_versions_as_they_were(root):
    table = filled(root)
    before, rows = parquet(root), sorted(map(str, table.read().to_pylist()))
    compact(root, table, delta_table(root, "t"))
    then, table = table, Table.open(root, "t", key=("id",))
    assert sorted(map(str, table.read().to_pylist())) == sorted(map(str, then.read().to_pylist())) == rows
    assert table.version == then.version + 1 and table.count() == 6 and table.schema == WIDE
    [file] = table.files()
    assert parquet(root) - before == {file} and set(then.files()) == before  # nothing was removed
    commit = table.history()[0]
    assert commit["program"] == "compact"
    log = (root.folder / f"t/_delta_log/{table.version:020}.json").read_text().splitlines()
    actions = [entry.get("add") or entry.get("remove") for entry in map(json.loads, log)]
    assert not any(action["dataChange"] for action in actions if action)


def test_of_two_at_once_one_counts_and_the_other_leaves_nothing(root):
    table = filled(root)
    first, second = delta_table(root, "t"), delta_table(root, "t")
    compact(root, table, first)
    there = parquet(root)
    with pytest.raises(CommitFailedError):
        compact(root, table, second)
    assert parquet(root) == there and second.version() == first.version()  # it has seen the other's
    table.refresh()
    assert table.count() == table.read().num_rows == 6


def test_rows_that_come_meanwhile_stay(root):
    table = filled(root)
    stale = delta_table(root, "t")
    table.append_new([{"id": "new", "n": 9}], {"run_id": "r"})
    with pytest.raises(CommitFailedError):
        compact(root, table, stale)
    assert table.read().num_rows == 7 and len(parquet(root)) == 7


def test_rows_deleted_meanwhile_stay_deleted(root):
    table = filled(root)
    stale = delta_table(root, "t")
    table.delete("id", ["3"], {"run_id": "r"})
    with pytest.raises(CommitFailedError):
        compact(root, table, stale)
    table.refresh()
    assert sorted(table.read()["id"].to_pylist()) == ["0", "1", "2", "4", "5"]


def test_files_are_merged_to_a_size_and_large_ones_stay(root, monkeypatch):
    table = filled(root, 9)
    size = max(compaction.small(delta_table(root, "t")).values())
    monkeypatch.setattr(compaction, "_MERGED", size * 3 - size // 2)
    compact(root, table, delta_table(root, "t"))
    table.refresh()
    files = table.files()
    assert 3 <= len(files) <= 5 and table.read().num_rows == 9
    monkeypatch.setattr(compaction, "_SMALL", 10)
    assert compaction.small(delta_table(root, "t")) == {}


def test_an_append_stands_where_a_file_to_be_merged_is_damaged(root, monkeypatch):
    table = filled(root)
    (root.folder / "t" / table.files()[0]).write_bytes(b"no parquet")
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 3)
    table.overlook()
    before = table.version
    assert table.append_new([{"id": "new", "n": 9}], {"run_id": "r"}) == 1
    assert table.version == before + 1 and len(table.files()) == 7
