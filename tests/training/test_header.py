"""What is written into an adapter's header comes back, and says what the catalog says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.errors import TrainingError
from catalogs.query import pin
from catalogs.root import Root
from tests.training.helpers import make_catalog
from training import data, header
from training.config import TrainConfig
from training.header import Header, Pairs, pairs_of, parse, strings

texts = st.text(max_size=12)
counts = st.integers(0, 10**9)
pairs = st.builds(
    Pairs,
    samples=counts,
    timelines=st.lists(texts, max_size=3).map(tuple),
    licenses=st.lists(texts, max_size=3).map(tuple),
    attributions=st.lists(texts, max_size=3).map(tuple),
    attribution_count=counts,
    estimator_licenses=st.lists(texts, max_size=3).map(tuple),
    commercial_ok=st.sampled_from([True, False, None]),
)
headers = st.builds(
    Header,
    catalog=texts,
    manifest_sha256=texts,
    modality=texts,
    streams=st.sampled_from(["video", "audio", "joint"]),
    references=st.sampled_from([("video",), ("audio",), ("video", "audio")]),
    reference_downscale_factor=st.integers(1, 8),
    base_model=texts,
    base_model_sha256=texts,
    rank=st.integers(1, 512),
    alpha=st.integers(1, 512),
    steps=counts,
    pairs=st.none() | pairs,
    config=st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3),
    avcontrol=texts,
    header_version=texts,
)


@given(said=headers)
def test_a_header_survives_its_file(said: Header) -> None:
    kept = strings(said)
    assert all(isinstance(value, str) for value in kept.values())
    assert parse({**kept, "format": "pt", "other": "x"}) == said


def test_headers_of_others_and_of_older_files() -> None:
    assert parse({}) is None and parse({"rank": "4", "catalog": "canny@3"}) is None
    old = {"catalog": "canny@3", "manifest_sha256": "ab", "modality": "canny", "streams": "video",
           "references": "video", "base_model": "test", "base_model_sha256": "cd"}  # fmt: skip
    found = parse(old)
    assert found is not None and found.pairs is None and found.steps == 0 and found.rank == 1


@pytest.mark.parametrize(
    ("entry", "value"),
    [("rank", "many"), ("config", "{"), ("pairs", '{"colour": 1}'), ("reference_downscale_factor", "1/2")],
)
def test_a_broken_header_names_the_entry(entry: str, value: str) -> None:
    good = {"catalog": "c", "manifest_sha256": "m", "modality": "", "streams": "", "references": "",
            "base_model": "", "base_model_sha256": ""}  # fmt: skip
    assert parse(good) is not None
    with pytest.raises(TrainingError, match=f"header is broken at {entry} ") as error:
        parse({**good, entry: value})
    assert "\n" not in str(error.value)


def test_a_runs_header(root: Root, path: Path, tmp_path: Path) -> None:
    config = TrainConfig(catalog="canny", root=root.uri, out=tmp_path, rank=8, alpha=4, lr=1e-3)
    dataset = data.load(root, "canny", path, backbone="test")
    kept = header.header(config, dataset, "ab" * 32, steps=7)
    said = parse(kept)
    assert said is not None and kept["reference_downscale_factor"] == "1" and "format" not in kept
    assert (said.catalog, said.modality, said.streams) == (str(pin(root, "canny")), "canny", "video")
    assert (said.rank, said.alpha, said.steps, said.references) == (8, 8, 7, ("video",))
    assert said.config["alpha"] == 4 and said.config["lr"] == 1e-3
    assert said.base_model == "test" and said.base_model_sha256 == "ab" * 32 and said.avcontrol
    assert said.manifest_sha256 == dataset.manifest
    assert said.pairs == Pairs(samples=3, timelines=("64x96x9@24",), licenses=("",))
    json.loads(kept["config"])


def row(number: int, **more: object) -> dict[str, object]:
    size = {"width": 64, "height": 96, "frames": 9, "fps_num": 30_000, "fps_den": 1001}
    return {"sample_id": f"{number:02d}", "unit_id": "u", "modality": "canny", **size, **more}


def test_licences_and_sizes_are_the_selected_rows(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    rows = [
        row(0, source_license="CC-BY-4.0", source_attribution="Ada", commercial_ok=True),
        row(1, source_license="CC-BY-4.0", source_attribution="Bob", commercial_ok=True),
        row(2, source_license=None, commercial_ok=True, estimator_license="MIT", width=128, quality=0.1),
        row(3, source_license="CC0-1.0", commercial_ok=False, estimator_license="AGPL", quality=0.9),
        row(4, commercial_ok=None, quality=0.5),
    ]
    make_catalog(root, "mixed", rows)
    every = pairs_of(root, pin(root, "mixed"))
    assert every.samples == 5 and every.timelines == ("64x96x9@29.97", "128x96x9@29.97")
    assert every.licenses == ("", "CC-BY-4.0", "CC0-1.0") and every.attributions == ("Ada", "Bob")
    assert every.attribution_count == 2 and every.estimator_licenses == ("AGPL", "MIT")
    assert every.commercial_ok is False
    some = pairs_of(root, pin(root, "mixed?source_attribution is not null"))
    assert (some.samples, some.licenses, some.commercial_ok) == (2, ("CC-BY-4.0",), True)
    assert pairs_of(root, pin(root, "mixed?quality = 0.5")).commercial_ok is None


def test_thousands_of_attributions_stay_few(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    make_catalog(root, "many", [row(n, source_attribution=f"person {n:04d}") for n in range(1000)])
    found = pairs_of(root, pin(root, "many"))
    assert found.attribution_count == 1000 and len(found.attributions) == 50


def test_sound_alone_has_no_size(root: Root) -> None:
    assert pairs_of(root, pin(root, "sound")).timelines == ()
