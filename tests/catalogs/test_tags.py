from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs import tags
from catalogs.errors import BrokenCatalog, CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import pin, sample, select, table_of
from catalogs.validate import validate
from tests.catalogs.helpers import commit, make_row


def ids(root, catalog) -> list[str]:
    return [sample_id[:2] for sample_id in select(root, catalog, ["sample_id"])["sample_id"].to_pylist()]


@pytest.fixture
def tagged(filled):
    tags.tag(filled, pin(filled, "canny@1"), "best")
    return filled


def test_a_tag_is_as_good_as_a_number(tagged):
    assert str(pin(tagged, "canny@best?quality>0.1")) == "canny@1?quality>0.1"
    assert ids(tagged, "canny@best") == ids(tagged, "canny@1") != ids(tagged, "canny")
    assert ids(tagged, "canny@best?quality>0.25") == ["03", "04"]
    assert table_of(tagged, "canny", version="best").version == 1
    assert validate(tagged, "canny@best") == []
    with pytest.raises(CatalogNotFound):  # the fifth came later
        sample(tagged, "0505", "canny@best")


def test_a_tag_moves_only_when_told_to(tagged):
    before = ids(tagged, "canny@best")
    commit(tagged, [make_row(tagged, 7)])
    assert ids(tagged, "canny@best") == before
    with pytest.raises(ConfigError, match=r"canny@best is version 1 already\. --force"):
        tags.tag(tagged, pin(tagged, "canny"), "best")
    tags.tag(tagged, pin(tagged, "canny@1"), "best")  # where it is already
    tags.tag(tagged, pin(tagged, "canny"), "best", move=True)
    assert ids(tagged, "canny@best") == ids(tagged, "canny@3")
    assert {name: tag["version"] for name, tag in tags.tags(tagged, "canny").items()} == {"best": 3}
    tags.untag(tagged, "canny", "best")
    assert tags.tags(tagged, "canny") == {}


def test_what_is_no_tag(tagged):
    with pytest.raises(CatalogNotFound, match=r"no tag 'bets'\. Did you mean best\? It has: best"):
        select(tagged, "canny@bets")
    with pytest.raises(CatalogNotFound, match="Did you mean canny"):
        select(tagged, "cany@best")
    with pytest.raises(CatalogNotFound):
        tags.untag(tagged, "canny", "other")
    for name in ("7", "", "../up", "a/b", "a?b", "@"):
        with pytest.raises(ConfigError):
            tags.tag(tagged, pin(tagged, "canny"), name)
    with pytest.raises(ConfigError, match="a selection"):
        tags.tag(tagged, pin(tagged, "canny?quality>0"), "good")
    assert not list(Path(tagged.uri).parent.glob("*.json"))
    file = tagged.folder / "catalogs/canny/tags/best.json"
    for text in ("", "[]", "{}", '{"version": "x"}'):
        file.write_text(text)
        with pytest.raises(BrokenCatalog, match="holds no tag"):
            select(tagged, "canny@best")


def test_on_an_object_store(filled):
    """As on one: no local folder, nothing is renamed."""
    store = replace(filled, folder=None)
    (filled.folder / "catalogs/canny/tags").mkdir()  # object stores have no folders to make
    tags.tag(store, CatalogID(name="canny", version=1), "best")
    assert tags.tags(filled, "canny")["best"]["version"] == 1 and pin(store, "canny@best").version == 1
    tags.untag(store, "canny", "best")
    assert tags.tags(store, "canny") == {}


def test_nothing_half_written_is_left(tagged):
    assert not list((tagged.folder / ".tmp").iterdir())
    said = json.loads((tagged.folder / "catalogs/canny/tags/best.json").read_text())
    assert said["version"] == 1 and said["tagged_at"].startswith("20")


@given(st.from_regex(r"[a-z][a-z0-9_.-]{0,12}", fullmatch=True), st.one_of(st.none(), st.just("quality>0.5")))
def test_ids_with_tags_read_back(tag, where):
    catalog = CatalogID(name="canny", version=tag, where=where)
    assert CatalogID.parse(str(catalog)) == catalog
