from __future__ import annotations

import json

import pyarrow as pa
import pytest

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.merge import merge
from catalogs.query import select, table_of
from catalogs.schema import samples_schema
from catalogs.summary import catalogs as listed
from catalogs.validate import validate
from tests.catalogs.helpers import commit, make_row, run_info


def put(root, name: str, rows: list[dict], *own: tuple[str, pa.DataType]) -> None:
    schema = samples_schema(pa.schema(own))
    table_of(root, name, create=schema).append_new(rows, run_info(f"run of {name}"), schema)


def join(root, *names: str, into: str = "both"):
    return merge(root, [CatalogID.parse(name) for name in names], into)


@pytest.fixture
def two(root):
    """canny with samples 1 to 4, films with 3 (of another unit) to 6 and columns of its own."""
    commit(root, [make_row(root, n) for n in range(1, 5)])
    rows = [make_row(root, n, unit_id=f"film{n}", run_id="run2", people=n) for n in range(3, 7)]
    put(root, "films", rows, ("people", pa.int32()))
    return root


def test_each_row_once_with_where_it_came_from(two):
    result, told = join(two, "canny", "films@1?quality>0.3")
    assert str(result) == "both@2"
    assert told == [
        {"catalog": "canny@1", "samples": 4, "added": 4},
        {"catalog": "films@1?quality>0.3", "samples": 3, "added": 2},
    ]
    rows = select(two, "both").to_pylist()
    assert [(row["sample_id"][:2], row["merged_from"], row["run_id"]) for row in rows] == [
        *((f"0{n}", "canny@1", "run1") for n in range(1, 5)),
        ("05", "films@1", "run2"),
        ("06", "films@1", "run2"),
    ]
    for row in rows:  # all columns as they were, those that a row never had are null
        origin = select(two, f"{row['merged_from']}?sample_id='{row['sample_id']}'").to_pylist()[0]
        assert {name: row[name] for name in origin} == origin
        assert {name for name in row if row[name] is not None} <= {*origin, "merged_from"}
    assert validate(two, "both", deep=True) == []


def test_again_adds_only_what_is_new(two):
    join(two, "canny", "films")
    version = table_of(two, "both").version
    _, told = join(two, "canny", "films")
    assert [row["added"] for row in told] == [0, 0] and table_of(two, "both").version == version
    commit(two, [make_row(two, 9)])
    result, told = join(two, "canny", "films")
    assert [row["added"] for row in told] == [1, 0] and select(two, result).num_rows == 7
    assert select(two, "both?merged_from='canny@2'").num_rows == 1


def test_merged_rows_keep_their_first_origin(two):
    join(two, "canny", into="once")
    join(two, "once", "films", into="twice")
    assert {row["merged_from"] for row in select(two, "twice").to_pylist()} == {"canny@1", "films@1"}


def test_commits_tell_what_was_merged(two):
    result, _ = join(two, "canny", "films@1")
    commit = table_of(two, "both").history()[0]
    assert commit["program"] == "merge" and json.loads(commit["config"])["from"] == ["canny@1", "films@1"]
    assert (
        next(row for row in listed(two) if row["catalog"] == "both")["samples"] == 6 and result.name == "both"
    )


def test_in_batches_and_in_one_are_the_same(two, monkeypatch):
    join(two, "canny", "films")
    monkeypatch.setattr("catalogs.merge._BATCH", 2)
    join(two, "canny", "films", into="slow")
    assert select(two, "slow").equals(select(two, "both"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"modality": "depth"},
            "canny@1 has modality canny and other@1 has depth: a catalog trains one control",
        ),
        ({"reference_downscale": 4}, "canny@1 has reference_downscale 2 and other@1 has 4"),
        ({"streams": "audio"}, "has streams video and other@1 has audio"),
    ],
)
def test_what_does_not_go_together(root, given, said):
    commit(root, [make_row(root, 1, streams="video")])
    put(root, "other", [make_row(root, 2, **{"streams": "video", **given})])
    with pytest.raises(ConfigError, match=said):
        join(root, "canny", "other")
    assert "both" not in [row["catalog"] for row in listed(root)]
    join(root, "canny")
    with pytest.raises(ConfigError, match=said.replace("canny@1", "both@1")):  # what is there counts, too
        join(root, "other")


def test_columns_of_two_types(root):
    commit(root, [make_row(root, 1)])
    put(root, "other", [make_row(root, 2, edge_density="much")], ("edge_density", pa.string()))
    with pytest.raises(ConfigError, match="column edge_density is double in canny and string in other"):
        join(root, "canny", "other")


def test_into_itself(two):
    with pytest.raises(ConfigError, match="into itself"):
        join(two, "canny", "films", into="films")
    with pytest.raises(ConfigError, match="not a catalog"):
        join(two, "canny", into="a/b")
