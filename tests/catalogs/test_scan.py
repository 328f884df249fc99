from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from catalogs import review, scan
from catalogs.errors import BadQuery, BrokenCatalog
from catalogs.query import run_sql, select, table_of
from catalogs.root import Root
from tests.catalogs.helpers import commit, make_row

ONE = "01" * 20


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(scan, "_kept", {})


def numbers(root: Root, view: str = "canny") -> list[str]:
    return [sample_id[:2] for sample_id in select(root, view, ["sample_id"])["sample_id"].to_pylist()]


def test_a_version_is_asked_of_the_same_database(root):
    commit(root, [make_row(root, 1)])
    assert numbers(root) == numbers(root, "canny?quality < 2") == ["01"] and len(scan._kept) == 1
    commit(root, [make_row(root, 2)])
    assert numbers(root) == ["01", "02"] and numbers(root, "canny@1") == ["01"] and len(scan._kept) == 2


def test_few_are_kept_and_the_others_start_again(root):
    for n in range(scan._KEPT + 3):
        commit(root, [make_row(root, n)])
    for version in (1, 2, 3, 4, 5, 6, 7, 1, 7, 2):
        assert len(numbers(root, f"canny@{version}")) == version
    assert len(scan._kept) == scan._KEPT
    assert [which[3] for which in scan._kept] == ["6", "1", "7", "2"]


def test_a_table_made_anew_in_its_place_is_another(root):
    commit(root, [make_row(root, 1)])
    assert numbers(root) == ["01"]
    (root.folder / "catalogs").rename(root.folder / "before")
    commit(root, [make_row(root, 2)])
    assert numbers(root) == ["02"]


def test_files_damaged_or_lost_since_are_found(root):
    commit(root, [make_row(root, n) for n in range(3)])
    assert len(numbers(root)) == 3
    [file] = (root.folder / "catalogs/canny/samples").glob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:500])
    with pytest.raises(BrokenCatalog):
        select(root, "canny")
    file.unlink()
    with pytest.raises(BrokenCatalog):
        select(root, "canny")
    file.write_bytes(whole)
    assert len(numbers(root)) == 3


def test_a_version_that_was_made_anew_with_other_files_is_another(root):
    commit(root, [make_row(root, 1)])
    commit(root, [make_row(root, 2)])
    assert numbers(root) == ["01", "02"]
    log = root.folder / "catalogs/canny/samples/_delta_log"
    (log / f"{2:020}.json").unlink()  # as `validate --fix` sets the newest aside
    commit(root, [make_row(root, 3)])
    assert table_of(root, "canny").version == 2 and numbers(root) == ["01", "03"]


def test_reviews_are_those_of_each_question(root):
    commit(root, [make_row(root, 1), make_row(root, 2)])
    for verdict, left in (("accept", ["01"]), ("reject", []), ("accept", ["01"])):
        review.write(root, "canny", [ONE], verdict=verdict)
        assert numbers(root, "canny?review='accept'") == left


def test_many_threads_ask_at_once(root):
    commit(root, [make_row(root, n) for n in range(6)])
    views = [f"canny?quality >= {n / 10}" for n in range(6)] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda view: numbers(root, view), views))
    assert found == [numbers(root, view) for view in views] and len(scan._kept) == 1


def test_a_kept_database_reads_nothing_else_and_is_not_changed(root, tmp_path):
    commit(root, [make_row(root, 1)])
    (tmp_path / "secret.csv").write_text("a\n1\n")
    table = table_of(root, "canny")
    for sql in (
        f"SELECT * FROM '{tmp_path}/secret.csv'",
        "SET enable_external_access = true",
        "DROP VIEW rows",
    ):
        for _ in range(2):
            with pytest.raises(BadQuery):
                run_sql(table, sql)
    with scan.connect({"rows": table}, {}) as connection, pytest.raises(duckdb.Error, match="disabled"):
        connection.sql(f"SELECT * FROM '{tmp_path}/secret.csv'").fetchall()
    assert numbers(root) == ["01"]
