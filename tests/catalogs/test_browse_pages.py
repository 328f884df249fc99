"""Paging: every page of every order is what Arrow's own sort of the whole table gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.million import make
from catalogs import review, scan
from catalogs.browse.pages import LISTED, Pages, row_of
from catalogs.errors import BadQuery, BrokenCatalog, CatalogNotFound
from catalogs.ids import CatalogID
from catalogs.query import run_sql, select, table_of
from catalogs.root import Root
from tests.catalogs.helpers import SCHEMA, commit, make_row, run_info

ROWS, TABLE = 700, "catalogs/canny/samples"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """700 samples in three files of their own order, some figures null or equal."""
    import benchmarks.million as million

    before, million.ROWS_A_FILE = million.ROWS_A_FILE, 300
    root = Root.open(str(tmp_path_factory.mktemp("large")), create=True)
    make(root, ROWS)
    million.ROWS_A_FILE = before
    return root


@pytest.fixture(scope="module")
def stored(large: Root) -> list[dict]:
    """Its rows in the order of the files, read without DuckDB."""
    files = table_of(large, "canny").dataset().files
    tables = [pq.read_table(large.path(f"{TABLE}/{file}")) for file in files]
    return pa.concat_tables(tables).to_pylist()


def test_the_made_catalog_is_plausible(large, stored):
    assert len(stored) == ROWS == len({row["sample_id"] for row in stored})
    assert len(table_of(large, "canny").dataset().files) == 3
    ninth = next(row for row in stored if row["caption"].endswith("clip 9"))
    assert set(SCHEMA.names) == set(ninth) and ninth["source_uri"].endswith("0000001.mp4")
    assert 0.6 < np.mean([row["quality"] for row in stored]) < 0.8
    other = Root.open(str(Path(large.uri) / "again"), create=True)
    make(other, 50)
    make(other, 50, "twice")
    assert select(other, "canny").equals(select(other, "twice"))


@settings(max_examples=40, deadline=None)
@given(
    sort=st.sampled_from(
        ["", "quality", "caption", "sample_id", "timeline", "sharpness", "av_offset_ms", "span_end"]
    ),
    descending=st.booleans(),
    start=st.integers(0, ROWS + 20),
    size=st.integers(1, 90),
    bound=st.sampled_from([None, 0.7, 2.0]),
    prepared=st.booleans(),
)
def test_every_page(large, stored, sort, descending, start, size, bound, prepared):
    pages = Pages(large, "canny" + (f"?quality > {bound}" if bound else ""), sort, descending)
    rows = [row for row in stored if not bound or row["quality"] > bound]
    if sort:
        known = [row for row in rows if row[sort] is not None]
        known.sort(key=lambda row: row[sort], reverse=descending)
        if descending:  # Python's reverse keeps equal rows in order, too
            assert [row[sort] for row in known] == sorted((row[sort] for row in known), reverse=True)
        rows = known + [row for row in rows if row[sort] is None]
    if prepared:
        pages.prepare()
        assert pages.ready
    names = [*LISTED, sort] if sort and sort not in LISTED else LISTED
    expected = [{name: row[name] for name in names} for row in rows[start : start + size]]
    assert pages.page(start, size) == expected
    assert pages.count() == len(rows)


def test_another_order_reads_no_file_again(large, stored, monkeypatch):
    pages = Pages(large, "canny")
    pages.prepare()
    monkeypatch.setattr("catalogs.browse.pages.Held", None)
    for sort in ("quality", "sharpness", ""):
        other = pages.sorted_by(sort, True)
        expected = sorted(stored, key=lambda row: -row[sort]) if sort else stored
        assert [row["sample_id"] for row in other.page(100, 5)] == [
            row["sample_id"] for row in expected[100:105]
        ]
    assert not pages.sort and pages.sorted_by("quality").sorted_by("motion").page(0, 1)[0]["motion"] < 0.02
    with pytest.raises(BadQuery, match="cannot sort by 'qualty'"):
        pages.sorted_by("qualty")


def test_a_selection_by_reviews(large, stored):
    chosen = [row["sample_id"] for row in stored[5:400:7]]
    review.write(large, "canny", chosen, verdict="accept")
    pages = Pages(large, "canny?review = 'accept'")
    assert str(pages.catalog) == f"canny@3+{review.version(large, 'canny')}?review = 'accept'"
    assert [row["sample_id"] for row in pages.page(0, 100)] == sorted(chosen) and pages.count() == len(chosen)
    pages.prepare()
    assert [row["sample_id"] for row in pages.page(0, 100)] == sorted(chosen)
    best = max((row for row in stored if row["sample_id"] in chosen), key=lambda row: row["sharpness"])
    assert pages.sorted_by("sharpness", True).page(0, 1)[0]["sample_id"] == best["sample_id"]


def test_pages_stay_on_their_version(filled):
    pages = Pages(filled, "canny")
    commit(filled, [make_row(filled, 9)])
    assert str(pages.catalog) == "canny@2" and len(pages.page(0, 50)) == pages.count() == 5
    pages.prepare()
    assert len(pages.page(0, 50)) == 5 and Pages(filled, "canny").count() == 6
    assert [row["sample_id"][:2] for row in Pages(filled, "canny@1").page(0, 9)] == ["01", "02", "03", "04"]


def test_rejects_in_pages(filled):
    pages = Pages(filled, "canny?reason = 'static'", columns=("stage", "reason"), kind="rejects")
    assert pages.page(0, 9) == [{"stage": "clip", "reason": "static"}] * 2 and pages.count() == 2


def test_what_cannot_be_paged(filled):
    with pytest.raises(BadQuery, match="Did you mean quality"):
        Pages(filled, "canny?qualty > 1").page(0, 9)
    with pytest.raises(BadQuery, match="syntax"):
        Pages(filled, "canny?quality >")
    with pytest.raises(BadQuery, match="Columns: sample_id"):
        Pages(filled, "canny", "sample_idd")
    with pytest.raises(CatalogNotFound, match="has no sample"):
        row_of(filled, CatalogID(name="canny", version=1), "05" * 20)
    for file in (filled.folder / TABLE).glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BrokenCatalog, match="validate"):
        Pages(filled, "canny").page(0, 9)


# How DuckDB gets at the rows: its own reader and Arrow's give the same.


def test_a_root_that_is_no_folder_gives_the_same_rows(large, stored):
    remote = dataclasses.replace(large, folder=None)
    for sort in ("", "quality"):
        assert Pages(remote, "canny", sort).page(200, 30) == Pages(large, "canny", sort).page(200, 30)
    sql = "SELECT * FROM rows WHERE quality > 0.9 ORDER BY sample_id"
    assert run_sql(table_of(remote, "canny"), sql).equals(run_sql(table_of(large, "canny"), sql))


def test_folders_named_like_patterns(tmp_path):
    root = Root.open(str(tmp_path / "a*b"), create=True)
    commit(root, [make_row(root, n) for n in (1, 2)])
    assert select(root, "canny?quality > 0.15", ["caption"]).to_pylist() == [{"caption": "clip 2"}]


def test_columns_that_come_and_go(filled):
    wider = pa.schema([*SCHEMA, ("speed", pa.int32())])
    samples = table_of(filled, "canny")
    samples.append_new([{**make_row(filled, 8), "speed": 3}], run_info(), wider)
    assert select(filled, "canny?speed = 3 OR quality < 0.15", ["speed"]).to_pylist() == [
        {"speed": None},
        {"speed": 3},
    ]
    assert select(filled, "canny").column_names == wider.names
    samples.delete("sample_id", ["08" * 20], {})  # now no file has the column
    assert select(filled, "canny?speed IS NULL", ["speed"]).num_rows == 5
    assert "speed" not in select(filled, "canny@2").column_names
    assert scan._local(table_of(filled, "canny"))  # and the test was of DuckDB's own reader


def test_files_of_another_catalog_cannot_be_read(filled):
    commit(filled, [make_row(filled, 1)], name="secret")
    file = next((filled.folder / "catalogs/secret/samples").glob("*.parquet"))
    with pytest.raises(BadQuery, match="Cannot access file"):
        select(filled, f"canny?sample_id IN (SELECT sample_id FROM '{file}')")
