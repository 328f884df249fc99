from __future__ import annotations

import math

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import describe
from catalogs.histograms import blocks, draw, headline
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.root import Root
from catalogs.schema import samples_schema
from catalogs.stats import stats
from tests.catalogs.helpers import commit, make_row, run_info, sound_only

SCHEMA = samples_schema(pa.schema([("edges", pa.float64()), ("people", pa.int32()), ("place", pa.string())]))
CANNY = CatalogID.parse("canny")


def catalog_of(root: Root, name: str = "canny", **columns: list) -> None:
    """Rows without files: only figures."""
    count = len(next(iter(columns.values())))
    rows = [
        {
            "sample_id": f"{n:040d}",
            "unit_id": "u",
            "frames": 24,
            "fps_num": 24,
            "fps_den": 1,
            **{key: values[n] for key, values in columns.items()},
        }
        for n in range(count)
    ]
    table_of(root, name, create=SCHEMA).append_new(rows, run_info(), SCHEMA)


def figure(told: dict, name: str) -> dict:
    return next(each for each in told["figures"] if each["column"] == name)


finite = st.floats(-1e6, 1e6, allow_subnormal=False)
values = st.lists(st.one_of(finite, st.just(math.nan), st.just(math.inf), st.none()), min_size=1, max_size=40)


@settings(max_examples=15, deadline=None)
@given(values)
def test_figures_are_numpys(tmp_path_factory, edges):
    root = Root.open(str(tmp_path_factory.mktemp("r")), create=True)
    catalog_of(root, edges=edges)
    known = np.array([value for value in edges if value is not None and math.isfinite(value)])
    told = stats(root, CANNY)
    if not len(known):
        assert "edges" not in [each["column"] for each in told["figures"]]
        return
    found = figure(told, "edges")
    assert (found["rows"], found["null"]) == (len(known), len(edges) - len(known))
    assert (found["min"], found["max"]) == (known.min(), known.max())
    assert found["mean"] == pytest.approx(known.mean(), rel=1e-9, abs=1e-6)
    assert known.min() <= found["median"] <= known.max()
    # A value on an edge may be rounded into the bin before it, by numpy as by us: compare all sums but those.
    counts, edges_of = np.histogram(known, bins=24, range=(known.min(), known.max()))
    assert sum(found["counts"]) == len(known) == counts.sum()
    if np.ptp(known) > 1e-3:
        assert np.allclose(found["edges"], edges_of)
        near = np.abs(known[:, None] - edges_of[1:-1]).min(axis=1) < 1e-9 * np.abs(known).max()
        assert np.abs(np.array(found["counts"]) - counts).sum() <= 2 * near.sum()


def test_counts_hours_and_bytes(root):
    commit(root, [make_row(root, n) for n in range(1, 4)] + [sound_only(root)])
    told = stats(root, CANNY)
    rows = select(root, CANNY).to_pylist()
    files = {root.folder / path for row in rows for path in describe.files(row).values()}
    assert (told["samples"], told["sources"]) == (4, 1)
    assert told["hours"] == pytest.approx(4 * 9 / 24 / 3600)
    assert told["files"] == told["bytes_of"] == len(files)
    assert told["bytes"] == sum(path.stat().st_size for path in files)
    assert headline(told).startswith("4 samples, 1.5 seconds from 1 sources, ")


def test_bytes_of_many_files_are_told_from_some(root, monkeypatch):
    commit(root, [make_row(root, n) for n in range(1, 6)])
    whole = stats(root, CANNY)
    monkeypatch.setattr("catalogs.stats._MEASURED", 4)
    told = stats(root, CANNY)
    assert told["bytes_of"] == 4 < told["files"] == whole["files"]
    assert 0.2 * whole["bytes"] < told["bytes"] < 5 * whole["bytes"] and "about" in headline(told)
    assert told["bytes"] == stats(root, CANNY)["bytes"]


def test_values_of_text_columns(root):
    places = ["hall"] * 5 + ["street"] * 3 + [""] + [None] * 2
    catalog_of(root, place=places, source_license=[f"licence {n}" for n in range(11)])
    (place,) = [each for each in stats(root, CANNY)["values"] if each["column"] == "place"]
    assert list(place["counts"].items()) == [("hall", 5), ("street", 3), ("", 1)] and place["null"] == 2
    catalog_of(root, "other", place=[f"place {n}" for n in range(500)])
    assert not [each for each in stats(root, CatalogID.parse("other"))["values"] if each["column"] == "place"]


def test_a_selection_is_counted_alone(root):
    catalog_of(root, edges=[n / 8 for n in range(11)], people=[n % 3 for n in range(11)])
    told = stats(root, CatalogID.parse("canny?edges>=0.5"), bins=3)
    assert told["samples"] == 7 and told["catalog"] == "canny@1?edges>=0.5"
    assert figure(told, "edges")["counts"] == [2, 2, 3] and figure(told, "people")["max"] == 2
    nothing = stats(root, CatalogID.parse("canny?edges>5"))
    assert nothing["samples"] == nothing["hours"] == nothing["bytes"] == 0 and not nothing["figures"]


@given(st.lists(st.integers(0, 10**9), max_size=30))
def test_blocks_stand_as_high_as_their_counts(counts):
    drawn = blocks(counts)
    heights = [" ▁▂▃▄▅▆▇█".index(block) for block in drawn]
    assert len(drawn) == len(counts)
    assert all((height > 0) == (count > 0) for height, count in zip(heights, counts, strict=True))
    assert all(
        abs(height - 8 * count / max(counts)) < 1
        for height, count in zip(heights, counts, strict=True)
        if count
    )


def test_the_figure_shows_every_column(root, tmp_path):
    rng = np.random.default_rng(0)
    catalog_of(
        root,
        edges=rng.normal(size=300).tolist(),
        people=rng.integers(0, 4, 300).tolist(),
        place=rng.choice(["hall", "street"], 300).tolist(),
        quality=[0.5] * 300,
    )
    told = stats(root, CANNY)
    for suffix in ("png", "svg"):
        draw(told, tmp_path / "new" / f"stats.{suffix}")
    picture = cv2.imread(str(tmp_path / "new" / "stats.png"))
    blue = (np.abs(picture.astype(int) - (0xD0, 0x8F, 0x4F)).sum(axis=2) < 30).mean()
    assert picture.shape[1] > 1000 and 0.03 < blue < 0.4  # bars, and not all over
    assert (tmp_path / "new" / "stats.svg").stat().st_size > 10_000
    draw(stats(root, CatalogID.parse("canny?edges>99")), tmp_path / "nothing.png")  # no panels
