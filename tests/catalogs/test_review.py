from __future__ import annotations

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import review
from catalogs.errors import BadQuery, CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import manifest_hash, pin, select, table_of
from catalogs.summary import columns, count
from tests.catalogs.helpers import SCHEMA, commit, make_row, run_info
from tests.catalogs.test_cli import run

ONE, TWO, THREE, FOUR, FIVE = (f"{n:02x}" * 20 for n in range(1, 6))


def ids(root, catalog) -> list[str]:
    return select(root, catalog, ["sample_id"])["sample_id"].to_pylist()


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.one_of(st.integers(0, 10**9), st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)),
    st.one_of(st.none(), st.integers(0, 10**9)),
    st.one_of(st.none(), st.text(min_size=1).map(str.strip).filter(bool)),
)
def test_ids_with_a_version_of_the_reviews_read_back_the_same(name, version, reviews, where):
    catalog = CatalogID(name=name, version=version, reviews=reviews, where=where)
    assert CatalogID.parse(str(catalog)) == catalog


@pytest.mark.parametrize(
    "text", ["canny@3+", "canny@+5", "canny@3+x", "canny@3+5+6", "canny@3+-1", "canny+5", "canny@3 +5"]
)
def test_ids_that_are_none(text):
    with pytest.raises(ConfigError):
        CatalogID.parse(text)


NUMBERS = itertools.count()
SAID = st.tuples(
    st.sampled_from([ONE, TWO]),
    st.sampled_from([None, "", "accept", "reject"]),
    st.sampled_from([None, "", "blurred", "it's"]),
).filter(lambda said: said[1:] != (None, None))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SAID, min_size=1, max_size=4))
def test_the_newest_that_says_something_counts(root, said):
    name, model, states = f"c{next(NUMBERS)}", {}, [{}]
    for sample_id, verdict, note in said:
        review.write(root, name, [sample_id], verdict=verdict, note=note)
        old = model.get(sample_id, (None, None))
        new = zip(old, (verdict, note), strict=True)
        model = {**model, sample_id: tuple(was if now is None else now or None for was, now in new)}
        states.append(model)
    for at, state in enumerate(states):  # a version of the reviews is what was known then
        found = review.newest(root, name, at).to_pylist()
        assert {row["sample_id"]: (row["review"], row["review_note"]) for row in found} == state


def test_where_reads_reviews_and_the_samples_stay_as_they_are(filled):
    samples = table_of(filled, "canny")
    files = set(DeltaTable(filled.table_uri("catalogs/canny/samples")).file_uris())
    review.write(filled, "canny", [ONE, TWO], verdict="accept")
    review.write(filled, "canny", [TWO, THREE], verdict="reject", note="cut in the middle")
    assert ids(filled, "canny?review='accept'") == [ONE]
    assert ids(filled, "canny?review='reject' AND quality > 0.25") == [THREE]
    assert ids(filled, "canny?review IS NULL") == [FOUR, FIVE]
    assert ids(filled, "canny@1?review is null") == [FOUR]
    assert ids(filled, "canny?Review_Note LIKE '%cut%'") == [TWO, THREE]
    assert ids(filled, "canny?caption <> 'review'") == [ONE, TWO, THREE, FOUR, FIVE]
    assert count(filled, CatalogID.parse("canny?review='reject'")) == 2
    told = {row["column"]: row for row in columns(filled, CatalogID.parse("canny?review='reject'"))}
    assert told["quality"]["min"] == pytest.approx(0.2) and told["quality"]["max"] == pytest.approx(0.3)
    shown = select(filled, "canny", ["sample_id", "review", "review_note"]).to_pylist()
    assert [row["review"] for row in shown] == ["accept", "reject", "reject", None, None]
    assert shown[1]["review_note"] == "cut in the middle"
    assert "review" not in select(filled, "canny").column_names
    assert table_of(filled, "canny").version == samples.version
    assert set(DeltaTable(filled.table_uri("catalogs/canny/samples")).file_uris()) == files


def test_a_pinned_id_keeps_its_reviews(filled):
    asked = "canny@2?review='accept'"
    assert str(pin(filled, asked)) == "canny@2+0?review='accept'"  # before anyone said anything
    at = review.write(filled, "canny", [ONE, TWO], verdict="accept")
    pinned = pin(filled, asked)
    assert str(pinned) == f"canny@2+{at}?review='accept'"
    before = manifest_hash(ids(filled, pinned))
    review.write(filled, "canny", [TWO], verdict="reject")
    review.write(filled, "canny", [FIVE], verdict="accept")
    assert ids(filled, asked) == [ONE, FIVE] and ids(filled, str(pinned)) == [ONE, TWO]
    assert manifest_hash(ids(filled, pinned)) == before
    assert pin(filled, str(pinned)) == pinned and pin(filled, "canny@2+1").reviews == 1
    assert ids(filled, "canny@2+0?review='accept'") == []
    assert pin(filled, "canny?quality>0.1").reviews is None
    with pytest.raises(CatalogNotFound, match=r"no version 99.*versions 0 to 3"):
        select(filled, "canny@2+99?review='accept'")


