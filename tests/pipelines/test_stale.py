"""Stale samples: real builds (made in this process, without Ray), then one input after the other is changed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from avcontrol import cli
from catalogs.errors import EstimatorUnavailable
from catalogs.ids import CatalogID
from catalogs.merge import merge
from catalogs.query import select, table_of
from catalogs.root import Root
from pipelines import worker
from pipelines.build import build
from pipelines.commit import remaining
from pipelines.config import BuildConfig
from pipelines.import_pairs import ImportConfig, import_pairs
from pipelines.modalities import canny
from pipelines.selection import Selection
from pipelines.stale import DIFFERS, NEW, UNKNOWN, stale
from pipelines.writers import write_video
from tests.pipelines.conftest import moving
from tests.pipelines.rendered import scenes_catalog


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builds' workers answer here and now."""

    class Here:
        def __init__(self, request: dict[str, Any], **limits: Any) -> None:
            self.request = request

        def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
            request = {**self.request, **row}
            results = [
                answer
                for answer in worker._answer(request)
                if answer["event"] in ("source", "sample", "reject")
            ]
            from pipelines.runner import _done

            return results + [_done(part["unit"], results) for part in request.get("parts", [])]

    def run(rows, stage, arguments, resources):
        for row in rows:
            yield from Here(arguments["request"])(row)

    monkeypatch.setattr("pipelines.build.MediaWorker", Here)
    monkeypatch.setattr("pipelines.commit.run", run)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for index, count in enumerate([20, 12]):
        write_video(folder / f"{index}.mp4", moving(count, index), Fraction(24), preset="ultrafast")
    return folder


@pytest.fixture
def clips(films: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(films, tmp_path / "clips"))


def config(clips: Path, **more: Any) -> BuildConfig:
    return BuildConfig(
        modality=more.pop("modality", "canny"),
        input=str(clips),
        root=str(clips.parent / "root"),
        resolution="96x64x9",
        **more,
    )


@pytest.fixture
def root(clips: Path) -> Root:
    """Three samples of canny: two of 0.mp4, one of 1.mp4."""
    build(config(clips))
    return Root.open(str(clips.parent / "root"))


def found(root: Root, catalog: str = "canny", *, deep: bool = False) -> list[tuple[str, str, int]]:
    _, samples, differing, findings = stale(root, CatalogID.parse(catalog), deep=deep)
    assert differing == min(samples, differing)
    assert bool(differing) == any(finding.status == DIFFERS for finding in findings)
    return [(finding.status, finding.why, finding.samples) for finding in findings]


def test_nothing_changed(root):
    assert found(root) == [] and found(root, deep=True) == []
    assert stale(root, CatalogID.parse("canny?source_uri LIKE '%0.mp4'"))[1:3] == (2, 0)


