from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.diff import changes, diff
from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.root import Root
from catalogs.schema import TICKS_PER_SECOND
from tests.catalogs.helpers import SCHEMA, run_info


def row(n: int, **given) -> dict:
    """Sample n of a source with spans of a second; no files."""
    return {
        "sample_id": f"{n:040d}",
        "unit_id": f"unit{n}",
        "modality": "canny",
        "source_uri": f"/clips/{n // 3}.mp4",
        "source_sha256": f"{n // 3:064x}",
        "span_start": n % 3 * TICKS_PER_SECOND,
        "span_end": (n % 3 + 1) * TICKS_PER_SECOND,
        "timeline": "64x32x9@24/1+16000",
        "estimator": "opencv-canny",
        "estimator_weights": "",
        "params": json.dumps({"low": 100, "high": 200}),
        "code_version": "1.1",
        "seed": 0,
        "caption": f"clip {n}",
        "quality": n / 10,
        "run_id": "run1",
        **given,
    }


def put(root: Root, rows: list[dict], name: str = "canny") -> CatalogID:
    table = table_of(root, name, create=SCHEMA)
    table.append_new(rows, run_info(), SCHEMA)
    table.refresh()
    return CatalogID(name=name, version=table.version)


def replaced(root: Root, before: CatalogID, rows: list[dict]) -> CatalogID:
    """Another catalog: with these rows in the place of those of equal unit."""
    gone = {one["unit_id"].partition(" ")[0] for one in rows}
    kept = [one for one in select(root, before).to_pylist() if one["unit_id"] not in gone]
    return put(root, [*kept, *rows], f"{before.name}-next")


def told(found: dict) -> dict[str, int]:
    return {name: found[name] for name in ("same", "added", "removed", "changed")}


def test_added_and_removed(root):
    before = put(root, [row(n) for n in range(5)])
    table_of(root, "canny").delete("unit_id", ["unit0", "unit4"], {})
    after = put(root, [row(7)])
    found = diff(root, before, after)
    assert told(found) == {"same": 3, "added": 1, "removed": 2, "changed": 0} and not found["reasons"]
    assert [
        (each["change"], (each["before"] or each["after"])[-1]) for each in found["samples"].to_pylist()
    ] == [
        ("added", "7"),
        ("removed", "0"),
        ("removed", "4"),
    ]
    back = diff(root, after, before)
    assert told(back) == {"same": 3, "added": 2, "removed": 1, "changed": 0}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"params": json.dumps({"low": 50, "high": 200})}, "params.low 100 -> 50"),
        ({"params": json.dumps({"low": 100, "blur": 1.5})}, "params.high 200 -> absent, params.blur absent -> 1.5"),
        ({"code_version": "2.1"}, "code_version of the stages 1 -> 2"),
        ({"code_version": "1.3"}, "code_version of the modality 1 -> 3"),
        ({"estimator": "other", "estimator_weights": "ab" * 32}, "estimator opencv-canny -> other; "
         "estimator_weights none -> abababababab…"),
        ({"timeline": "64x32x17@24/1+16000"}, "timeline 64x32x9@24/1+16000 -> 64x32x17@24/1+16000"),
        ({"seed": 7}, "seed 0 -> 7"),
        ({"source_sha256": "cd" * 32}, f"source_sha256 {'0' * 12}… -> cdcdcdcdcdcd…"),
        ({"caption": "said otherwise"}, "caption clip 1 -> said otherwise"),
        ({"calibration": "{}"}, "calibration: the estimator was graded"),
        ({}, "an input that is no column (speaker turns beside the source)"),
    ],
)  # fmt: skip
def test_why_a_sample_changed(root, given, why):
    before = put(root, [row(n) for n in range(3)])
    after = replaced(root, before, [row(1, sample_id="f" * 40, unit_id="unit1 again", **given)])
    found = diff(root, before, after)
    assert told(found) == {"same": 2, "added": 0, "removed": 0, "changed": 1}
    assert [(reason["samples"], reason["why"]) for reason in found["reasons"]] == [(1, why)]
    (sample,) = found["samples"].to_pylist()
    assert (sample["before"], sample["after"]) == (row(1)["sample_id"], "f" * 40)
    assert set(sample["columns"].split(",")) - {""} == set(given)


def test_equal_ids_with_other_values_and_what_is_only_book_keeping(root):
    before = put(root, [row(n) for n in range(3)])
    after = replaced(root, before, [row(1, unit_id="unit1 again", run_id="run2", quality=0.9)])
    found = diff(root, before, after)
    assert told(found)["changed"] == 1 and found["reasons"][0]["why"] == "quality 0.1 -> 0.9"
    same = replaced(root, after, [row(2, unit_id="unit2 again", run_id="run3")])
    assert told(diff(root, after, same)) == {"same": 3, "added": 0, "removed": 0, "changed": 0}


def test_resolutions_side_by_side_are_not_mixed_up(root):
    """The same span on two timelines: each is paired with its own."""
    large = {"timeline": "128x64x9@24/1+16000"}
    before = put(root, [row(0), row(0, sample_id="a" * 40, unit_id="unit5", **large)])
    after = replaced(root, before, [row(0, sample_id="b" * 40, unit_id="unit5 again", seed=1, **large)])
    (reason,) = diff(root, before, after)["reasons"]
    assert reason["why"] == "seed 0 -> 1"


def test_two_catalogs_and_the_kinds_of_change_counted_apart(root):
    one = put(root, [row(n) for n in range(9)], "one")
    other = put(
        root,
        [row(n, sample_id=f"f{n:039d}", code_version="1.2") for n in range(4)]
        + [row(n, sample_id=f"f{n:039d}", code_version="1.2", seed=1) for n in range(4, 9)],
        "other",
    )
    found = diff(root, one, other)
    assert [(reason["samples"], reason["columns"]) for reason in found["reasons"]] == [
        (5, ["code_version", "seed"]),
        (4, ["code_version"]),
    ]
    assert (
        found["before"] == "one@1" and told(diff(root, one, CatalogID.parse("other?seed=1")))["removed"] == 4
    )


def test_itself(root):
    put(root, [row(0)])
    with pytest.raises(ConfigError, match="with itself"):
        diff(root, CatalogID.parse("canny@1"), CatalogID.parse("canny"))


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["1.1", "1.2"])), max_size=8),
    st.sets(st.integers(0, 7)),
)
def test_every_row_is_counted_once(tmp_path_factory, news, olds):
    root = Root.open(str(tmp_path_factory.mktemp("r")), create=True)
    old = [row(n) for n in olds]
    new = [row(n, sample_id=f"{code[-1]}{n:039d}" if code != "1.1" else row(n)["sample_id"], code_version=code)
           for n, code in dict(news).items()]  # fmt: skip
    found = diff(root, put(root, old, "old"), put(root, new, "new"))
    counts = told(found)
    assert counts["same"] + counts["changed"] + counts["removed"] == len(old)
    assert counts["same"] + counts["changed"] + counts["added"] == len(new)
    assert counts["same"] == sum(n in olds and code == "1.1" for n, code in dict(news).items())
    assert counts["changed"] == sum(n in olds and code != "1.1" for n, code in dict(news).items())


def test_changes_that_are_no_json():
    assert changes("params", "not json", "{}") == "params. not json -> absent"
    assert changes("code_version", "1", "2") == "code_version 1 -> 2"
