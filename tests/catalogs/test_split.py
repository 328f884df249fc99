from __future__ import annotations

import hashlib

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.split import conditions, split
from tests.catalogs.helpers import commit, make_row

shares = st.floats(0.01, 0.99)
keys = st.lists(st.text(max_size=8), max_size=60)


def sides(sources: list[str | None], share: float) -> dict[str, list[int]]:
    """Which rows fall to which side, told by DuckDB."""
    rows = pa.table({"n": range(len(sources)), "source_sha256": pa.array(sources, pa.string())})
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        return {
            name: [
                n for (n,) in connection.execute(f"SELECT n FROM rows WHERE {where} ORDER BY n").fetchall()
            ]
            for name, where in conditions("source", share).items()
        }


@settings(max_examples=40, deadline=None)
@given(keys, shares)
def test_every_row_is_on_one_side_and_no_group_on_both(sources, share):
    cut = sides(sources, share)
    assert sorted(cut["train"] + cut["validation"]) == list(range(len(sources)))
    assert not {sources[n] for n in cut["train"]} & {sources[n] for n in cut["validation"]}


@settings(max_examples=30, deadline=None)
@given(keys, keys, shares)
def test_growing_moves_nobody(before, added, share):
    old, new = sides(before, share), sides(before + added, share)
    assert all(set(old[name]) <= set(new[name]) for name in old)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.5))
def test_the_share_is_near_what_was_asked(start, share):
    sources = [hashlib.sha256(f"{start + n}".encode()).hexdigest() for n in range(4000)]
    got = len(sides(sources, share)["validation"]) / 4000
    assert abs(got - share) < 5 * (share * (1 - share) / 4000) ** 0.5  # five standard deviations


@settings(max_examples=20, deadline=None)
@given(keys, shares, shares)
def test_a_larger_share_only_adds(sources, one, other):
    small, large = sorted((one, other))
    assert set(sides(sources, small)["validation"]) <= set(sides(sources, large)["validation"])


def test_the_rule_is_md5_and_no_other():
    """Written down, and computed apart from DuckDB: another rule would move samples between sides."""
    bound = conditions("source", 0.25)["validation"]
    assert bound == "md5(coalesce(source_sha256, '')) < '40000000'"
    names = [f"source {n}" for n in range(200)]
    expected = [n for n, name in enumerate(names) if hashlib.md5(name.encode()).hexdigest() < "40000000"]
    assert sides(names, 0.25)["validation"] == expected


@pytest.fixture
def many(root):
    one = make_row(root, 1)
    rows = [
        {
            **one,
            "sample_id": f"{n:040d}",
            "unit_id": f"u{n}",
            "source_sha256": f"source {n // 4}",
            "source_uri": f"/corpus/speaker {n // 40}/{n // 4}.wav",
            "quality": n / 400,
        }
        for n in range(400)
    ]
    commit(root, rows)
    return root


def test_ids_for_both_sides(many):
    train, validation = split(many, CatalogID.parse("canny?quality>=0.5"), 0.2)
    assert str(train[0]).startswith("canny@1?(quality>=0.5\n) AND md5(")
    rows = {
        name: select(many, view, ["sample_id", "source_sha256"])
        for view, name in ((train[0], "t"), (validation[0], "v"))
    }
    assert rows["t"].num_rows == train[1]["samples"] and rows["v"].num_rows == validation[1]["samples"]
    assert train[1]["samples"] + validation[1]["samples"] == 200
    assert train[1]["groups"] + validation[1]["groups"] == 50
    assert not {*rows["t"]["source_sha256"].to_pylist()} & {*rows["v"]["source_sha256"].to_pylist()}
    # An ID is read as text by whatever takes it, `train` too.
    assert CatalogID.parse(str(train[0])) == train[0]


def test_by_folder_and_by_column(many):
    for by, groups in (("folder", 10), ("quality", 400)):
        told = [counts for _, counts in split(many, CatalogID.parse("canny"), 0.3, by)]
        assert sum(counts["groups"] for counts in told) == groups
        assert sum(counts["samples"] for counts in told) == 400
    view, _ = split(many, CatalogID.parse("canny"), 0.3, "folder")[1]
    folders = {uri.rpartition("/")[0] for uri in select(many, view, ["source_uri"])["source_uri"].to_pylist()}
    assert select(many, view).num_rows == 40 * len(folders)


@pytest.mark.parametrize(
    ("share", "by", "said"),
    [
        (0.0, "source", "between 0 and 1"),
        (1.0, "source", "between 0 and 1"),
        (float("nan"), "source", "between 0 and 1"),
        (0.1, "speaker", "no column 'speaker'"),
        (0.5, "modality", "no sample of canny@1 falls to"),
    ],
)
def test_refuses(many, share, by, said):
    with pytest.raises(ConfigError, match=said):
        split(many, CatalogID.parse("canny"), share, by)
