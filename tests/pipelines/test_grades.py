"""Grades of estimators: their measures in closed form, and the command over the room and over rendered takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import avcontrol
from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from catalogs.root import Root
from catalogs.store import Table
from pipelines import grading
from pipelines.calibration import expected_error
from pipelines.estimators import tracks
from pipelines.estimators.depth import ESTIMATORS as DEPTHS
from pipelines.estimators.depth import Depth
from pipelines.estimators.joined import joined_weights
from pipelines.estimators.tracks import Tracks
from pipelines.estimators_cli import missing
from pipelines.grade_config import GradeConfig
from pipelines.grade_table import add_grades, load_grades
from pipelines.grades import Candidate, examine, rows_of
from pipelines.truths import Truth, of_takes, of_the_room
from renderers.canvas.skeleton import BODY
from tests.pipelines.rendered import scenes_catalog

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def clips() -> list[Truth]:
    return list(of_the_room(2, 96, 64, 9, seed=3))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = Root.open(str(tmp_path_factory.mktemp("root")), create=True)
    scenes_catalog(root)
    return root


@given(
    scale=st.floats(0.01, 100),
    shift=st.floats(-10, 10),
    unknown=st.sampled_from(["", "scale", "scale and shift"]),
    seed=st.integers(0, 99),
)
def test_depth_up_to_what_is_unknown_has_no_error(
    scale: float, shift: float, unknown: str, seed: int
) -> None:
    truth = np.random.default_rng(seed).uniform(0.5, 20, (2, 4, 5))
    found = (scale if "scale" in unknown else 1) / truth + (shift if "shift" in unknown else 0)
    truth[0, 0, 0] = np.inf
    errors = grading.depth_errors(found, truth, unknown)
    assert errors["abs_rel"] < 1e-6 and errors["delta1"] == errors["covered"] == 1


def test_wrong_depth_has_its_known_error() -> None:
    truth = np.linspace(1, 4, 60).reshape(3, 4, 5)
    twice = grading.depth_errors(1 / (2 * truth), truth, "")
    assert twice == {"abs_rel": pytest.approx(1), "delta1": 0, "covered": 1}
    one = np.where(np.arange(60).reshape(3, 4, 5) < 3, 1 / 1.5, 1) / truth  # 3 of 60 half as far again
    assert grading.depth_errors(one, truth, "scale") == {
        "abs_rel": pytest.approx(0.5 * 3 / 60),
        "delta1": pytest.approx(57 / 60),
        "covered": 1,
    }
    # The least squares of inverse depths [0, 1, 0, 1] against true ones [1, 2, 1, 4] are 1 and 3.
    fitted = grading.depth_errors(np.array([0, 1, 0, 1.0]), 1 / np.array([1, 2, 1, 4.0]), "scale and shift")
    assert fitted["abs_rel"] == pytest.approx(np.mean([0, 1 / 3, 0, 1 / 3]))
    half = np.where(np.arange(60).reshape(3, 4, 5) % 2, np.nan, 1 / truth)
    assert grading.depth_errors(half, truth, "")["covered"] == 0.5
    with pytest.raises(UnusableClip, match="no pixel"):
        grading.depth_errors(np.full(4, np.nan), np.ones(4), "scale")


def test_cameras_are_compared_in_the_picture() -> None:
    dolly = next(iter(of_the_room(1, 96, 64, 9, seed=3)))
    K, w2c = dolly.intrinsics, dolly.extrinsics
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0.3, 0.2, 0.1]).as_matrix()
    other = w2c @ turned
    other[:, :3, 3] *= 7  # another world, in another unit
    assert grading.picture_error(K, other, dolly) < 1e-9
    # A lens 10% too long moves what stands at x from the middle by x / 10, in every frame of a camera that stands.
    long = K * [[1.1, 1, 1], [1, 1.1, 1], [1, 1, 1]]
    still = replace(dolly, extrinsics=np.repeat(w2c[:1], 9, axis=0))
    y, x = np.mgrid[64 // 18 : 64 : 7, 3:96:6]
    expected = np.median(np.hypot(x + 0.5 - 48, y + 0.5 - 32)) / 10 / 96
    assert grading.picture_error(long, still.extrinsics, still) == pytest.approx(expected)
    # A camera that is taken for one that stands: off by as much as the picture moves.
    assert 0.005 < grading.picture_error(K, still.extrinsics, dolly) < 0.2
    with pytest.raises(UnusableClip, match="nothing but background"):
        grading.picture_error(K, w2c, replace(dolly, depth=np.full_like(dolly.depth, np.inf)))


def people(count: int = 2, frames: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Joints [F, P, 133, 2] of people with torsos of 50 pixels, all seen."""
    joints = np.random.default_rng(1).uniform(0, 60, (frames, count, 133, 2))
    joints += 200 * np.arange(count)[:, None, None]
    joints[:, :, 5], joints[:, :, 12] = joints[:, :, 12] + (30, 40), joints[:, :, 12]
    joints[:, :, 6] = joints[:, :, 11] + (3, 4)
    return joints, np.ones(joints.shape[:3], bool)


