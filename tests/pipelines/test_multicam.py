"""Scenes rendered on Ray into a catalog: really in Blender, at 96x54; and what happens when Blender fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from avcontrol import cli
from catalogs import media
from catalogs.errors import ConfigError, EstimatorUnavailable, InputError
from catalogs.query import select
from catalogs.root import Root
from catalogs.validate import validate
from pipelines import blender
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.motions import fetch, publish
from pipelines.views import View
from renderers.scenes import cameras as optics
from renderers.scenes.spec import from_json
from tests.pipelines.blender import needs_blender, stand_in

QUICK = {"samples": "1", "denoise": "false", "motions": "none", "retime": "1", "edit": "1", "points": "64"}


def config(root: Path, **more) -> BuildConfig:
    said = {
        "modality": "multicam",
        "root": str(root),
        "scenes": 1,
        "cameras": 2,
        "resolution": "96x54x3",
        "settings": QUICK,
        "workers": 1,
    }
    return BuildConfig(**{**said, **more})


@pytest.fixture(scope="module")
def rendered(ray_here, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    [report] = build(config(root))
    assert (report.samples, report.rejects, report.catalog.partition("@")[0]) == (4, 0, "scenes")
    return root


@needs_blender
def test_a_row_for_every_camera_and_twin(rendered: Path) -> None:
    root = Root.open(str(rendered))
    rows = select(root, "scenes").to_pylist()
    assert sorted(row["camera"] for row in rows) == [
        "camera-0",
        "camera-0-edit",
        "camera-0-retime",
        "camera-1",
    ]
    assert len({row["scene_id"] for row in rows}) == 1 and validate(root, "scenes", deep=True) == []
    for row in rows:
        assert row["estimator"].startswith("blender ") and row["caption"] and row["frames"] == 3
        assert np.array(row["intrinsics"]).shape == (3, 4) and np.array(row["extrinsics"]).shape == (3, 16)
        assert len(row["fov"]) == len(row["seconds"]) == 3
        spec = from_json(
            root.local(dict((s["name"], s["path"]) for s in row["signals"])["scene"]).read_bytes()
        )
        assert spec.id == row["scene_id"] == row["source_sha256"]
        pictures = media.frames(root, row["video"])
        assert len(pictures) == 3 and pictures[0].shape == (54, 96, 3) and np.std(pictures[0]) > 8


@needs_blender
def test_what_is_stored_agrees_with_itself(rendered: Path) -> None:
    """Visible tracked points lie where the depth map says, on the body that the mask says, in every take."""
    root = Root.open(str(rendered))
    for row in select(root, "scenes").to_pylist():
        whole = type("Whole", (), {"width": 96, "height": 54, "frames": 3})()
        view = View(root=root, row=row, timeline=whole)
        tracks = view.tracks
        pixels, distance = optics.project(tracks["points"].astype(float), view.intrinsics, view.extrinsics)
        np.testing.assert_allclose(tracks["pixels"], pixels, atol=0.01)
        frame, point = np.nonzero(tracks["visible"])
        column, line = np.floor(tracks["pixels"][frame, point]).astype(int).T
        depth = view.depth[frame, line, column]
        assert len(frame) > 20
        assert (view.masks[frame, line, column] == tracks["body"][point]).mean() > 0.8
        assert np.median(np.abs(depth / distance[frame, point] - 1)) < 0.02
        joints = view.joints
        assert joints["visible"].any() and set(joints["body"]) <= set(view.bodies.values())


@needs_blender
def test_twins_differ_in_what_they_are_for(rendered: Path) -> None:
    root = Root.open(str(rendered))
    rows = {row["camera"]: row for row in select(root, "scenes").to_pylist()}
    base, edit, retime = (rows[f"camera-0{twin}"] for twin in ("", "-edit", "-retime"))
    assert base["extrinsics"] == edit["extrinsics"] and edit["edit"] in ("remove", "recolour", "retexture")
    assert base["seconds"] == edit["seconds"] != retime["seconds"] and retime["time"] != "normal"
    assert (
        rows["camera-1"]["seconds"] == base["seconds"]
        and rows["camera-1"]["extrinsics"] != base["extrinsics"]
    )


@needs_blender
def test_a_second_build_renders_nothing_and_another_camera_does_not_change_the_scene(rendered: Path) -> None:
    [again] = build(config(rendered))
    assert (again.samples, again.units, again.skipped) == (0, 0, 1)


@needs_blender
def test_a_spec_is_drawn_and_shown(tmp_path: Path) -> None:
    drawn = CliRunner().invoke(
        cli, ["scene", "draw", "--resolution", "96x54x3", "--cameras", "2", "--set", "motions=none"]
    )
    assert drawn.exit_code == 0, drawn.output
    (tmp_path / "spec.json").write_text(drawn.output)
    shown = CliRunner().invoke(
        cli, ["scene", "show", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]
    )
    assert shown.exit_code == 0, shown.output
    spec = from_json((tmp_path / "spec.json").read_text())
    sheet = np.array(Image.open(tmp_path / "out" / "cameras.png"))
    assert sheet.shape == (len(spec.cameras) * (54 + 20), 3 * 96, 3) and sheet.std() > 20
    assert Image.open(tmp_path / "out" / "rig.png").size == (1600, 900)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("os.abort()", "crashed"), ("time.sleep(60)", "timeout"), ("print('what?', flush=True)", "crashed")],
)
def test_a_crash_costs_one_scene_after_one_more_try(
    code: str, reason: str, tmp_path: Path, ray_here, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = f"open({str(tmp_path / 'tries')!r}, 'a').write('.'); {code}"
    monkeypatch.setenv("AVCONTROL_BLENDER", str(stand_in(tmp_path, tries)))
    blender.version.cache_clear()
    with pytest.raises(InputError, match=reason):
        build(
            config(
                tmp_path / "root", timeout_s=12.0, settings={**QUICK, "min_people": "0", "max_people": "0"}
            )
        )
    blender.version.cache_clear()
    (row,) = select(Root.open(str(tmp_path / "root")), "scenes", kind="rejects").to_pylist()
    assert (row["reason"], row["stage"], row["source_uri"]) == (reason, "render", "scene:0/0")
    assert (tmp_path / "tries").read_text() == ".."


def test_without_blender_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVCONTROL_BLENDER", str(tmp_path / "none"))
    blender.version.cache_clear()
    run = CliRunner().invoke(cli, ["build", "multicam", "--root", str(tmp_path)])
    with pytest.raises(EstimatorUnavailable, match="make blender"):
        build(config(tmp_path))
    assert run.exit_code != 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"resolution": "95x54x3"}, "must be even"),
        ({"resolution": "96x54"}, "WIDTHxHEIGHTxFRAMES"),
        ({"scenes": 0}, "--scenes"),
        ({"cameras": 0}, "--cameras"),
        ({"fps": "23.97"}, "no exact period"),
        ({"settings": {"people": "3"}}, "no option 'people'"),
        ({"settings": {"kinds": "pan,fly"}}, "kinds"),
        ({"settings": {"samples": "0"}}, "samples"),
        ({"settings": {"motions": "/nowhere"}}, "no such folder"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, more: dict, says: str) -> None:
    with pytest.raises((ConfigError, InputError), match=says):
        build(config(tmp_path, **more))


def test_motions_travel_through_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one machine published, another finds by its hash, without the folder."""
    from dataclasses import replace

    from renderers.scenes import motion
    from tests.pipelines.rendered import scene

    root = Root.open(str(tmp_path / "root"), create=True)
    (tmp_path / "motions").mkdir()
    motion.save(motion.procedural("walk"), tmp_path / "motions" / "mine.npz")
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path / "one"))
    ((name, sha256, seconds),) = publish(root, tmp_path / "motions")
    assert name == "mine" and seconds > 0.5
    spec = scene()
    (ann,) = spec.people
    performed = replace(ann.performance, name="mine", sha256=sha256)
    spec = replace(spec, people=(replace(ann, performance=performed),))
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path / "two"))
    folder = fetch(root, spec)
    assert motion.find(performed, (), folder).seconds == seconds
    lost = replace(spec, people=(replace(ann, performance=replace(performed, sha256="0" * 64)),))
    with pytest.raises(InputError, match="not in"):
        fetch(root, lost)
    (tmp_path / "motions" / "bad.bvh").write_text("HIERARCHY nonsense")
    with pytest.raises(InputError, match="bad"):
        publish(root, tmp_path / "motions")


def test_a_dry_run_says_what_it_would_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVCONTROL_BLENDER", str(stand_in(tmp_path, "pass")))
    blender.version.cache_clear()
    run = CliRunner().invoke(
        cli, ["build", "multicam", "--scenes", "200", "--root", str(tmp_path / "root"), "--dry-run"]
    )
    blender.version.cache_clear()
    assert run.exit_code == 0, run.output
    assert "200 scenes" in run.output and "CPU hours" in run.output and not (tmp_path / "root").exists()
