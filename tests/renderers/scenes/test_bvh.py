"""BVH: hand-made files with known answers, random hierarchies against matrices multiplied one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import bvh

ARM = """HIERARCHY
ROOT Base
{
\tOFFSET 0 0 0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Upper arm
\t{
\t\tOFFSET 0 10 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 4 0 0
\t\t}
\t}
}
MOTION
Frames:\t2
Frame Time: 0.04
0 0 0 0 0 0 0 0 0
1 2 3 0 0 90 90 0 0
"""


@pytest.mark.parametrize("text", [ARM, ARM.replace("\n", "\r\n"), ARM.replace("Base\n{", "Base {").upper()])
def test_a_hand_made_file(text: str) -> None:
    recording = bvh.parse(text)
    assert [name.lower() for name in recording.names] == ["base", "upper arm", "upper arm_end"]
    assert recording.parents.tolist() == [-1, 0, 1] and recording.parents.dtype == np.int32
    assert recording.fps == pytest.approx(25) and recording.seconds == pytest.approx(0.04)
    # The file's (x, y, z) is (x, -z, y) with +Z up.
    np.testing.assert_allclose(recording.rest, [[0, 0, 0], [0, 0, 10], [4, 0, 10]], atol=1e-12)
    np.testing.assert_allclose(recording.positions[0], recording.rest, atol=1e-12)
    # A quarter turn about the vertical, then the arm a quarter turn about the file's Z: it points straight up.
    np.testing.assert_allclose(recording.positions[1], [[1, -3, 2], [1, -3, 12], [1, -3, 16]], atol=1e-12)
    np.testing.assert_allclose(recording.rotations[1, 0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_position_channels_of_a_joint_replace_its_offset() -> None:
    text = ARM.replace("\t\tCHANNELS 3 Zrotation Xrotation Yrotation", "\t\tCHANNELS 1 Yposition")
    text = text.replace("0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 7").replace("90 90 0 0", "90 8")
    recording = bvh.parse(text)
    np.testing.assert_allclose(recording.rest[1], [0, 0, 10], atol=1e-12)
    np.testing.assert_allclose(recording.positions[:, 1], [[0, 0, 7], [1, -3, 10]], atol=1e-12)


def test_a_file_that_stands_along_z_is_left_alone() -> None:
    recording = bvh.parse(ARM.replace("OFFSET 0 10 0", "OFFSET 0 0 10"))
    np.testing.assert_allclose(recording.rest, [[0, 0, 0], [0, 0, 10], [4, 0, 10]], atol=1e-12)
    np.testing.assert_allclose(recording.positions[1, 0], [1, 2, 3], atol=1e-12)


def test_frames_beyond_the_announced_ones_are_left_out() -> None:
    assert len(bvh.parse(ARM + "5 5 5 0 0 0 0 0 0\n").positions) == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("HIERARCHY", "HIERARCHIE", 1),
        ("OFFSET 0 10 0", "OFFSET 0 10", 8),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", 8),
        ("CHANNELS 3 Z", "CHANNELS 4 Z", 9),
        ("Zrotation Xrotation Yrotation\n\t\tE", "Zrotation Wrotation Yrotation\n\t\tE", 9),
        ("\t\tEnd Site", "\t\tJOINT", 10),
        ("\t\t\tOFFSET 4 0 0\n", "", 12),
        ("\t}\n}\nMOTION", "\t}\nMOTION", 14),
        ("Frames:\t2", "Frames:\tmany", 17),
        ("Frames:\t2", "Frames:\t3", 20),
        ("Frame Time: 0.04", "Frame Time: 0", 20),
        ("1 2 3 0 0 90 90 0 0", "1 2 3 0 0 90 90 0", 20),
        ("1 2 3 0 0 90 90 0 0", "1 2 3 0 0 90 nan 0 0", 20),
        ("MOTION", "", 20),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, line: int) -> None:
    assert old in ARM
    with pytest.raises(ValueError, match=f"^line {line}: "):
        bvh.parse(ARM.replace(old, new))


@dataclass
class Bone:
    offset: tuple[float, float, float]
    order: str
    positions: bool
    children: list[Bone] = field(default_factory=list)


NUMBER = st.integers(-40, 40).map(lambda n: n / 4)
ORDER = st.permutations("XYZ").map("".join) | st.sampled_from(["X", "ZY", ""])
BONE = st.builds(Bone, st.tuples(NUMBER, NUMBER, NUMBER), ORDER, st.booleans(), st.just([]))
TREE = st.recursive(
    BONE,
    lambda below: st.builds(
        Bone, st.tuples(NUMBER, NUMBER, NUMBER), ORDER, st.booleans(), st.lists(below, max_size=3)
    ),
    max_leaves=6,
)


def _written(bone: Bone, word: str, names: list[str]) -> str:
    names.append(f"j{len(names)}")
    channels = [f"{axis}position" for axis in "XYZ" if bone.positions] + [
        f"{axis}rotation" for axis in bone.order
    ]
    text = f"{word} {names[-1]}\n{{ OFFSET {' '.join(map(str, bone.offset))}\n"
    text += f"CHANNELS {len(channels)} {' '.join(channels)}\n"
    return text + "".join(_written(child, "JOINT", names) for child in bone.children) + "}\n"


def _turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    one, two = [(1, 2), (2, 0), (0, 1)]["XYZ".index(axis)]
    matrix[one, one], matrix[one, two], matrix[two, one], matrix[two, two] = c, -s, s, c
    return matrix


def _moved(bone: Bone, above: np.ndarray, values: list[float]) -> list[np.ndarray]:
    """World matrices of a bone and those below, by 4x4 matrices; takes its channels off ``values``."""
    matrix = np.eye(4)
    matrix[:3, 3] = [values.pop(0) for _ in range(3)] if bone.positions else bone.offset
    for axis in bone.order:
        matrix = matrix @ _turn(axis, values.pop(0))
    return [
        above @ matrix,
        *(world for child in bone.children for world in _moved(child, above @ matrix, values)),
    ]


@settings(max_examples=40, deadline=None)
@given(tree=TREE, seed=st.integers(0, 2**32 - 1))
def test_any_hierarchy_moves_as_its_matrices_do(tree: Bone, seed: int) -> None:
    tree.children.append(Bone((0.0, 500.0, 0.0), "ZXY", False))  # tall: Y is up
    names: list[str] = []
    text = "HIERARCHY\n" + _written(tree, "ROOT", names)
    count = text.count("position") + text.count("rotation")
    frames = np.random.default_rng(seed).uniform(-180, 180, (3, count)).round(3)
    text += "MOTION\nFrames: 3\nFrame Time: 0.1\n" + "".join(" ".join(map(str, row)) + "\n" for row in frames)
    recording = bvh.parse(text)
    assert list(recording.names) == names
    up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    for frame, row in enumerate(frames):
        for joint, world in enumerate(_moved(tree, np.eye(4), row.tolist())):
            np.testing.assert_allclose(recording.positions[frame, joint], up @ world[:3, 3], atol=1e-8)
            rotation = up @ world[:3, :3] @ up.T
            np.testing.assert_allclose(recording.rotations[frame, joint], rotation, atol=1e-10)