@pytest.mark.parametrize(("off", "pck"), [(0.0, 1.0), (9.9, 1.0), (10.1, 0.0)])
def test_joints_count_within_a_fifth_of_the_torso(off: float, pck: float) -> None:
    joints, visible = people()
    found = joints[:, ::-1] + (off * 0.6, off * 0.8)  # the other way round: pairing finds them
    errors = grading.pose_errors(found, np.ones(found.shape[:3]), joints, visible)
    assert errors == {"pck": pck, "pck_whole": pck, "miss": 1 - pck}


def test_people_and_joints_that_are_not_found_are_missed_and_hidden_ones_do_not_count() -> None:
    joints, visible = people()
    one = grading.pose_errors(joints[:, :1], np.ones((3, 1, 133)), joints, visible)
    none = grading.pose_errors(joints[:, :0], np.ones((3, 0, 133)), joints, visible)
    assert one["pck"] == 0.5 and none["pck"] == 0
    scores = np.ones((3, 2, 133))
    scores[:, :, 0] = 0
    found = joints.copy()
    found[:, :, 1] = np.nan
    errors = grading.pose_errors(found, scores, joints, visible)
    assert errors["pck"] == pytest.approx(15 / 17) and errors["pck_whole"] == pytest.approx(131 / 133)
    hidden = visible.copy()
    hidden[:, :, :2] = False
    assert grading.pose_errors(found, scores, joints, hidden)["pck"] == 1
    hidden[..., BODY] = False
    with pytest.raises(UnusableClip, match="nobody"):
        grading.pose_errors(found, scores, joints, hidden)


def test_masks_are_compared_body_by_body() -> None:
    labels = np.zeros((2, 8, 20), np.uint8)
    labels[:, 2:6, 2:6], labels[:, 2:6, 12:16] = 1, 2
    assert (
        grading.mask_errors(3 - labels * (labels > 0) - 3 * (labels == 0), labels)["iou"] == 1
    )  # 1 and 2 swapped
    moved = np.roll(labels, 2, axis=2)
    assert grading.mask_errors(moved, labels)["iou"] == pytest.approx(8 / 24)
    whole = grading.mask_errors((labels > 0).astype(np.uint8), labels)
    assert whole == {"iou": 0.25, "iou_all": 1, "miss": 0.75}  # one mask for both: half of it is the one body
    assert grading.mask_errors(np.zeros_like(labels), labels) == {"iou": 0, "iou_all": 0, "miss": 1}
    assert grading.mask_errors(labels, np.zeros_like(labels)) == {"iou": 0, "iou_all": 0, "miss": 1}
    assert grading.mask_errors(np.zeros_like(labels), np.zeros_like(labels))["iou"] == 1