def test_a_column_of_the_samples_own_is_theirs(root):
    schema = pa.schema([*SCHEMA, ("review", pa.string())])
    rows = [{**make_row(root, n), "review": f"mine {n}"} for n in (1, 2)]
    table_of(root, "canny", create=schema).append_new(rows, run_info(), schema)
    review.write(root, "canny", [ONE], verdict="accept", note="good")
    assert ids(root, "canny?review = 'mine 1'") == [ONE]
    assert ids(root, "canny?review_note = 'good'") == [ONE]


def test_rejects_have_no_reviews(filled):
    with pytest.raises(BadQuery):
        select(filled, "canny?review='accept'", kind="rejects")


def test_many_small_reviews_become_one_file_and_old_versions_stay(filled, monkeypatch):
    monkeypatch.setattr("catalogs.store._SMALL_FILES", 8)
    for n in range(10):
        review.write(filled, "canny", [ONE if n % 2 else TWO], note=f"note {n}")
    assert len(DeltaTable(filled.table_uri("catalogs/canny/reviews")).file_uris()) < 5
    notes = {row["sample_id"]: row["review_note"] for row in review.newest(filled, "canny").to_pylist()}
    assert notes == {TWO: "note 8", ONE: "note 9"}
    assert review.newest(filled, "canny", 1).to_pylist()[0]["review_note"] == "note 0"


def test_a_user_without_a_name(filled, monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nameless)
    review.write(filled, "canny", [ONE], verdict="accept")
    assert review.history(filled, "canny", ONE)[0]["reviewer"] == f"uid {os.getuid()}"


def test_two_reviewers_at_once_lose_nothing(filled):
    def say(who: str) -> None:
        for n in range(5):
            review.write(filled, "canny", [ONE], note=f"{who} {n}", reviewer=who)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(say, ["ann", "bob"]))
    said = review.history(filled, "canny", ONE)
    assert {row["review_note"] for row in said} == {f"{who} {n}" for who in ("ann", "bob") for n in range(5)}
    assert review.newest(filled, "canny").to_pylist()[0]["review_note"] == said[0]["review_note"]
    assert [row["reviewed_at"] for row in said] == sorted((row["reviewed_at"] for row in said), reverse=True)


def test_the_command(filled, capsys):
    status, out, _ = run(capsys, filled, "review", "canny", "0101", "02", "--accept", "--reviewer", "ann")
    assert status == 0 and out == "2 samples accepted: canny@2+1\n"
    run(capsys, filled, "review", "canny?quality > 0.25", "--all", "--reject", "--note", "it's dark")
    run(capsys, filled, "review", "canny", "0101", "--clear")
    status, out, _ = run(capsys, filled, "query", "canny?review='accept'", "--json")
    assert [row["sample_id"] for row in json.loads(out)] == [TWO]
    status, out, _ = run(
        capsys, filled, "query", "canny", "--columns", "sample_id,review,review_note", "--csv"
    )
    assert out.splitlines()[3] == f"{THREE},reject,it's dark"
    assert review.history(filled, "canny", TWO)[0]["reviewer"] == "ann"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["canny", "0", "--accept"], "5 samples begin with '0'"),
        (["canny@1", "05", "--accept"], "no sample begins with '05'"),
        (["canny", "'", "--accept"], "no sample begins"),
        (["canny", "01", "--accept", "--reject"], "exclude each other"),
        (["canny", "01"], "Give --accept"),
        (["canny", "--accept"], "no SAMPLE_ID"),
        (["canny", "01", "--all", "--accept"], "takes no SAMPLE_ID"),
        (["canny?quality > 9", "--all", "--accept"], "selects no samples"),
        (["cany", "01", "--accept"], "Did you mean canny"),
    ],
)
def test_reviews_that_cannot_be_given(filled, capsys, words, said):
    status, out, err = run(capsys, filled, "review", *words)
    assert status == 2 and not out and len(err.splitlines()) == 1 and said in err
    assert review.version(filled, "canny") == 0


def test_browse_wants_a_terminal(filled, capsys):
    status, out, err = run(capsys, filled, "browse", "canny")
    assert status == 2 and not out and "needs a terminal" in err and len(err.splitlines()) == 1


def test_a_review_that_says_nothing(filled):
    for said in ({}, {"verdict": "maybe"}):
        with pytest.raises(ConfigError):
            review.write(filled, "canny", [ONE], **said)


def test_samples_that_come_later_are_seen(filled):
    review.write(filled, "canny", ["08" * 20], verdict="accept")
    assert ids(filled, "canny?review='accept'") == []
    commit(filled, [make_row(filled, 8)])
    assert ids(filled, "canny?review='accept'") == ["08" * 20]
