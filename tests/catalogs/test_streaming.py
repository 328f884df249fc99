"""What is as large as a catalog passes through: files instead of memory, streams instead of sets."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import StorageError
from catalogs.query import asking, manifest_hash, select, table_of
from catalogs.spool import mapped, set_aside, spool
from tests.catalogs.test_store import RUN, numbers, rows, table


def stream(count: int, size: int = 100) -> pa.RecordBatchReader:
    whole = pa.table({"n": range(count), "text": [f"é{n}" for n in range(count)]})
    return pa.RecordBatchReader.from_batches(whole.schema, iter(whole.to_batches(size)))


@given(st.lists(st.text(max_size=8)))
@settings(deadline=None)
def test_a_manifest_is_the_same_from_a_stream(ids: list[str]) -> None:
    wanted = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
    assert manifest_hash(ids) == wanted == manifest_hash(iter(sorted(ids)), ordered=True)


def test_rows_come_in_the_order_that_a_manifest_wants(filled) -> None:
    ids = select(filled, "canny", ["sample_id"])["sample_id"].to_pylist()
    assert manifest_hash(ids) == manifest_hash(ids, ordered=True)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_spooled_rows_are_mapped(tmp_path: Path, count: int) -> None:
    wanted = stream(count).read_all()
    assert spool(stream(count), tmp_path / "rows") == mapped(tmp_path / "rows") == wanted
    before = pa.total_allocated_bytes()
    aside = set_aside(stream(count, 10), tmp_path)
    assert aside.equals(wanted) and [file.name for file in tmp_path.iterdir()] == ["rows"]
    assert pa.total_allocated_bytes() - before < 1000 + 100 * len(aside.column(0).chunks)


def test_a_full_disk_is_told_from_a_broken_stream(tmp_path: Path) -> None:
    def broken():
        yield from stream(10).read_all().to_batches()
        raise OSError(errno.EIO, "the reader's own")

    with pytest.raises(OSError, match="the reader's own"):
        spool(pa.RecordBatchReader.from_batches(stream(10).schema, broken()), tmp_path / "rows")
    with pytest.raises(StorageError, match="disk full"):
        spool(stream(100_000), Path("/dev/full"))


def test_sorts_larger_than_their_memory_go_to_the_disk(filled) -> None:
    many = "SELECT sha256(range::VARCHAR) AS a, sha256('x' || range) AS b FROM range(1200000)"
    with asking({"rows": table_of(filled, "canny")}, "200MB") as ask:
        found = [
            batch.column(0) for batch in ask(f"SELECT * FROM ({many}) ORDER BY b").to_arrow_reader(10_000)
        ]
    with asking({"rows": table_of(filled, "canny")}) as ask:
        assert pa.chunked_array(found).equals(ask(f"SELECT a FROM ({many}) ORDER BY b").to_arrow_table()["a"])


def test_overlooking_what_is_planned_against(root) -> None:
    """Rows of before and one's own are not held; those that others add are seen, however long ago."""
    table(root).append_new(rows(1, 2), RUN)
    mine, other = table(root), table(root)
    mine.overlook()
    assert mine.append_new(rows(3), RUN) == 1
    other.append_new(rows(4, 5), RUN)
    assert mine.append_new(rows(6), RUN) == 1
    assert mine.append_new(rows(4, 7), RUN) == 1
    assert mine.append_new(rows(5, 8), RUN) == 1
    assert numbers(mine) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert set(mine.keys()) == {("id'4",), ("id'5",)}