def test_whoever_knows_the_truth_makes_no_error(clips: list[Truth], scenes: Root) -> None:
    takes = list(of_takes(scenes, "scenes", 2, None))
    assert [take.joints is not None for take in (*clips, *takes)] == [False, False, True, True]
    for truth in (*clips, *takes):
        exact = Depth(
            inverse=(1 / truth.depth).astype(np.float32), unknown="scale", confidence=None, flicker=0.0
        )
        marks = grading.FAMILIES["depth"].mark(lambda frames, it=exact: it, truth, RNG)
        assert marks.errors["abs_rel"] < 1e-6 and marks.errors["delta1"] == 1

        asked, pixels, visible = truth.follow(np.random.default_rng(5))
        known = Tracks(
            pixels=np.nan_to_num(pixels).astype(np.float32),
            visible=visible,
            confidence=visible.astype(np.float32),
        )
        marks = grading.FAMILIES["tracks"].mark(lambda *_, it=known: it, truth, np.random.default_rng(5))
        assert marks.errors["d_avg"] == marks.errors["occlusion"] == 1 and marks.errors["miss"] == 0
        inside = ((asked[:, 1:] >= 0) & (asked[:, 1:] <= truth.frames[0].shape[1::-1])).all()
        assert inside and visible[asked[:, 0].astype(int), np.arange(len(asked))].all()
    assert grading.mask_errors(takes[0].labels, takes[0].labels)["iou"] == 1


def test_the_room_is_taken_in_every_way_with_and_without_movers() -> None:
    twelve = list(of_the_room(12, 32, 32, 9, seed=0))
    assert len({truth.name for truth in twelve}) == 12
    assert sorted({truth.name.partition(",")[0] for truth in twelve}) == sorted(
        ["dolly", "arc", "pan", "handheld", "static", "dolly_zoom"]
    )
    zoom = next(truth for truth in twelve if truth.name == "dolly_zoom")
    assert np.ptp(zoom.intrinsics[:, 0, 0]) > 1
    still = next(truth for truth in twelve if truth.name == "static")
    np.testing.assert_array_equal(still.frames[0], still.frames[-1])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(avcontrol.cli, ["estimators", *arguments])


def test_the_command_grades_and_keeps_it(tmp_path: Path) -> None:
    where = ("--root", str(tmp_path / "root"), "--clips", "3", "--resolution", "96x64x9")
    result = run("grade", "dis", "--json", *where)
    assert result.exit_code == 0, result.output
    rows = {row["metric"]: row for row in json.loads(result.stdout)}
    assert list(rows) == ["d_avg", "occlusion", "median_px", "miss"]
    assert 0.8 < rows["d_avg"]["value"] < 1 and rows["d_avg"]["value"] + rows["miss"][
        "value"
    ] == pytest.approx(1)
    assert all((row["clips"], row["refused"], row["reasons"]) == (3, 0, "{}") for row in rows.values())

    table = Table.open(Root.open(str(tmp_path / "root")), "grades", key=("grade_id",))
    kept = {row["metric"]: row for row in table.read().to_pylist()}
    assert kept["d_avg"]["value"] == rows["d_avg"]["value"]
    assert kept["miss"]["truth"] == "room 96x64x9 seed 0" and kept["d_avg"]["calibration"] is None
    assert run("grade", "tracks", *where).exit_code == 0  # the same again: nothing is added
    table.refresh()
    assert table.read().num_rows == 4

    calibration = load_grades(str(tmp_path / "root"), "tracks", "dis", "")
    assert calibration == kept["miss"]["calibration"]
    made = [expected_error(calibration, {"tracks_seen": seen})["expected_error"] for seen in (0.1, 0.8, 0.99)]
    assert made == sorted(made, reverse=True) and 0 <= made[-1] <= rows["miss"]["value"] <= made[0]
    assert load_grades(str(tmp_path / "root"), "tracks", "dis", "other weights") == ""
    assert load_grades(str(tmp_path / "nowhere"), "tracks", "dis", "") == ""


def test_the_command_grades_on_rendered_takes(scenes: Root) -> None:
    result = run("grade", "dis", "--csv", "--from", "scenes", "--root", scenes.uri, "--clips", "2")
    assert result.exit_code == 0, result.output
    assert ",scenes@1,d_avg," in result.stdout


