"""ReCamMaster's camera file, read the way its own code reads it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from renderers.scenes import recammaster
from renderers.scenes.cameras import world_to_camera
from renderers.scenes.trajectories import Kind, Move, Path, Trajectory, path

# Pan right, look up, move forward, rise: by hand, in the format's own formatting (signed zeros, trailing space).
FIXTURE = {
    "frame0": {
        name: "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3390 1380 240 1] "
        for name in ("cam01", "cam03", "cam05", "cam07")
    },
    "frame1": {
        "cam01": "[0.8 0.6 0 0] [-0.6 0.8 0 0] [0 -0 1 0] [3390 1380 240 1] ",
        "cam03": "[0.8 0 0.6 0] [-0 1 0 0] [-0.6 -0 0.8 0] [3390 1380 240 1] ",
        "cam05": "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3590 1380 240 1] ",
        "cam07": "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3390 1380 300 1] ",
    },
}


def _conditioning(file, name: str) -> np.ndarray:
    """Poses relative to the first, as the model is given them, from the description of its loader in our module."""
    data = json.loads(file.read_text())
    poses = []
    for n in range(len(data)):
        rows = re.findall(r"\[([^]]*)\]", data[f"frame{n}"][name])
        transposed = np.array([[float(x) for x in row.split()] for row in rows]).T
        forward, right, up, position = transposed.T
        poses.append(np.stack([right, -up, forward, position / [100, 100, 100, 1]], axis=1))
    return np.linalg.inv(poses[0]) @ np.stack(poses)


def _take(*moves: Move, eye=(4.0, -2.0, 2.5)) -> Path:
    return path(Trajectory(eye=eye, target=(0.0, 0.0, 1.0), moves=moves), np.linspace(0, 1, 9), duration=1.0)


def test_reads_what_their_dataset_holds(tmp_path):
    file = tmp_path / "camera_extrinsics.json"
    file.write_text(json.dumps(FIXTURE))
    takes = recammaster.read(file)
    assert list(takes) == ["cam01", "cam03", "cam05", "cam07"]
    c2w = {name: world_to_camera(w2c) for name, w2c in takes.items()}
    # Looking along +X, with -Y (Unreal's +y, mirrored) to the right and Z up; centimetres became metres.
    level = [[0, 0, 1, 33.9], [-1, 0, 0, -13.8], [0, -1, 0, 2.4], [0, 0, 0, 1]]
    for poses in c2w.values():
        np.testing.assert_allclose(poses[0], level, atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1.0)
    np.testing.assert_allclose(c2w["cam01"][1, :3, 2], [0.8, -0.6, 0.0])  # panned right
    np.testing.assert_allclose(c2w["cam03"][1, :3, 2], [0.8, 0.0, 0.6])  # tilted up
    np.testing.assert_allclose(c2w["cam05"][1, :3, 3] - c2w["cam05"][0, :3, 3], [2.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(c2w["cam07"][1, :3, 3] - c2w["cam07"][0, :3, 3], [0.0, 0.0, 0.6], atol=1e-12)


@pytest.mark.parametrize("kind", ["pan", "tilt", "roll", "dolly", "truck", "arc", "handheld"])
def test_their_loader_sees_our_relative_poses(tmp_path, kind: Kind):
    taken = _take(Move(kind=kind, amount=2.0))
    recammaster.write(tmp_path / "c.json", {"cam01": world_to_camera(taken.c2w)})
    relative = world_to_camera(taken.c2w[0]) @ taken.c2w
    np.testing.assert_allclose(_conditioning(tmp_path / "c.json", "cam01"), relative, atol=1e-9)


def test_round_trip_and_layout(tmp_path):
    takes = {
        f"cam{n:02d}": world_to_camera(
            _take(Move(kind="spline", amount=1.0, seed=n), Move(kind="roll", amount=9)).c2w
        )
        for n in range(1, 4)
    }
    file = tmp_path / "camera_extrinsics.json"
    recammaster.write(file, takes)
    again = recammaster.read(file)
    assert list(again) == list(takes)
    for name in takes:
        np.testing.assert_allclose(again[name], takes[name], atol=1e-10)
    text = json.loads(file.read_text())
    assert list(text) == [f"frame{n}" for n in range(9)]
    assert re.fullmatch(r"(\[\S+ \S+ \S+ 0\] ){3}\[\S+ \S+ \S+ 1\] ", text["frame3"]["cam02"])


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"frame1": {}}',
        '{"frame0": {"cam01": "[1 0 0] [0 1 0]"}}',
        '{"frame0": {"cam01": 3}}',
    ],
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match="not a ReCamMaster camera file"):
        recammaster.read(tmp_path / "c.json")


def test_cameras_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="share their frames"):
        recammaster.write(
            tmp_path / "c.json", {"cam01": np.tile(np.eye(4), (3, 1, 1)), "cam02": np.eye(4)[None]}
        )
    with pytest.raises(ValueError, match="share their frames"):
        recammaster.write(tmp_path / "c.json", {})
