from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
wheres = st.one_of(st.none(), st.text(min_size=1).map(str.strip).filter(bool))


@given(
    names, st.one_of(st.none(), st.integers(0, 10**9), names.filter(lambda tag: not tag.isdecimal())), wheres
)
def test_what_is_written_reads_back_the_same(name, version, where):
    catalog = CatalogID(name=name, version=version, where=where)
    assert CatalogID.parse(str(catalog)) == catalog


@given(st.text())
def test_any_text_is_an_id_or_a_config_error(text):
    try:
        catalog = CatalogID.parse(text)
    except ConfigError:
        return
    assert CatalogID.parse(str(catalog)) == catalog


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@3",
        "?x",
        "canny@",
        "canny@-1",
        "canny@-latest",
        "canny@a/b",
        "../etc",
        "a/b",
        ".hidden",
        "canny@1@2",
        "c\u017fnny x",
        "a b",
    ],
)
def test_refuses(text):
    with pytest.raises(ConfigError) as caught:
        CatalogID.parse(text)
    assert caught.value.hint


def test_where_may_hold_the_separators():
    catalog = CatalogID.parse("canny@3?caption LIKE '%@7?%'")
    assert (catalog.name, catalog.version, catalog.where) == ("canny", 3, "caption LIKE '%@7?%'")
    assert CatalogID.parse("canny@0").version == 0
    assert CatalogID.parse("canny@best?quality>0.5").version == "best"
    assert CatalogID.parse("canny").at(4).version == 4