def test_the_most_clips_count_and_then_the_latest(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    rows = [
        {
            "grade_id": str(n),
            "family": "depth",
            "estimator": "x",
            "estimator_weights": "w",
            "clips": count,
            "graded_at": when,
            "calibration": str(n),
        }
        for n, (count, when) in enumerate([(9, "2026-03"), (12, "2026-01"), (12, "2026-02"), (0, "2026-04")])
    ]
    assert add_grades(root, rows, {"run_id": "r"}) == 4 and add_grades(root, rows, {"run_id": "r"}) == 0
    assert load_grades(root.uri, "depth", "x", "w") == "2"
    assert load_grades(root.uri, "tracks", "x", "w") == ""


def test_of_joined_estimators_the_first_ones_grade_counts(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    cards = [("cameras", "a", ""), ("cameras", "a", "w"), ("depth", "b", "v"), ("depth", "a", "")]
    columns = ("grade_id", "calibration", "family", "estimator", "estimator_weights")
    rows = [dict(zip(columns, (str(n), str(n), *each), strict=True)) for n, each in enumerate(cards)]
    add_grades(root, [{**row, "clips": 1, "graded_at": ""} for row in rows], {"run_id": "r"})
    for hashes, found in [
        (["", "v"], "0"),
        (["w", "v"], "1"),
        (["", ""], "0"),
        (["x", "v"], ""),
        (["w", "u"], ""),
    ]:
        assert load_grades(root.uri, "cameras+depth", "a+b", joined_weights(hashes)) == found
    assert load_grades(root.uri, "depth", "a", "") == "3"


def test_a_refusal_is_counted_and_is_no_error(clips: list[Truth]) -> None:
    def estimate(frames: Any) -> Depth:
        if frames is clips[1].frames:
            raise UnusableClip("no_parallax", "the camera stands")
        return Depth(
            inverse=(1 / clips[0].depth).astype(np.float32), unknown="scale", confidence=None, flicker=0.25
        )

    candidate = Candidate(card=DEPTHS[0], estimate=estimate, weights="w")
    for truth in clips:
        examine(candidate, truth, RNG)
    rows = {row["metric"]: row for row in rows_of(candidate, "room", GradeConfig(clips=2))}
    assert {row["clips"] for row in rows.values()} == {1}
    assert rows["abs_rel"]["value"] < 1e-6 and rows["abs_rel"]["reasons"] == '{"no_parallax":1}'
    assert json.loads(rows["abs_rel"]["calibration"])["figure"] == "depth_flicker"
    refusing = Candidate(card=DEPTHS[0], estimate=estimate, weights="w")
    examine(refusing, clips[1], RNG)
    (row,) = rows_of(refusing, "room", GradeConfig(clips=1))
    assert (row["metric"], row["value"], row["clips"], row["refused"]) == ("abs_rel", None, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["alltracer"], ConfigError, "Did you mean alltracker"),
        (["faces"], ConfigError, "no truth"),
        (["pose"], ConfigError, "pose on rendered takes: --from"),
        (["dis", "--clips", "0"], ConfigError, "--clips must be at least 1"),
        (["dis", "--from", "scenes"], ConfigError, "--from needs --root"),
        (["dis", "--set", "speed=3"], ConfigError, "dis has no option 'speed'"),
        (["tracks", "--set", "weights=x"], ConfigError, "--set dis.weights=x"),
        (["alltracker", "--set", "weights=/nowhere"], EstimatorUnavailable, "no file /nowhere"),
    ],
)
def test_bad_requests_say_what_to_do(
    arguments: list[str], kind: type, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AVCONTROL_ROOT", raising=False)
    error = run("grade", *arguments).exception
    assert isinstance(error, kind) and says in str(error)


def test_the_listing_says_what_is_ready_and_how_to_get_the_rest() -> None:
    rows = {row["name"]: row for row in json.loads(run("--json").stdout)}
    assert rows["dis"]["ready"] and rows["dis"]["needs"] == "nothing: ready"
    lacking = rows["alltracker"]
    assert not lacking["ready"] and "checkout=alltracker" in lacking["missing"]
    assert "git clone https://github.com/aharley/alltracker" in lacking["needs"]
    assert lacking["needs"].endswith("hf download aharley/alltracker alltracker.pth")
    assert run("--csv").stdout.startswith("family,name,gives,license,commercial_ok,ready,missing,needs\n")


def test_commands_get_packages_too() -> None:
    card = tracks.DIS
    assert missing(replace(card, packages=("no_such.module", "numpy"))) == {
        "packages no_such.module": "pip install no_such.module"
    }
    extra = replace(card, packages=("nosuch",), extra="pose", weights="https://example.org/a.pt")
    assert missing(extra) == {
        "packages nosuch": "pip install 'avcontrol[pose]'",
        "weights": "curl -LO https://example.org/a.pt",
    }
