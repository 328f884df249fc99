from __future__ import annotations

import pytest

from catalogs.errors import BadQuery, BrokenCatalog, CatalogNotFound, ConfigError
from catalogs.query import manifest_hash, names, pin, sample, select, table_of
from tests.catalogs.helpers import SCHEMA, commit, make_row

_secret = [1]


def ids(root, catalog, **more) -> list[str]:
    return [
        sample_id[:2] for sample_id in select(root, catalog, ["sample_id"], **more)["sample_id"].to_pylist()
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("quality > 0.25", ["03", "04", "05"]),
        ("quality>0.25 AND caption<>''", ["03", "04"]),
        ("caption = 'clip 2' OR caption = 'it''s'", ["02"]),
        ("quality > 0.45 -- the best", ["05"]),
        ("len(signals) = 1 AND edge_density < 1", ["01", "02", "03", "04", "05"]),
        ("caption LIKE '%now()%'", []),
    ],
)
def test_where(filled, where, found):
    assert ids(filled, f"canny?{where}") == found


def test_rows_come_in_the_order_of_their_key(root):
    for n in (7, 3, 9, 1):
        commit(root, [make_row(root, n)])
    assert ids(root, "canny") == ["01", "03", "07", "09"]
    assert ids(root, "canny", limit=2) == ["01", "03"]


def test_a_pinned_id_gives_the_same_rows_for_ever(filled):
    pinned = pin(filled, "canny?quality>0.1")
    before = select(filled, pinned)
    commit(filled, [make_row(filled, 8)])
    table_of(filled, "canny").delete("unit_id", ["unit3"], {})
    assert str(pinned) == "canny@2?quality>0.1"
    assert select(filled, pinned).equals(before)
    assert ids(filled, "canny") == ["01", "02", "04", "05", "08"]
    assert ids(filled, "canny@1") == ["01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("qualty > 1", "Did you mean quality"),
        ("zzz = 1", "Columns: sample_id"),
        ("quality >", "syntax error"),
        ("true) ORDER BY random() --", "syntax error"),
        ("true) USING SAMPLE (10%", "syntax error"),
        ("true; DROP TABLE rows", "more than one"),
        ("true LIMIT 1", "modifier"),
        ("1, 2", "single expression"),
        ("random() < 0.5", "changes from call to call"),
        ("now() > '2020-01-01'", "changes"),
        ("sample_id IN (SELECT * FROM read_csv('/etc/passwd'))", "Cannot access file"),
        ("sample_id IN (SELECT content FROM read_text('/etc/passwd'))", "Cannot access file"),
        ("sample_id IN (SELECT * FROM '/etc/passwd')", "does not exist"),
        ("1 IN (SELECT * FROM _secret)", "does not exist"),
        ("regexp_matches(caption, '(')", "missing"),
        ("caption", "Could not convert"),
        ("sum(quality) > 1", "aggregates"),
    ],
)
def test_bad_conditions(filled, where, said):
    with pytest.raises(BadQuery, match=said.replace("(", r"\(")) as caught:
        select(filled, f"canny?{where}")
    assert caught.value.hint and "\n" not in str(caught.value)


def test_unknown_columns_are_suggested(filled):
    with pytest.raises(BadQuery, match="Did you mean caption"):
        select(filled, "canny", ["captoin"])


def test_names_that_do_not_exist(filled):
    assert names(filled) == ["canny"]
    with pytest.raises(CatalogNotFound, match=r"Did you mean canny\? There are: canny"):
        select(filled, "cany")
    with pytest.raises(CatalogNotFound, match="versions 0 to 2"):
        select(filled, "canny@9")
    with pytest.raises(ConfigError):
        table_of(filled, "a/b", create=SCHEMA)


def test_no_catalogs_yet(root):
    with pytest.raises(CatalogNotFound, match="build"):
        select(root, "canny")


def test_a_corrupt_file_is_not_a_bad_query(filled):
    for file in (filled.folder / "catalogs/canny/samples").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BrokenCatalog, match="validate"):
        select(filled, "canny?quality>0")


def test_sample_by_the_start_of_its_id(filled):
    catalog, row = sample(filled, "0303")
    assert (catalog.name, row["caption"]) == ("canny", "clip 3")
    for prefix, said in (
        ("ff", "no sample"),
        ("0", "5 samples begin"),
        ("'", "no sample"),
        ("%", "no sample"),
    ):
        with pytest.raises(CatalogNotFound, match=said):
            sample(filled, prefix)
    with pytest.raises(CatalogNotFound):
        sample(filled, "0505", "canny@1")


def test_sample_twice_in_one_catalog_or_in_two(filled):
    commit(filled, [make_row(filled, 1, unit_id="a copy elsewhere")])
    assert sample(filled, "0101")[1]["sample_id"] == "01" * 20
    commit(filled, [make_row(filled, 1)], name="other")
    with pytest.raises(CatalogNotFound, match=r"in canny, .* in other"):
        sample(filled, "0101")
    assert sample(filled, "0101", "other")[0].name == "other"


def test_manifest_hash_is_of_the_set():
    assert manifest_hash(["b", "a"]) == manifest_hash(["a", "b"]) != manifest_hash(["a"])
