"""Pairs out of rendered takes: every number here is checked against the closed-form scene they come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from avcontrol import cli
from catalogs import media
from catalogs.errors import ConfigError, InputError
from catalogs.query import select
from catalogs.root import Root
from catalogs.validate import validate
from pipelines.build import build
from pipelines.config import BuildConfig
from renderers.canvas.masks import FILL
from tests.pipelines.rendered import scenes_catalog

pytestmark = pytest.mark.usefixtures("ray_here")


def config(root: Root, modality: str, **more) -> BuildConfig:
    return BuildConfig(modality=modality, from_catalog="scenes", root=root.uri, workers=1, **more)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = Root.open(str(tmp_path_factory.mktemp("root")), create=True)
    scenes_catalog(root, count=2, size=(128, 96, 9))
    return root


@pytest.fixture(scope="module")
def camera_video(root: Root, ray_here) -> list[dict]:
    [report] = build(config(root, "camera-video"))
    assert report.catalog.startswith("camera_video@") and report.rejects == 0
    return select(root, "camera_video").to_pylist()


def pictures(root: Root, path: str) -> np.ndarray:
    return np.stack(media.frames(root, path)).astype(int)


def take(root: Root, row: dict, camera: str) -> dict:
    rows = select(root, "scenes").to_pylist()
    return next(r for r in rows if r["scene_id"] == row["scene_id"] and r["camera"] == row[camera])


def test_the_reference_is_where_the_target_is(root: Root, camera_video: list[dict]) -> None:
    """Where it is no hole, the other camera's picture must lie on the target's: same colours at the same places."""
    assert len(camera_video) == 2 * 4  # two moving cameras see each other; the static twin sees both
    for row in camera_video[:3]:
        reference, target = pictures(root, row["reference_video"]), pictures(root, row["video"])
        holes = (np.abs(reference - FILL) < 40).all(-1)
        assert 0.02 < holes.mean() < 0.85 and abs(holes.mean() - row["hole_area"]) < 0.1
        apart = np.abs(reference - target).mean(-1)[~holes]
        shuffled = np.abs(reference - target[:, :, ::-1]).mean(-1)[~holes]
        assert np.median(apart) < 12 and np.median(apart) < 0.4 * np.median(shuffled)


def test_the_target_is_the_take_itself_not_a_copy(root: Root, camera_video: list[dict]) -> None:
    for row in camera_video:
        rendered = take(root, row, "camera")
        assert row["video"] == rendered["video"] and row["caption"] == rendered["caption"] != ""
        assert (
            row["estimator"] == "closed form"
            and row["commercial_ok"]
            and row["source_uri"] == "scenes:0/" + str(row["scene_index"])
        )
        assert row["camera"] in ("camera-0", "camera-1") and row["camera"] != row["reference_camera"]


def test_it_is_a_catalog_like_any_other(root: Root, camera_video: list[dict], tmp_path: Path) -> None:
    assert validate(root, "camera_video", deep=True) == [] == validate(root, "scenes", deep=True)
    [again] = build(config(root, "camera-video"))
    assert (again.samples, again.units, again.skipped) == (0, 0, 2)
    run = CliRunner().invoke(
        cli, ["catalog", "preview", "camera_video", "--root", root.uri, "--out", str(tmp_path / "sheet.png")]
    )
    assert run.exit_code == 0 and (tmp_path / "sheet.png").stat().st_size > 10_000


def test_a_cut_on_action_shows_the_same_moments_from_elsewhere(root: Root) -> None:
    build(config(root, "cut-on-action"))
    rows = select(root, "cut_on_action").to_pylist()
    assert {(row["reference_camera"], row["camera"]) for row in rows} == {
        ("camera-0", "camera-1"),
        ("camera-1", "camera-0"),
    }
    row = rows[0]
    assert row["view_angle_deg"] > 30
    reference, target = pictures(root, row["reference_video"]), pictures(root, row["video"])
    source = pictures(root, take(root, row, "reference_camera")["video"])
    assert np.abs(reference - source).mean() < 4 and np.abs(reference[0] - target[0]).mean() > 15


def test_a_local_edit_changes_one_thing_in_both_directions(root: Root) -> None:
    build(config(root, "local-edit"))
    rows = select(root, "local_edit").to_pylist()
    assert sorted(row["camera"] for row in rows) == ["camera-0", "camera-0", "camera-0-edit", "camera-0-edit"]
    for row in rows[:2]:
        changed = np.abs(pictures(root, row["reference_video"]) - pictures(root, row["video"])).max(-1) > 60
        assert row["edit"] == "recolour" and row["edited"] == "box"
        assert abs(changed.mean() - row["edit_area"]) < 0.3 * row["edit_area"]
    [once] = build(config(root, "local-edit", catalog="forward", settings={"direction": "forward"}))
    assert once.samples == 2


def test_a_frozen_twin_has_no_pace(root: Root) -> None:
    build(config(root, "retime"))
    for row in select(root, "retime").to_pylist():
        assert (row["time"], row["pace"], row["reference_camera"]) == ("freeze", 0.0, "camera-0")


def test_a_take_that_shows_too_little_is_rejected_with_its_reason(root: Root) -> None:
    with pytest.raises(InputError, match="no_overlap"):
        build(config(root, "camera-video", catalog="strict", settings={"max_holes": "0.001"}))
    reasons = select(root, "strict", kind="rejects").to_pylist()
    assert len(reasons) == 8 and {row["reason"] for row in reasons} == {"no_overlap"}
    with pytest.raises(InputError, match="no_pair"):
        build(config(root, "cut-on-action", catalog="far", settings={"min_angle": "179"}))


@pytest.mark.parametrize("modality", ["camera-image", "depth", "pose", "tracks", "blender-preview"])
def test_each_take_alone_makes_a_pair(root: Root, modality: str) -> None:
    [report] = build(config(root, modality))
    rows = select(root, modality.replace("-", "_")).to_pylist()
    assert report.samples == len(rows) == 4 and {row["camera"] for row in rows} == {"camera-0", "camera-1"}


def test_another_size_and_a_dry_run(root: Root) -> None:
    [report] = build(config(root, "depth", catalog="small", resolution="64x64x9"))
    (row, *_) = select(root, "small").to_pylist()
    assert report.samples == 4 and (row["width"], row["height"]) == (64, 64)
    assert pictures(root, row["reference_video"]).shape == (9, 64, 64, 3)
    run = CliRunner().invoke(
        cli, ["build", "depth", "--from", "scenes", "--root", root.uri, "--dry-run", "--catalog", "dry"]
    )
    assert run.exit_code == 0 and "10 takes of 2 scenes" in run.output and "nothing is rendered" in run.output


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"modality": "canny"}, ConfigError, "canny is not made from rendered scenes"),
        ({"from_catalog": "camera_video_x"}, Exception, "no catalog"),
        ({"from_catalog": "scenes?camera='nobody'"}, InputError, "selects no takes"),
        ({"resolution": "128x96x17"}, ConfigError, "have 9 frames, 17 are asked for"),
        ({"input": "somewhere"}, ConfigError, "exclude each other"),
        ({"modality": "cut-on-action", "from_catalog": None}, ConfigError, "made from rendered scenes only"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(root: Root, more: dict, error: type, says: str) -> None:
    said = {"modality": "camera-video", "from_catalog": "scenes", "root": root.uri, **more}
    if said["from_catalog"] is None:
        said["input"] = "somewhere"
    with pytest.raises(error, match=says):
        build(BuildConfig(**said))


def test_cameras_go_to_recammaster(root: Root, tmp_path: Path) -> None:
    run = CliRunner().invoke(cli, ["scene", "export", "scenes", "--root", root.uri, "--out", str(tmp_path)])
    assert run.exit_code == 0, run.output
    files = list(tmp_path.glob("*/cameras/camera_extrinsics.json"))
    assert len(files) == 2
    assert len(json.loads(files[0].read_text())) == 9
