from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from catalogs import rewrite
from catalogs.root import Root
from catalogs.store import Table, delta_table

NARROW = pa.schema([("id", pa.string()), ("n", pa.int64())])
WIDE = pa.schema([*NARROW, ("seen", pa.list_(pa.struct([("path", pa.string())])))])


def filled(root: Root, count: int = 6) -> Table:
    """One row a file; a column more in the second half."""
    table = Table.open(root, "t", key=("id",), create=NARROW)
    for n in range(count):
        more = {"seen": [{"path": f"p{n}"}]} if n >= count // 2 else {}
        table.append_new([{"id": str(n), "n": n, **more}], {"run_id": "r"}, WIDE if more else NARROW)
    return table


def parquet(root: Root) -> set[str]:
    return {file.name for file in (root.folder / "t").glob("*.parquet")}


def test_the_same_rows_in_one_file_and_old_versions_as_they_were(root):
    table = filled(root)
    before, rows = parquet(root), sorted(map(str, table.read().to_pylist()))
    rewrite.compact(root, "t", delta_table(root, "t"))
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
    rewrite.compact(root, "t", first)
    there = parquet(root)
    with pytest.raises(CommitFailedError):
        rewrite.compact(root, "t", second)
    assert parquet(root) == there and second.version() == first.version()  # it has seen the other's
    table.refresh()
    assert table.count() == table.read().num_rows == 6


def test_rows_that_come_meanwhile_stay(root):
    table = filled(root)
    stale = delta_table(root, "t")
    table.append_new([{"id": "new", "n": 9}], {"run_id": "r"})
    with pytest.raises(CommitFailedError):
        rewrite.compact(root, "t", stale)
    assert table.read().num_rows == 7 and len(parquet(root)) == 7


def test_rows_deleted_meanwhile_stay_deleted(root):
    table = filled(root)
    stale = delta_table(root, "t")
    table.delete("id", ["3"], {"run_id": "r"})
    with pytest.raises(CommitFailedError):
        rewrite.compact(root, "t", stale)
    table.refresh()
    assert sorted(table.read()["id"].to_pylist()) == ["0", "1", "2", "4", "5"]


def test_files_are_merged_to_a_size_and_large_ones_stay(root, monkeypatch):
    table = filled(root, 9)
    size = max(rewrite.small(delta_table(root, "t")).values())
    monkeypatch.setattr(rewrite, "_MERGED", size * 3 - size // 2)
    rewrite.compact(root, "t", delta_table(root, "t"))
    table.refresh()
    files = table.files()
    assert 3 <= len(files) <= 5 and table.read().num_rows == 9
    monkeypatch.setattr(rewrite, "_SMALL", 10)
    assert rewrite.small(delta_table(root, "t")) == {}


def test_an_append_stands_where_a_file_to_be_merged_is_damaged(root, monkeypatch):
    table = filled(root)
    (root.folder / "t" / table.files()[0]).write_bytes(b"no parquet")
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 3)
    table.overlook()
    before = table.version
    assert table.append_new([{"id": "new", "n": 9}], {"run_id": "r"}) == 1
    assert table.version == before + 1 and len(table.files()) == 7


def test_rows_are_taken_out_and_text_stays_text(root):
    table = filled(root)
    files = table.files()
    assert table.delete("id", ["1", "4", "none", "it's"], {"run_id": "d"}) == 2
    assert sorted(table.read()["id"].to_pylist()) == ["0", "2", "3", "5"] and table.count() == 4
    assert table.delete("id", ["1"], {"run_id": "d"}) == 0 and table.version == 7  # nothing is no version
    commit = table.history()[0]
    assert (commit["run_id"], commit["removed_rows"]) == ("d", "2")
    assert set(table.files()) < set(files)  # files of one row go whole, the others were not touched
    assert Table.open(root, "t", key=("id",), version=6).count() == 6
    table.append_new([{"id": f"m{n}", "n": n, "seen": None} for n in range(3)], {"run_id": "r"})
    assert table.delete("id", ["m1"], {"run_id": "d"}) == 1
    for file in table.files():
        schema = pq.read_schema(root.folder / "t" / file)
        assert schema.field("id").type == pa.string()
    where = pads.field("id").isin(pa.array(["m0", "m1"])) | (pads.field("id") == "2")
    assert sorted(table.read(where=where)["id"].to_pylist()) == ["2", "m0"]


def test_nulls_are_not_taken_out(root):
    table = filled(root)
    table.append_new([{"id": "none", "n": None, "seen": None}], {"run_id": "r"})
    assert table.delete("id", ["0"], {"run_id": "d"}) == 1
    assert table.read().num_rows == 6 and table.read(["n"])["n"].null_count == 1


def test_two_that_delete_at_once(root):
    filled(root, 12)
    tables = [Table.open(root, "t", key=("id",)) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        gone = list(
            pool.map(lambda n: tables[n].delete("id", [str(3 * n + k) for k in range(4)], {}), range(3))
        )
    table = Table.open(root, "t", key=("id",))
    assert sum(gone) == 10 and sorted(table.read()["id"].to_pylist(), key=int) == ["10", "11"]


def test_planned_rows_hold_no_keys_after_files_were_merged(root, monkeypatch):
    table = filled(root)
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 5)
    table.overlook()
    for n in range(100, 112):
        assert table.append_new([{"id": str(n), "n": n}], {"run_id": "r"}) == 1
        assert len(table._keys) <= 1
    assert (
        table.append_new([{"id": "111", "n": 0}], {"run_id": "r"}) in (0, 1) and table.read().num_rows >= 18
    )


def test_an_append_stands_where_the_log_cannot_be_put_together(root, monkeypatch):
    table = filled(root)
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DeltaTable, "create_checkpoint", full)
    assert table.append_new([{"id": "new", "n": 9}], {"run_id": "r"}) == 1
    assert table.read().num_rows == 7
