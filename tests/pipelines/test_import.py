"""Pairs from folders, tables and shards: what aligns becomes samples, what does not says why."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from collections import Counter
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError, InputError, UnsafePath
from catalogs.explain import explain
from catalogs.export import Format, export
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from catalogs.validate import validate
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.films import film
from pipelines.folders import list_pairs
from pipelines.import_cli import import_
from pipelines.import_pairs import ImportConfig, import_pairs
from pipelines.plan import Recipe, Unit
from pipelines.runner import MediaWorker
from pipelines.timeline import TICKS_PER_SECOND
from pipelines.writers import write_audio, write_video
from tests.pipelines.conftest import moving
from tests.pipelines.here import in_this_process  # noqa: F401
from tests.pipelines.media import index_of, mux, noise, sound, video

pytestmark = pytest.mark.usefixtures("in_this_process")
SAME = (
    *(
        "video",
        "reference_video",
        "audio",
        "reference_audio",
        "caption",
        "source_license",
        "source_attribution",
    ),
    *("width", "height", "frames", "fps_num", "fps_den", "sample_rate", "audio_samples"),
    *("reference_downscale", "streams"),
)
"""What a pair keeps on its way; a span begins at 0 again."""


def clip(path: Path, size: tuple[int, int] = (96, 64), frames: int = 9, fps: Fraction = Fraction(24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return video(path, frames, fps=fps, size=size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pairs").mkdir()
    return tmp_path / "pairs"


def config(folder: Path, **more: Any) -> ImportConfig:
    return ImportConfig(folder=str(folder), catalog="mine", root=str(folder.parent / "root"), **more)


def rows(folder: Path, kind: str = "samples") -> list[dict[str, Any]]:
    return select(Root.open(str(folder.parent / "root")), "mine", kind=kind).to_pylist()


def refused(folder: Path, **more: Any) -> dict[str, str]:
    """The one reject of a folder that also holds a good pair."""
    clip(folder / "good.mp4")
    clip(folder / "good_reference.mp4")
    assert import_pairs(config(folder, **more)).samples == 1
    [row] = rows(folder, "rejects")
    return row


def test_a_pair_keeps_its_bytes_and_says_what_it_is(folder: Path) -> None:
    for name in ("a.mp4", "a_reference.mp4", "sub/b.mp4", "sub/references/b.mp4", "alone.mp4"):
        clip(folder / name)
    clip(folder / "d.mp4", (128, 64))
    clip(folder / "d_control.mp4", (64, 32))
    (folder / "a.txt").write_text("a cat")
    (folder / "a.json").write_text('{"license": "CC0-1.0"}')
    report = import_pairs(config(folder, licence="CC-BY-4.0", attribution="us"))
    assert (report.samples, report.rejects) == (3, 1)
    found = {Path(row["source_uri"]).name: row for row in rows(folder)}
    a, b, d = found["a.mp4"], found["b.mp4"], found["d.mp4"]
    assert (a["caption"], a["caption_source"], a["source_license"]) == ("a cat", "sidecar", "CC0-1.0")
    assert (b["caption"], b["source_license"], b["source_attribution"]) == ("", "CC-BY-4.0", "us")
    assert (a["reference_downscale"], d["reference_downscale"]) == (1, 2)
    assert (a["width"], a["height"], a["frames"], a["fps_num"], a["fps_den"]) == (96, 64, 9, 24, 1)
    assert a["timeline"] == "96x64x9@24/1+48000" and a["span_end"] == TICKS_PER_SECOND * 9 // 24
    assert a["streams"] == "video" and a["modality"] == "mine" and 0 < a["quality"] <= 1
    root = Root.open(str(folder.parent / "root"))
    assert (root.local(a["video"])).read_bytes() == (folder / "a.mp4").read_bytes()
    assert validate(root, "mine", deep=True) == []
    assert f"avcontrol import {folder} " in explain(root, a["sample_id"])["again"]["command"]


def test_again_there_is_nothing_to_do_and_a_change_replaces(folder: Path) -> None:
    for name in ("a.mp4", "a_reference.mp4", "b.mp4", "b_reference.mp4"):
        clip(folder / name)
    assert import_pairs(config(folder)).samples == 2
    again = import_pairs(config(folder))
    assert (again.samples, again.units, again.skipped) == (0, 0, 2)
    clip(folder / "a.mp4", frames=17)
    clip(folder / "a_reference.mp4", frames=17)
    before = {row["sample_id"] for row in rows(folder)}
    changed = import_pairs(config(folder))
    assert (changed.samples, changed.replaced) == (1, 1)
    after = {row["sample_id"] for row in rows(folder)}
    assert len(before & after) == 1 and len(after) == 2
    import_pairs(config(folder, fit=True))  # nothing is to be fitted: samples stay what they are
    assert {row["sample_id"] for row in rows(folder)} == after
    assert sorted(row["frames"] for row in rows(folder)) == [9, 17]


@pytest.mark.parametrize(
    ("target", "reference", "reason"),
    [
        ({"size": (100, 64)}, {"size": (100, 64)}, "off_grid"),
        ({"frames": 10}, {"frames": 10}, "off_grid"),
        ({}, {"frames": 17}, "unequal_times"),
        ({}, {"fps": Fraction(25)}, "unequal_times"),
        ({"size": (160, 96)}, {"size": (64, 96)}, "unequal_sizes"),
        ({"size": (96, 64)}, {"size": (48, 32)}, "off_grid"),
        ({"fps": Fraction(24)}, None, "no_reference"),
    ],
)
def test_what_does_not_align_says_so(folder: Path, target: Any, reference: Any, reason: str) -> None:
    clip(folder / "x.mp4", **target)
    if reference is not None:
        clip(folder / "x_reference.mp4", **reference)
    row = refused(folder)
    assert (row["reason"], row["stage"]) == (reason, "import")
    assert "x.mp4" in row["message"] or "the reference" in row["message"] or "x_reference" in row["message"]


def test_variable_rates_rotation_and_damage(folder: Path) -> None:
    times = [Fraction(n, 24) + (Fraction(1, 96) if n % 3 == 1 else 0) for n in range(9)]
    video(folder / "vfr.mp4", times, size=(96, 64), time_base=Fraction(1, 96))
    clip(folder / "vfr_reference.mp4")
    video(folder / "turned.mp4", 9, size=(64, 96), rotation=90)
    clip(folder / "turned_reference.mp4")
    clip(folder / "torn.mp4", frames=33)
    whole = (folder / "torn.mp4").read_bytes()
    (folder / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    clip(folder / "torn_reference.mp4", frames=33)
    (folder / "empty.mp4").touch()
    clip(folder / "empty_reference.mp4")
    clip(folder / "good.mp4")
    clip(folder / "good_reference.mp4")
    assert import_pairs(config(folder)).samples == 1
    reasons = {Path(row["source_uri"]).stem: row["reason"] for row in rows(folder, "rejects")}
    assert reasons == {"vfr": "uneven_times", "turned": "rotated", "torn": "truncated", "empty": "zero_byte"}


def test_fit_lays_it_on_a_timeline(folder: Path) -> None:
    """25.5 frames at 30000/1001 of 200x140 become 25 of 192x128; every frame shows what it should."""
    ntsc = Fraction(30000, 1001)
    clip(folder / "x.mp4", (200, 140), 30, ntsc)
    clip(folder / "x_reference.mp4", (100, 70), 26, ntsc)
    held = (folder / "good.mp4", folder / "good_reference.mp4")
    for path in held:
        clip(path)
    assert import_pairs(config(folder, fit=True)).samples == 2
    root = Root.open(str(folder.parent / "root"))
    [row] = [row for row in rows(folder) if row["source_uri"].endswith("x.mp4")]
    assert (row["width"], row["height"], row["frames"], row["reference_downscale"]) == (192, 128, 25, 2)
    assert Fraction(row["fps_num"], row["fps_den"]) == ntsc
    for column in ("video", "reference_video"):
        from pipelines.decoders import frames
        from pipelines.probe import probe

        seen = [index_of(frame.pixels) for frame in frames(probe(root.local(row[column])), "pyav")]
        assert seen == list(range(25))
    assert validate(root, "mine", deep=True) == []
    [kept] = [row for row in rows(folder) if row["source_uri"].endswith("good.mp4")]
    assert root.local(kept["video"]).read_bytes() == held[0].read_bytes()  # what aligned is as it was


def test_sound_spans_the_clip(folder: Path) -> None:
    span, rate = Fraction(9, 24), 48_000
    exact = noise(float(span))
    for name in ("flac", "wav", "long", "inside"):
        clip(folder / f"{name}.mp4")
        clip(folder / f"{name}_reference.mp4")
    write_audio(folder / "flac.flac", exact.astype(np.float32) / 32768, rate)
    sound(folder / "wav.wav", exact)
    sound(folder / "long.wav", noise(2.0))
    sound(folder / "inside.wav", noise(2.0, seed=1))
    (folder / "inside.mp4").rename(folder / "silent.mp4")
    mux(folder / "inside.mp4", folder / "silent.mp4", folder / "inside.wav")
    for extra in ("silent.mp4", "inside.wav"):
        (folder / extra).unlink()
    report = import_pairs(config(folder))
    assert (report.samples, report.rejects) == (3, 1)
    [reject] = rows(folder, "rejects")
    assert reject["reason"] == "audio_span" and "2.000 s" in reject["message"]
    root = Root.open(str(folder.parent / "root"))
    for row in rows(folder):
        assert (row["sample_rate"], row["audio_samples"]) == (rate, 18_000)
    found = {Path(row["source_uri"]).stem: row for row in rows(folder)}
    assert root.local(found["flac"]["audio"]).read_bytes() == (folder / "flac.flac").read_bytes()
    assert validate(root, "mine", deep=True) == []
    assert import_pairs(config(folder, fit=True, retry_rejects=True)).samples == 4


def test_pairs_of_sound_alone(folder: Path) -> None:
    sound(folder / "a.wav", noise(1.0))
    sound(folder / "a_reference.wav", noise(1.0, seed=1))
    sound(folder / "b.wav", noise(1.0))
    sound(folder / "b_reference.wav", noise(0.5, seed=1))
    report = import_pairs(config(folder))
    assert (report.samples, report.rejects) == (1, 1)
    [row] = rows(folder)
    assert (row["streams"], row["video"], row["audio_samples"], row["timeline"]) == (
        "audio",
        None,
        48_000,
        "48000+48000",
    )
    assert validate(Root.open(str(folder.parent / "root")), "mine", deep=True) == []


def test_sound_alone_is_fitted(folder: Path) -> None:
    sound(folder / "a.wav", noise(1.0))
    sound(folder / "a_reference.wav", noise(1.5, seed=1))
    assert import_pairs(config(folder, fit=True)).samples == 1
    [row] = rows(folder)
    assert (row["audio_samples"], row["timeline"]) == (48_000, "48000+48000")
    assert validate(Root.open(str(folder.parent / "root")), "mine", deep=True) == []


def flac(path: Path, seconds: float, rate: int) -> bytes:
    write_audio(path, noise(seconds, rate).astype(np.float32) / 32768, rate)
    return path.read_bytes()


@pytest.mark.parametrize("exact", ["a", "a_reference"])
def test_an_exact_sound_keeps_its_rate_and_the_other_gets_it(folder: Path, exact: str) -> None:
    other = {"a": "a_reference", "a_reference": "a"}[exact]
    kept = flac(folder / f"{exact}.flac", 1.0, 16_000)
    sound(folder / f"{other}.wav", noise(1.0, 16_000, seed=1), 16_000)
    assert import_pairs(config(folder)).samples == 1
    [row] = rows(folder)
    assert (row["sample_rate"], row["audio_samples"], row["timeline"]) == (16_000, 16_000, "16000+16000")
    root = Root.open(str(folder.parent / "root"))
    column = {"a": "audio", "a_reference": "reference_audio"}[exact]
    assert root.local(row[column]).read_bytes() == kept
    assert validate(root, "mine", deep=True) == []


def test_an_exact_sound_beside_pictures_keeps_its_rate(folder: Path) -> None:
    clip(folder / "a.mp4")
    kept = flac(folder / "a.flac", 9 / 24, 24_000)
    sound(folder / "a_reference.wav", noise(2.0, 24_000, seed=1), 24_000)
    assert import_pairs(config(folder, fit=True)).samples == 1
    [row] = rows(folder)
    assert (row["sample_rate"], row["audio_samples"], row["timeline"]) == (
        24_000,
        9_000,
        "96x64x9@24/1+24000",
    )
    root = Root.open(str(folder.parent / "root"))
    assert root.local(row["audio"]).read_bytes() == kept and validate(root, "mine", deep=True) == []


def test_exact_sounds_of_two_rates_are_fitted_alone(folder: Path) -> None:
    flac(folder / "a.flac", 1.0, 16_000)
    flac(folder / "a_reference.flac", 1.0, 24_000)
    row = refused(folder)
    assert row["reason"] == "unequal_rates" and "16000 and 24000 samples" in row["message"]
    assert import_pairs(config(folder, fit=True, retry_rejects=True)).rejects == 0
    assert {row["sample_rate"] for row in rows(folder) if row["audio"]} == {48_000}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources, one of them with sound."""
    place = tmp_path_factory.mktemp("films")
    for index, count in enumerate([28, 20]):
        write_video(place / f"{index}.mp4", moving(count, index), Fraction(24), preset="ultrafast")
    sound(place / "s.wav", noise(2.0))
    mux(place / "2.mp4", place / "0.mp4", place / "s.wav")
    (place / "s.wav").unlink()
    (place / "0.json").write_text(
        '{"caption": "blocks, \\"sliding\\"", "license": "CC0-1.0", "attribution": "nobody"}'
    )
    return place


