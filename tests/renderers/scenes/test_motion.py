"""Motions: what is saved comes back, files are found by hash, sampling never jumps, feet do not slide."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from renderers.scenes import gestures, motion
from renderers.scenes.motion import MotionError, Recording
from renderers.scenes.spec import Performance

BVH = """HIERARCHY
ROOT Hips
{{
OFFSET 0 0 0
CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
End Site
{{
OFFSET 0 10 0
}}
}}
MOTION
Frames: {frames}
Frame Time: 0.1
{rows}
"""


def _file(path: Path, heights: list[float]) -> str:
    rows = "\n".join(f"0 {height} 0 0 0 {height}" for height in heights)
    path.write_text(BVH.format(frames=len(heights), rows=rows))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _same(one: Recording, other: Recording) -> None:
    assert one.names == other.names and one.fps == other.fps
    for key in ("parents", "rest", "rotations", "positions"):
        ours, theirs = getattr(one, key), getattr(other, key)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    recording = motion.procedural("wave")
    motion.save(recording, tmp_path / "wave.npz")
    _same(motion.load(tmp_path / "wave.npz"), recording)
    assert [path.name for path in tmp_path.iterdir()] == ["wave.npz"]


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    recording, path = motion.procedural("wave"), tmp_path / "x.npz"
    for wrong, told in (
        (replace(recording, rest=recording.rest[1:]), "rest has shape"),
        (replace(recording, parents=recording.parents[::-1]), "before its parent"),
        (replace(recording, positions=recording.positions * np.nan), "not finite"),
        (replace(recording, fps=0.0), "frames per second"),
    ):
        motion.save(wrong, path)
        with pytest.raises(MotionError, match=told):
            motion.load(path)
    np.savez(path, names=np.array(["a"]))
    with pytest.raises(MotionError, match="not a recorded motion"):
        motion.load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(MotionError, match="not a recorded motion"):
        motion.load(path)


def test_a_file_is_parsed_once_and_found_anywhere(tmp_path: Path) -> None:
    folder, cache = tmp_path / "mocap" / "deep", tmp_path / "cache"
    folder.mkdir(parents=True)
    digest = _file(folder / "jump.bvh", [90, 91, 93, 92])
    _file(folder / "other.bvh", [90, 90, 90, 91])
    (folder / "notes.txt").write_text("no motion")
    found = motion.performances(tmp_path / "mocap", cache)
    assert [(file.name, file.seconds) for file in found] == [
        ("jump", pytest.approx(0.3)),
        ("other", pytest.approx(0.3)),
    ]
    assert found[0].sha256 == digest and (cache / f"{digest}.npz").is_file()

    jump = motion.load(folder / "jump.bvh")
    _same(motion.load(folder / "jump.bvh", cache), jump)
    (folder / "jump.bvh").rename(tmp_path / "mocap" / "renamed.bvh")
    performance = Performance(name="jump", sha256=digest)
    _same(motion.find(performance, [tmp_path / "mocap"]), jump)
    _same(motion.find(performance, [], cache), jump)
    with pytest.raises(MotionError, match="jump: no file with SHA-256"):
        motion.find(performance, [folder])


def test_what_is_not_a_motion_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.bvh").write_text("HIERARCHY\nMOTION\n")
    for name, told in (("bad.bvh", r"bad\.bvh: line"), ("a.mp4", "motions are"), ("b.glb", "needs Blender")):
        (tmp_path / name).touch()
        with pytest.raises(MotionError, match=told):
            motion.load(tmp_path / name)
    with pytest.raises(MotionError, match=r"bad\.bvh"):
        motion.performances(tmp_path)
    with pytest.raises(MotionError, match="walk"):
        motion.find(Performance(name="fly"))


def test_what_blender_has_read_is_used(tmp_path: Path) -> None:
    dance = tmp_path / "dance.glb"
    dance.write_bytes(b"glTF")
    assert motion.performances(tmp_path)[0].seconds is None
    recording = motion.procedural("turn")
    digest = hashlib.sha256(b"glTF").hexdigest()
    cache = tmp_path / "cache"
    cache.mkdir()
    motion.save(recording, cache / f"{digest}.npz")
    _same(motion.load(dance, cache), recording)
    listed = {file.name: file.seconds for file in motion.performances(tmp_path, cache)}
    assert listed["dance"] == pytest.approx(24)


def test_a_calibration_pose_is_left_out(tmp_path: Path) -> None:
    _file(tmp_path / "a.bvh", [0, 90, 91, 93, 92])
    _file(tmp_path / "b.bvh", [89, 90, 91, 93, 92])
    assert len(motion.load(tmp_path / "a.bvh").positions) == 4
    assert len(motion.load(tmp_path / "b.bvh").positions) == 5


@settings(max_examples=30, deadline=None)
@given(seconds=st.floats(0, 2 * 24))
def test_sampling_is_spherical_and_plays_backwards_beyond_the_end(seconds: float) -> None:
    recording = motion.procedural("turn")
    sampled = motion.at(recording, np.array([seconds]))
    inside = seconds if seconds <= 24 else 48 - seconds
    frames = np.arange(len(recording.positions)) / recording.fps
    for joint in (0, 7, 20):
        slerp = Slerp(frames, Rotation.from_matrix(recording.rotations[:, joint]))
        expected = slerp(min(inside, frames[-1])).as_matrix()
        np.testing.assert_allclose(sampled.rotations[0, joint], expected, atol=1e-9)
    hips = [np.interp(inside, frames, recording.positions[:, 0, axis]) for axis in range(3)]
    np.testing.assert_allclose(sampled.positions[0, 0], hips, atol=1e-9)
    for joint, parent in enumerate(recording.parents[1:], 1):
        bone = np.linalg.norm(sampled.positions[0, joint] - sampled.positions[0, parent])
        assert bone == pytest.approx(np.linalg.norm(recording.rest[joint] - recording.rest[parent]), abs=1e-9)


def test_sampling_at_the_frames_is_the_recording_and_before_the_start_its_mirror() -> None:
    recording = motion.procedural("squat")
    times = np.arange(len(recording.positions)) / recording.fps
    np.testing.assert_allclose(motion.at(recording, times).positions, recording.positions, atol=1e-9)
    np.testing.assert_allclose(motion.at(recording, -times).positions, recording.positions, atol=1e-9)
    one = replace(recording, rotations=recording.rotations[:1], positions=recording.positions[:1])
    np.testing.assert_allclose(
        motion.at(one, np.array([0.0, 3.0])).positions, one.positions[[0, 0]], atol=1e-12
    )


@pytest.mark.parametrize("name", gestures.NAMES)
def test_procedural_motions_stand_on_planted_feet(name: str) -> None:
    recording = motion.procedural(name)
    again = motion.procedural(name)
    _same(recording, again)
    rotations = recording.rotations
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 1, 3, 2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9
    )
    assert np.abs(np.diff(recording.positions, axis=0)).max() * recording.fps < 6  # m/s: nothing jumps
    feet = recording.positions[:, [recording.names.index(f"{side}Foot") for side in ("Left", "Right")]]
    assert 0.05 < feet[..., 2].min() < 0.085
    flat = np.abs(feet[..., 2] - 0.07) < 1e-3  # on the ground
    slide = np.linalg.norm(np.diff(feet, axis=0), axis=2) * recording.fps
    still = flat[1:] & flat[:-1]
    assert (flat.sum(1) > 0).mean() > 0.6
    assert np.quantile(slide[still], 0.9) < 0.05  # m/s