def changed(monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    monkeypatch.setattr(canny, "MODALITY", replace(canny.MODALITY, **given))


def test_code(root, monkeypatch):
    changed(monkeypatch, version=canny.MODALITY.version + 1)
    old = canny.MODALITY.version - 1
    assert found(root) == [(DIFFERS, f"code_version of the modality {old} -> {old + 1}", 3)]
    monkeypatch.setattr("pipelines.plan.STAGES_VERSION", 99)
    assert "code_version of the stages 1 -> 99" in found(root)[0][1]


@dataclass(frozen=True, kw_only=True)
class Lower(canny.Params):
    low: int = 90
    grain: float = field(default=0.5)


def test_defaults_of_options_but_not_what_was_set(root, clips, monkeypatch):
    build(config(clips, settings={"low": "50"}, catalog="set"))
    changed(monkeypatch, params=Lower)
    assert found(root) == [(DIFFERS, "params.low 100 -> 90, params.grain absent -> 0.5", 3)]
    assert found(root, "set") == [(DIFFERS, "params.grain absent -> 0.5", 3)]


def test_options_that_are_refused_today(root, clips, monkeypatch):
    build(config(clips, settings={"blur": "2"}, catalog="blurred"))

    @dataclass(frozen=True, kw_only=True)
    class Without:
        low: int = 100

    changed(monkeypatch, params=Without)
    assert found(root, "blurred") == [
        (UNKNOWN, "the same command is refused today: canny has no option 'blur'", 3)
    ]


def test_estimators(root, monkeypatch):
    changed(monkeypatch, weights="ab" * 32, estimator="other-canny")
    why = "estimator opencv-canny -> other-canny", "estimator_weights none -> abababababab…"
    assert found(root) == [(DIFFERS, each, 3) for each in why]


def test_weights_that_are_not_here_are_said_to_be_unknown(root, monkeypatch):
    def missing(params: Any) -> str:
        raise EstimatorUnavailable("its weights are not here", "Get them.")

    changed(monkeypatch, estimator_of=missing, version=canny.MODALITY.version + 1)
    told = dict.fromkeys(status for status, _, _ in found(root))
    assert list(told) == [DIFFERS, UNKNOWN]  # the code is compared all the same
    assert (UNKNOWN, "the estimator's weights: its weights are not here", 3) in found(root)


def test_an_input_that_no_column_keeps(root, monkeypatch):
    monkeypatch.setattr("pipelines.build.Selection", lambda **given: Selection(max_black=0.25, **given))
    ((status, why, samples),) = found(root)
    assert (status, samples) == (DIFFERS, 3) and "selection" in why


def test_a_source_with_other_bytes(root, clips):
    write_video(clips / "1.mp4", moving(12, 77), Fraction(24), preset="ultrafast")
    ((status, why, samples),) = found(root)
    assert (status, samples) == (UNKNOWN, 1) and "--deep" in why
    assert found(root, deep=True) == [(DIFFERS, "the source's bytes changed", 1)]


def test_a_source_that_was_only_touched(root, clips):
    os.utime(clips / "0.mp4", (1, 1))
    ((status, why, samples),) = found(root)
    assert (status, samples) == (UNKNOWN, 2) and "its size or time did" in why
    assert found(root, deep=True) == []


def test_bytes_that_changed_behind_size_and_time(root, clips):
    """What --deep is for: nothing else can see it."""
    file = clips / "1.mp4"
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found(root) == []
    assert found(root, deep=True) == [(DIFFERS, "the source's bytes changed", 1)]


def test_sources_that_are_gone_or_new(root, clips):
    (clips / "0.mp4").rename(clips / "2.mp4")
    assert found(root) == [
        (UNKNOWN, "the source is gone: its samples stay, and cannot be made again", 2),
        (NEW, "sources at --input", 1),
    ]


def test_sidecars(root, clips):
    (clips / "0.txt").write_text("a wall")
    (clips / "1.json").write_text('{"license": "CC0-1.0", "attribution": "Ann"}')
    assert found(root) == [
        (DIFFERS, "caption none -> a wall", 2),
        (DIFFERS, "source_license none -> CC0-1.0", 1),
        (DIFFERS, "source_attribution none -> Ann", 1),
    ]


def test_it_says_what_the_next_build_does(root, clips, monkeypatch):
    """Sample by sample: what would differ is what a build replaces."""
    write_video(clips / "1.mp4", moving(12, 77), Fraction(24), preset="ultrafast")
    changed_ids = {
        row["sample_id"] for row in select(root, "canny").to_pylist() if "1.mp4" in row["source_uri"]
    }
    differing = stale(root, CatalogID.parse("canny"), deep=True)[2]
    [report] = build(config(clips))
    after = {row["sample_id"] for row in select(root, "canny").to_pylist()}
    assert report.replaced == differing == len(changed_ids) and not changed_ids & after
    assert found(root, deep=True) == []
    monkeypatch.setattr("pipelines.plan.STAGES_VERSION", 99)
    differing = stale(root, CatalogID.parse("canny"))[2]
    assert build(config(clips))[0].replaced == differing == 3


def test_several_modalities_of_one_command(root, clips, monkeypatch):
    build(config(clips, modality="inpaint,canny", settings={"inpaint.min_area": "0.1"}))
    assert found(root, "inpaint") == [] == found(root)
    changed(monkeypatch, version=canny.MODALITY.version + 1)
    assert found(root, "inpaint") == [] and len(found(root)) == 1


def test_a_root_that_was_moved(root, clips, tmp_path):
    moved = Root.open(str(shutil.copytree(root.uri, tmp_path / "moved")))
    shutil.rmtree(root.uri)
    assert found(moved) == []


def test_rows_whose_run_is_unknown(root):
    merge(root, [CatalogID.parse("canny")], "both")
    assert found(root, "both") == [(UNKNOWN, "the run that made them is not in this catalog's log", 3)]


def test_storage_that_cannot_be_reached(root):
    rows = [{**row, "source_uri": "nosuch://bucket/0.mp4"} for row in select(root, "canny").to_pylist()]
    table_of(root, "far", create=table_of(root, "canny").schema).append_new(rows, {"run_id": "x"})
    assert any("nosuch://bucket cannot be reached" in why for _, why, _ in found(root, "far"))


def test_pairs_of_takes(tmp_path, monkeypatch):
    root = Root.open(str(tmp_path / "root"), create=True)
    scenes_catalog(root)
    build(BuildConfig(modality="camera-video", from_catalog="scenes", root=root.uri))
    rows = select(root, "camera_video").num_rows
    assert rows > 0 and found(root, "camera_video") == []
    takes = table_of(root, "scenes")
    one = select(root, "scenes").to_pylist()[0]
    takes.append_new([{**one, "sample_id": "f" * 40}], {"run_id": "1"})
    ((status, why, samples),) = found(root, "camera_video")
    assert (status, samples) == (DIFFERS, rows) and "takes" in why
    from pipelines.modalities import camera_video

    monkeypatch.setattr(camera_video, "MODALITY", replace(camera_video.MODALITY, version=99))
    assert any("of the modality" in why for _, why, _ in found(root, "camera_video"))
    ((status, why, _),) = found(root, "scenes")
    assert status == UNKNOWN and "log" in why  # these takes came from no run


@pytest.mark.parametrize("modality", ["", "canny"])
@pytest.mark.parametrize("deep", [False, True])
def test_imported_pairs_are_not_planned_again(tmp_path, modality, deep):
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for name in ("a.mp4", "a_reference.mp4"):
        write_video(pairs / name, moving(9, 0), Fraction(24), preset="ultrafast")
    root = Root.open(str(tmp_path / "root"), create=True)
    import_pairs(ImportConfig(folder=str(pairs), catalog="mine", root=root.uri, modality=modality))
    [(status, why, samples)] = found(root, "mine", deep=deep)
    assert (status, samples) == (UNKNOWN, 1) and "import their folder again to compare" in why


def test_the_command(root, clips, monkeypatch):
    changed(monkeypatch, version=canny.MODALITY.version + 1)
    result = CliRunner().invoke(cli, ["catalog", "stale", "canny", "--root", root.uri, "--json"])
    assert result.exit_code == 0, result.output
    assert '"would differ"' in result.stdout and "canny@1: 3 of 3 samples would be made" in result.stderr
    assert remaining(table_of(root, "canny", "ledger"), []) == []