@pytest.mark.parametrize("form", ["ltx-trainer", "webdataset", "huggingface"])
def test_built_exported_and_imported_it_is_the_same(films: Path, folder: Path, form: Format) -> None:
    root = Root.open(str(folder.parent / "root"), create=True)
    build(BuildConfig(modality="canny", input=str(films), root=root.uri, resolution="96x64x9"))
    export(root, CatalogID.parse("canny"), form, folder / "out", shard_mb=1)
    report = import_pairs(replace(config(folder), folder=str(folder / "out")))
    before, after = (select(root, name).to_pylist() for name in ("canny", "mine"))
    assert report.rejects == 0 and report.samples == len(before) > 5

    def told(rows: list[dict[str, Any]]) -> Counter[str]:
        return Counter(str([row[name] for name in SAME]) for row in rows)

    assert told(after) == told(before)
    assert any(row["audio"] for row in after) and not all(row["audio"] for row in after)


def test_tables_of_others(folder: Path) -> None:
    clip(folder / "v/a.mp4")
    clip(folder / "r/a.mp4")
    lines = [
        {"media_path": "v/a.mp4", "ref_media_path": "r/a.mp4", "prompt": "one\ntwo"},
        {"media_path": "v/gone.mp4", "ref_media_path": "r/a.mp4"},
    ]
    (folder / "dataset.json").write_text(json.dumps(lines))
    assert import_pairs(config(folder)).rejects == 1
    assert rows(folder)[0]["caption"] == "one\ntwo" and rows(folder, "rejects")[0]["reason"] == "unreadable"
    with (folder / "other.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["caption", "video", "reference_video"])
        writer.writeheader()
        writer.writerow({"caption": "one\ntwo", "video": "v/a.mp4", "reference_video": "r/a.mp4"})
    [pair] = list_pairs(folder / "other.csv")
    assert pair.caption == "one\ntwo" and sorted(pair.media) == ["reference_video", "video"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_captions_in_tables_are_whole(folder: Path, suffix: str) -> None:
    captions = ["one\u2028two\u2029three\x85four\x0bfive\x0csix", "one\r\ntwo\nthree", "é \" , '"]
    rows = [{"caption": text, "video": f"{n}.mp4"} for n, text in enumerate(captions)]
    with (folder / f"x.{suffix}").open("w", newline="", encoding="utf-8-sig") as file:
        if suffix == "csv":
            writer = csv.DictWriter(file, ["caption", "video"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    assert [pair.caption for pair in list_pairs(folder / f"x.{suffix}")] == captions
    (folder / f"x.{suffix}").write_bytes(b"caption,video\n\xff,a.mp4\n")
    with pytest.raises(InputError, match=f"cannot be read as {suffix}"):
        list_pairs(folder / f"x.{suffix}")


def test_of_two_files_of_one_name_the_first_counts(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.mov", "a.mp4", "a_ref.mkv", "a_ref.mp4", "a.flac", "a.wav"):
        (folder / name).touch()
    [pair] = list_pairs(folder)
    assert {name: Path(piece.path).name for name, piece in pair.media.items()} == {
        "video": "a.mov",
        "audio": "a.flac",
        "reference_video": "a_ref.mkv",
    }
    assert [message.replace(f"{folder}/", "") for message in caplog.messages] == [
        "a.mp4 is passed over: a.mov is the video of that name",
        "a.wav is passed over: a.flac is the audio of that name",
        "a_ref.mp4 is passed over: a_ref.mkv is the video of that name",
    ]


def test_an_empty_folder_says_what_was_looked_for(folder: Path) -> None:
    with pytest.raises(InputError, match="no video or sound files at"):
        list_pairs(folder)


def test_a_table_cannot_name_files_elsewhere(folder: Path) -> None:
    clip(folder.parent / "secret.mp4")
    (folder / "dataset.jsonl").write_text('{"video": "../secret.mp4", "reference_video": "../secret.mp4"}\n')
    with pytest.raises(UnsafePath, match="--media-root"):
        list_pairs(folder)
    assert len(list_pairs(folder, media_root=folder.parent)) == 1


def test_shards_of_others(folder: Path) -> None:
    clip(folder / "a.mp4", (128, 64))
    clip(folder / "b.mp4", (64, 32))
    with tarfile.open(folder / "x-000000.tar", "w") as tar:
        tar.add(folder / "a.mp4", "000.mp4")
        tar.add(folder / "b.mp4", "000.reference.mp4")
        (folder / "t.txt").write_text("a cap\n")
        tar.add(folder / "t.txt", "000.txt")
    report = import_pairs(config(folder))
    [row] = rows(folder)
    assert (report.samples, row["caption"], row["reference_downscale"]) == (1, "a cap", 2)
    assert row["source_uri"].endswith("x-000000.tar#000")
    root = Root.open(str(folder.parent / "root"))
    assert root.local(row["video"]).read_bytes() == (folder / "a.mp4").read_bytes()
    (folder / "y.tar").write_bytes((folder / "x-000000.tar").read_bytes()[:3000])
    with pytest.raises(InputError, match="no whole tar file"):
        list_pairs(folder / "y.tar")


def test_patterns(folder: Path) -> None:
    clip(folder / "videos/a.mp4")
    clip(folder / "depth/a_depth.mp4")
    [pair] = list_pairs(folder, pattern="../depth/{name}_depth")
    assert pair.media["reference_video"].path.endswith("depth/a_depth.mp4")
    (folder / "depth").rename(folder / "references")
    (folder / "references/a_depth.mp4").rename(folder / "references/a.mp4")
    [pair] = list_pairs(folder)
    assert pair.media["reference_video"].path.endswith("references/a.mp4")
    with pytest.raises(ConfigError, match="has no"):
        list_pairs(folder, pattern="depth/x")
    with pytest.raises(InputError, match="no file or folder"):
        list_pairs(folder / "none")


@settings(max_examples=60, deadline=None)
@given(
    st.sets(
        st.text("abcx_é {}", min_size=1, max_size=4).filter(lambda name: name.strip() == name), max_size=6
    )
)
def test_every_file_is_in_one_pair(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    for name in names | {"one"}:
        (folder / f"{name}.mp4").touch()
        (folder / f"{name}_reference.mp4").touch()
    files = Counter(piece.path for pair in list_pairs(folder) for piece in pair.media.values())
    assert set(files) == {str(path) for path in folder.iterdir()} and set(files.values()) == {1}


def test_a_film_is_what_its_writer_wrote(tmp_path: Path) -> None:
    for frames, fps in ((1 + 8 * 3, Fraction(24000, 1001)), (9, Fraction(60)), (33, Fraction(25))):
        held = film(clip(tmp_path / "x.mp4", frames=frames, fps=fps))
        assert (held.frames, held.fps, held.width, held.height) == (frames, fps, 96, 64)


def test_the_command(folder: Path) -> None:
    clip(folder / "a.mp4")
    clip(folder / "a_reference.mp4")
    clip(folder / "b.mp4")
    words = [str(folder), "--catalog", "mine", "--root", str(folder.parent / "root")]
    done = CliRunner().invoke(import_, words, catch_exceptions=False)
    assert done.exit_code == 0 and "1 new samples, 1 new rejects" in done.output
    shutil.rmtree(folder.parent / "root")


def test_a_pair_in_a_worker_of_its_own(folder: Path) -> None:
    clip(folder / "a.mp4")
    clip(folder / "a_reference.mp4")
    (folder / "b.mp4").write_bytes(b"no film")
    (folder / "b_reference.mp4").write_bytes(b"no film")
    root = Root.open(str(folder.parent / "root"), create=True)
    recipe = Recipe(
        modality="mine",
        params='{"fit":false}',
        timeline="as imported",
        estimator="imported",
        weights="",
        code_version="1",
        seed=0,
        selection="{}",
        captioner="",
        shots="off",
    )
    units = [Unit(id=pair.id, source=pair, sha256="", segment=(0, 0)) for pair in list_pairs(folder)]
    parts = [{"unit": asdict(unit), "recipe": asdict(recipe)} for unit in units]
    with_all = {"op": "import", "root": root.uri, "run_id": "run"}
    results = MediaWorker(request=with_all, timeout_s=60, memory_gb=6)({"parts": parts})
    assert [one["event"] for one in results] == ["sample", "reject", "unit", "unit"]
    assert results[0]["row"]["frames"] == 9 and results[1]["row"]["reason"] == "not_a_video"
