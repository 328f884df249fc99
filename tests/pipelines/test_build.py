"""Builds on a real Ray: what comes out, what a second build does, what changes rebuild, what poison costs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from catalogs.errors import BadQuery, ConfigError, EstimatorUnavailable, InputError
from catalogs.query import select, table_of
from catalogs.root import Root, file_sha256
from catalogs.schema import SOURCES
from catalogs.store import Table
from pipelines import commit
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.decoders import frames
from pipelines.probe import probe
from pipelines.scan import source_row
from pipelines.sources import list_sources
from pipelines.writers import write_video
from tests.pipelines.conftest import moving

pytestmark = pytest.mark.usefixtures("ray_here")


def config(clips: Path, root: Path, modality: str = "canny", **more) -> BuildConfig:
    return BuildConfig(modality=modality, input=str(clips), root=str(root), resolution="96x64x9", **more)


def rows_of(root: Path, name: str = "canny", kind: str = "samples") -> list[dict]:
    rows = select(Root.open(str(root)), name, kind=kind).to_pylist()
    return [{key: value for key, value in row.items() if key != "run_id"} for row in rows]


@pytest.fixture(scope="module")
def built(clips, ray_here, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    [report] = build(config(clips, root))
    return root, report


def test_every_full_clip_becomes_a_sample(built, clips):
    root, report = built
    rows = rows_of(root)
    # 40, 30, 20, 12, 9, 28 and again 40 frames hold so many clips of 9.
    assert report.samples == len(rows) == 4 + 3 + 2 + 1 + 1 + 3 + 4 - 0
    assert report.rejects == 0 and len(rows_of(root, kind="ledger")) == 7


def test_a_sample_is_an_aligned_pair(built, clips):
    root, _ = built
    for row in rows_of(root)[:6]:
        target, reference = (_decoded(root / row[column]) for column in ("video", "reference_video"))
        assert (
            [time for time, _ in target]
            == [time for time, _ in reference]
            == [Fraction(n, 24) for n in range(9)]
        )
        first = int(row["span_start"] // (705_600_000 // 24))
        source = [pixels for _, pixels in _decoded(Path(row["source_uri"]))][first]
        # The source is 160x96: the crop is 144x96, then resized to 96x64.
        import cv2

        expected = cv2.resize(source[:, 8:152], (96, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(target[0][1].astype(int) - expected).mean() < 8
        edges = cv2.Canny(cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY), 100, 200) > 0
        drawn = reference[0][1].mean(-1) > 127
        assert (edges == drawn).mean() > 0.97


def _decoded(path: Path):
    return [(frame.time, frame.pixels) for frame in frames(probe(path), "pyav")]


def test_sound_is_cut_to_the_same_span(built):
    root, _ = built
    heard = [row for row in rows_of(root) if row["audio"]]
    assert len(heard) == 4 and all(row["audio_samples"] == 18_000 for row in heard)
    for row in heard:
        with av.open(str(root / row["audio"])) as file:
            assert sum(frame.samples for frame in file.decode(audio=0)) == 18_000


def test_captions_and_licences_come_from_sidecars(built):
    said = {
        (Path(row["source_uri"]).name, row["caption"], row["caption_source"], row["source_license"])
        for row in rows_of(built[0])
    }
    assert ("1.mp4", "a wall of coloured blocks", "sidecar", "") in said
    assert ("2.mp4", "blocks", "sidecar", "CC0-1.0") in said
    assert ("0.mp4", "", "none", "") in said


def test_media_are_what_their_names_say(built):
    root, _ = built
    files = [path for kind in ("media", "signals") for path in (root / kind).rglob("*.*")]
    assert len(files) > 20 and all(file_sha256(path) == path.stem for path in files)
    assert not list((root / ".tmp").iterdir())


def test_the_same_build_again_does_nothing(built, clips):
    root, _ = built
    version = table_of(Root.open(str(root)), "canny").version
    [again] = build(config(clips, root))
    assert (again.samples, again.units, again.skipped) == (0, 0, 7)
    assert table_of(Root.open(str(root)), "canny").version == version


def test_ids_are_the_same_on_another_machine(built, clips, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(clips, moved)
    build(config(moved, tmp_path / "root"))
    here, there = rows_of(built[0]), rows_of(tmp_path / "root")
    assert [row["sample_id"] for row in here] == [row["sample_id"] for row in there]
    assert [row["video"] for row in here] == [row["video"] for row in there]


def test_a_changed_parameter_replaces_and_time_travel_keeps(clips, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(clips / "4.mp4", one)
    [first] = build(config(one, tmp_path / "root"))
    before = rows_of(tmp_path / "root")
    [second] = build(config(one, tmp_path / "root", settings={"low": "50"}))
    after = rows_of(tmp_path / "root")
    assert second.replaced == len(before) == len(after) == 1
    assert before[0]["sample_id"] != after[0]["sample_id"] and before[0]["video"] == after[0]["video"]
    root = Root.open(str(tmp_path / "root"))
    assert select(root, first.catalog).to_pylist()[0]["sample_id"] == before[0]["sample_id"]


def test_a_changed_source_rebuilds_only_its_own(clips, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("3.mp4", "4.mp4"):
        shutil.copy(clips / name, folder)
    build(config(folder, tmp_path / "root"))
    before = {row["source_uri"]: row["sample_id"] for row in rows_of(tmp_path / "root")}
    write_video(folder / "4.mp4", moving(20, 77), Fraction(24))
    [report] = build(config(folder, tmp_path / "root"))
    after = rows_of(tmp_path / "root")
    assert (report.units, report.samples, report.replaced) == (1, 2, 1)
    assert before[str(folder / "3.mp4")] in {row["sample_id"] for row in after}
    assert before[str(folder / "4.mp4")] not in {row["sample_id"] for row in after}


def test_a_changed_canvas_option_reuses_the_signal(clips, tmp_path):
    one = str(clips / "4.mp4")
    build(config(one, tmp_path / "root"))
    before = rows_of(tmp_path / "root")[0]
    build(config(one, tmp_path / "root", settings={"thickness": "3"}))
    after = rows_of(tmp_path / "root")[0]
    assert before["signals"] == after["signals"] and before["reference_video"] != after["reference_video"]


def test_a_new_selection_keeps_the_samples_it_still_takes(clips, tmp_path):
    one = str(clips / "4.mp4")
    build(config(one, tmp_path / "root"))
    before = rows_of(tmp_path / "root")[0]
    [report] = build(config(one, tmp_path / "root", min_motion=0.0041))
    after = rows_of(tmp_path / "root")
    assert [row["sample_id"] for row in after] == [before["sample_id"]] and report.replaced == 1


def test_poison_costs_its_own_rows_alone(clips, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clips / "3.mp4", folder / "good.mp4")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video at all, just words" * 50)
    (folder / "cut.mp4").write_bytes((clips / "0.mp4").read_bytes()[:900])
    write_video(folder / "short.mp4", moving(8, 1), Fraction(24))
    write_video(folder / "still.mp4", [moving(1, 1)[0]] * 12, Fraction(24))
    write_video(folder / "dark.mp4", [frame // 40 for frame in moving(12, 2)], Fraction(24))
    [report] = build(config(folder, tmp_path / "root"))
    reasons = {
        Path(row["source_uri"]).stem: row["reason"] for row in rows_of(tmp_path / "root", kind="rejects")
    }
    assert reasons == {
        "empty": "zero_byte",
        "text": "not_a_video",
        "cut": "truncated",
        "short": "too_short",
        "still": "static",
        "dark": "black",
    }
    assert {Path(row["source_uri"]).stem for row in rows_of(tmp_path / "root")} == {
        "good"
    } and report.samples == 1
    for row in rows_of(tmp_path / "root", kind="rejects"):
        assert row["message"] and row["stage"] in ("scan", "decode", "clip") and row["unit_id"]


def test_retry_rejects_makes_them_again(clips, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "still.mp4", [moving(1, 1)[0]] * 12, Fraction(24))
    shutil.copy(clips / "4.mp4", folder)
    build(config(folder, tmp_path / "root"))
    assert build(config(folder, tmp_path / "root"))[0].units == 0
    [again] = build(config(folder, tmp_path / "root", retry_rejects=True))
    assert (again.units, again.rejects) == (1, 1) and len(rows_of(tmp_path / "root", kind="rejects")) == 1


def test_retry_rejects_scans_again_what_could_not_be_read(clips, tmp_path):
    """A source whose scan failed for a passing reason, here a row that says so, comes back."""
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clips / "3.mp4", folder)
    shutil.copy(clips / "4.mp4", folder)
    root = Root.open(str(tmp_path / "root"), create=True)
    failed = asdict(list_sources(str(folder))[0])
    row = source_row(failed) | {"reason": "timeout", "message": "no answer"}
    Table.open(root, "sources", key=("source_id",), create=SOURCES).append_new([row], {"run_id": "before"})
    [first] = build(config(folder, tmp_path / "root"))
    assert (first.samples, first.rejects) == (1, 1)
    assert [row["reason"] for row in rows_of(tmp_path / "root", kind="rejects")] == ["timeout"]
    [again] = build(config(folder, tmp_path / "root", retry_rejects=True))
    assert again.samples == 1 and rows_of(tmp_path / "root", kind="rejects") == []
    assert len(rows_of(tmp_path / "root")) == 2


def test_a_crash_at_each_commit_loses_nothing(built, clips, tmp_path, monkeypatch):
    expected = [row["sample_id"] for row in rows_of(built[0])]
    root = tmp_path / "root"
    for table in ("samples", "rejects", "ledger"):

        def dying(self, rows, *rest, _table=table, _append=commit.Table.append_new):
            added = _append(self, rows, *rest)
            if self.name.endswith(_table):
                raise KeyboardInterrupt
            return added

        with monkeypatch.context() as patch:
            patch.setattr(commit.Table, "append_new", dying)
            with pytest.raises(KeyboardInterrupt):
                build(config(clips, root))
        shutil.rmtree(root / "catalogs" / "canny" / "ledger") if table == "samples" else None
    build(config(clips, root))
    assert [row["sample_id"] for row in rows_of(root)] == expected


def test_modalities_share_the_target_and_differ_in_the_reference(clips, tmp_path):
    one = str(clips / "4.mp4")
    for name in ("inpaint", "canny"):
        build(config(one, tmp_path / "root", name))
    inpaint, canny = rows_of(tmp_path / "root", "inpaint")[0], rows_of(tmp_path / "root", "canny")[0]
    assert inpaint["video"] == canny["video"] and inpaint["reference_video"] != canny["reference_video"]
    build(BuildConfig(modality="detailing", input=one, root=str(tmp_path / "root"), resolution="128x64x9"))
    detail = rows_of(tmp_path / "root", "detailing")[0]
    assert probe(tmp_path / "root" / detail["reference_video"]).video.width == 64
    assert detail["reference_downscale"] == 2


def test_nothing_usable_is_one_clear_error(clips, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.mp4").write_text("words" * 100)
    with pytest.raises(InputError, match="not_a_video"):
        build(config(tmp_path / "bad", tmp_path / "root"))
    with pytest.raises(InputError, match="no file or folder"):
        build(config(tmp_path / "nowhere", tmp_path / "root"))
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="no video files"):
        build(config(tmp_path / "void", tmp_path / "root"))
    with pytest.raises(ConfigError, match="Did you mean canny"):
        build(config(clips, tmp_path / "root", "cany"))
    with pytest.raises(ConfigError, match="Nearest: 9"):
        build(BuildConfig(modality="canny", input=str(clips), root=str(tmp_path), resolution="96x64x8"))


def test_commits_carry_their_run(built):
    commit = table_of(Root.open(str(built[0])), "canny").history()[0]
    assert commit["run_id"] and json.loads(commit["config"])["modality"] == "canny"


def test_dry_run_writes_nothing(clips, tmp_path, capsys):
    assert build(config(clips, tmp_path / "root", dry_run=True)) == []
    said = capsys.readouterr().out
    assert "7 sources" in said and "CPU hours" in said and not (tmp_path / "root").exists()


def test_a_view_by_quality(built):
    root = Root.open(str(built[0]))
    every = select(root, "canny").num_rows
    assert 0 < select(root, "canny?quality > 0.1 and edge_density > 0.01").num_rows <= every
    with pytest.raises(BadQuery):
        select(root, "canny?quality >")
    assert os.path.isdir(root.uri)


def test_a_captioner_writes_the_captions_that_are_missing(clips, captioning_model, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("4.mp4", "3.mp4", "2.mp4", "2.json"):
        shutil.copy(clips / name, folder)
    build(config(folder, tmp_path / "root", captioner=captioning_model, timeout_s=120))
    said = {Path(row["source_uri"]).name: row for row in rows_of(tmp_path / "root")}
    assert said["2.mp4"]["caption"] == "blocks" and said["2.mp4"]["caption_source"] == "sidecar"
    for name in ("3.mp4", "4.mp4"):
        assert said[name]["caption"] and said[name]["caption_source"] == f"model {captioning_model}"
    with pytest.raises(EstimatorUnavailable, match="cannot be loaded"):
        build(config(folder, tmp_path / "other", captioner=str(tmp_path / "nothing")))
