"""Exports, each read back by the library it is for."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import tarfile
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from catalogs import export as exporting
from catalogs import review
from catalogs.cli import catalog
from catalogs.errors import BrokenCatalog, ConfigError
from catalogs.export import export
from catalogs.export_webdataset import _Member, _shards
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from tests.catalogs.helpers import commit, make_row, sound_only

CANNY = CatalogID.parse("canny")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_ltx_trainer_reads_jsonl_and_csv(filled: Root, tmp_path: Path) -> None:
    [told] = export(filled, CANNY, "ltx-trainer", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out/dataset.jsonl").read_text().splitlines()]
    with (tmp_path / "out/dataset.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = select(filled, "canny@2").to_pylist()
    assert told["samples"] == len(lines) == len(table) == len(rows) == 5
    for line, said, row in zip(lines, table, rows, strict=True):
        assert line["caption"] == said["caption"] == row["caption"]
        for column in ("video", "reference_video", "audio"):
            assert said[column] == line[column]
            file = tmp_path / "out" / line[column]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == Path(row[column]).stem
        assert "reference_audio" not in line and "reference_audio" not in said
        assert (line["source_license"], line["source_attribution"]) == ("CC-BY-4.0", "someone")
        assert (line["fps"], line["reference_downscale"], line["commercial_ok"]) == ("24", 2, True)
        assert line["source_uri"] == Path(row["source_uri"]).name != row["source_uri"]
    assert json.loads((tmp_path / "out/export.json").read_text())["catalog"] == "canny@2"


def test_links_and_references_cost_no_bytes(filled: Root, tmp_path: Path) -> None:
    export(filled, CANNY, "ltx-trainer", tmp_path / "linked", media="link")
    export(filled, CANNY, "ltx-trainer", tmp_path / "named", media="reference")
    row = select(filled, "canny").to_pylist()[0]
    assert os.path.samefile(tmp_path / "linked" / row["video"], filled.local(row["video"]))
    line = json.loads((tmp_path / "named/dataset.jsonl").read_text().splitlines()[0])
    assert line["video"] == str(filled.local(row["video"])) and not (tmp_path / "named/media").exists()


def test_webdataset_reads_the_shards(filled: Root, tmp_path: Path) -> None:
    size = sum(
        filled.local(select(filled, "canny").to_pylist()[0][name]).stat().st_size
        for name in ("video", "audio")
    )
    assert size < 1_000_000  # all five fit one shard of a megabyte
    export(filled, CANNY, "webdataset", tmp_path / "out", shard_mb=1)
    [shard] = sorted((tmp_path / "out").glob("*.tar"))
    read = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode())
    rows = select(filled, "canny").to_pylist()
    assert [sample["__key__"] for sample in read] == [row["sample_id"] for row in rows]
    for sample, row in zip(read, rows, strict=True):
        for key, column in (
            ("video.mp4", "video"),
            ("reference_video.mp4", "reference_video"),
            ("audio.flac", "audio"),
        ):
            assert hashlib.sha256(sample[key]).hexdigest() == Path(row[column]).stem
        assert sample["json"]["source_license"] == "CC-BY-4.0" and sample["json"]["frames"] == 9


def test_shards_end_where_they_are_full(
    filled: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(exporting.Part):
        """Shards of 20 kB, which no option gives."""

        def __init__(self, **given: object) -> None:
            super().__init__(**{**given, "shard_bytes": 20_000})

    monkeypatch.setattr(exporting, "Part", Small)
    export(filled, CANNY, "webdataset", tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert len(shards) > 1
    keys = [
        sample["__key__"]
        for sample in webdataset.WebDataset([str(one) for one in shards], shardshuffle=False)
    ]
    assert keys == select(filled, "canny")["sample_id"].to_pylist()
    for shard in shards:
        with tarfile.open(shard) as tar:
            assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(0, 0, "")}


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 20_000))
def test_shards_are_as_full_as_they_get(sizes: list[int], limit: int) -> None:
    samples = [[_Member(name=str(n), size=size, content=b"")] for n, size in enumerate(sizes)]
    shards = list(_shards(iter(samples), limit))
    packed = [[sample[0].packed for sample in shard] for shard in shards]
    assert [sample for shard in shards for sample in shard] == samples
    assert all(sum(shard) <= limit or len(shard) == 1 for shard in packed)
    assert all(sum(one) + two[0] > limit for one, two in itertools.pairwise(packed))


def test_datasets_reads_the_folder(filled: Root, tmp_path: Path) -> None:
    export(filled, CANNY, "huggingface", tmp_path / "out")
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(read) == ["train"] and read["train"].num_rows == 5
    film = datasets.Video(decode=False)
    read = read["train"].cast_column("video", film).cast_column("reference_video", film)
    rows = {row["sample_id"]: row for row in select(filled, "canny").to_pylist()}
    for said in read:
        row = rows[said["sample_id"]]
        for column in ("video", "reference_video"):
            assert (
                hashlib.sha256(Path(said[column]["path"]).read_bytes()).hexdigest() == Path(row[column]).stem
            )
        assert said["audio_path"] == row["audio"] and (tmp_path / "out/train" / row["audio"]).exists()
        assert said["source_license"] == row["source_license"] and said["edge_density"] == row["edge_density"]
    card = (tmp_path / "out/README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["size_categories"] == ["n<1K"]
    assert "| CC-BY-4.0 | Apache-2.0 | yes | 5 |" in card and "* someone" in card and "canny@2" in card


def test_datasets_reads_sounds_alone(root: Root, tmp_path: Path) -> None:
    commit(root, [sound_only(root, source_license="")], "sound")
    export(root, CatalogID.parse("sound"), "huggingface", tmp_path / "out")
    # Its AudioFolder itself wants torchcodec, whose FFmpeg is not everywhere.
    cache = str(tmp_path / "cache")
    assert datasets.load_dataset_builder(str(tmp_path / "out"), cache_dir=cache).name == "audiofolder"
    table = str(tmp_path / "out/train/metadata.parquet")
    [said] = datasets.load_dataset("parquet", data_files=table, split="train", cache_dir=cache)
    for column in ("audio", "reference_audio"):
        assert (tmp_path / "out/train" / said[f"{column}_file_name"]).read_bytes()[:4] == b"fLaC"
    assert yaml.safe_load((tmp_path / "out/README.md").read_text().split("---")[1])["license"] == "other"


@pytest.mark.parametrize("form", ["ltx-trainer", "webdataset", "huggingface"])
def test_an_export_that_broke_off_goes_on_to_the_same_bytes(
    filled: Root, tmp_path: Path, form: exporting.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(filled, CANNY, form, tmp_path / "straight")
    lost = filled.local(select(filled, "canny").to_pylist()[3]["video"])
    lost.rename(tmp_path / "lost")
    with pytest.raises(BrokenCatalog, match="missing file"):
        export(filled, CANNY, form, tmp_path / "broken")
    assert not (tmp_path / "broken/export.json").exists()
    assert not [
        file
        for file in (tmp_path / "broken").rglob("*")
        if file.name.endswith((".part", ".jsonl", ".parquet"))
    ]
    (tmp_path / "lost").rename(lost)
    export(filled, CANNY, form, tmp_path / "broken")
    export(filled, CANNY, form, tmp_path / "broken")  # and once more, when all is there
    assert digests(tmp_path / "broken") == digests(tmp_path / "straight")


def test_a_view_with_reviews_takes_them_along(filled: Root, tmp_path: Path) -> None:
    ids = select(filled, "canny")["sample_id"].to_pylist()
    review.write(filled, "canny", ids[1:3], verdict="accept", note="good")
    export(filled, CatalogID.parse("canny?review='accept'"), "webdataset", tmp_path / "out")
    read = list(webdataset.WebDataset(str(tmp_path / "out/data-000000.tar"), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in read] == ids[1:3] and read[0]["json"]["review_note"] == "good"


def test_splits_are_those_of_catalog_split(root: Root, tmp_path: Path) -> None:
    commit(root, [make_row(root, n, source_sha256=f"{n:064x}") for n in range(20)])
    told = export(root, CANNY, "huggingface", tmp_path / "out", validation=0.3, limit=8)
    assert [each["split"] for each in told] == ["train", "validation"]
    ids = {
        name: set(pq.read_table(tmp_path / "out" / name / "metadata.parquet")["sample_id"].to_pylist())
        for name in ("train", "validation")
    }
    assert len(ids["train"]) == 8 and ids["validation"] and not ids["train"] & ids["validation"]
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: part.num_rows for name, part in read.items()} == {
        name: len(found) for name, found in ids.items()
    }


def test_equal_rows_of_two_units_are_one_sample(root: Root, tmp_path: Path) -> None:
    commit(root, [make_row(root, 1), make_row(root, 1, unit_id="other"), make_row(root, 2)])
    [told] = export(root, CANNY, "webdataset", tmp_path / "out")
    assert told["samples"] == 2


def test_what_cannot_be_is_said(filled: Root, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot reference media"):
        export(filled, CANNY, "webdataset", tmp_path / "out", media="reference")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        export(filled, CANNY, "webdataset", tmp_path / "full")
    export(filled, CANNY, "ltx-trainer", tmp_path / "out")
    with pytest.raises(ConfigError, match="another export"):
        export(filled, CatalogID.parse("canny@1"), "ltx-trainer", tmp_path / "out")


def test_the_command(filled: Root, tmp_path: Path) -> None:
    words = [
        "export",
        "canny",
        "--format",
        "ltx-trainer",
        "--out",
        str(tmp_path / "out"),
        "--root",
        filled.uri,
    ]
    done = CliRunner().invoke(catalog, [*words, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout) == [{"split": "all", "samples": 5, "files": "dataset.jsonl, dataset.csv"}]
