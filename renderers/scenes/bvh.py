"""BVH (Biovision hierarchy): motion capture as text, parsed into a `Recording`.

Format: M. Meredith and S. Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001. Rotation
channels multiply in the order in which they are listed; position channels take the place of the joint's OFFSET.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from renderers.scenes.recording import Recording, forward

_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # takes file axes to +Z up


@dataclass(kw_only=True)
class _Joint:
    name: str
    parent: int
    offset: list[float] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)


def parse(text: str) -> Recording:
    """Read a BVH file.

    End sites become joints named ``<parent>_end``. A file is taken as Y-up, as the format has it, unless its rest pose
    is more than twice as long along Z as along Y; Y-up files are rotated to +Z up.

    Raises:
        ValueError: Not BVH; the message has the line number.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    start = next((at for at, (_, line) in enumerate(lines) if line.split()[0].upper() == "MOTION"), None)
    if start is None:
        raise ValueError(f"line {lines[-1][0] if lines else 1}: no MOTION section")
    joints = _hierarchy(_pieces(lines[:start]))
    count = sum(len(joint.channels) for joint in joints)
    values, seconds = _frames(lines[start:], count)
    return _recording(joints, values, 1 / seconds)


def _pieces(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Statements with their line numbers: braces stand alone, wherever they were written."""
    for number, line in lines:
        for piece in re.split(r"([{}])", line):
            if piece.strip():
                yield number, piece.strip()


def _hierarchy(pieces: Iterator[tuple[int, str]]) -> list[_Joint]:
    number, first = next(pieces, (1, ""))
    if first.upper() != "HIERARCHY":
        raise ValueError(f"line {number}: a BVH file starts with HIERARCHY")
    joints: list[_Joint] = []
    stack: list[int] = []  # open joints
    opening = False  # a joint was named, its brace is due
    for number, piece in pieces:
        word, *rest = piece.split()
        word = word.upper()
        if opening != (word == "{"):
            raise ValueError(f"line {number}: {'expected {' if opening else 'unexpected {'}")
        opening = False
        if word in ("ROOT", "JOINT", "END"):
            if (word == "ROOT") != (not stack) or not rest:
                raise ValueError(f"line {number}: misplaced {piece!r}")
            parent = stack[-1] if stack else -1
            name = f"{joints[parent].name}_end" if word == "END" else " ".join(rest)
            joints.append(_Joint(name=name, parent=parent))
            opening = True
        elif word == "{":
            stack.append(len(joints) - 1)
        elif not stack:
            raise ValueError(f"line {number}: unexpected {piece!r}")
        elif word == "}":
            if not joints[stack.pop()].offset:
                raise ValueError(f"line {number}: a joint without OFFSET")
        elif word == "OFFSET":
            joints[stack[-1]].offset = _numbers(rest, 3, number)
        elif word == "CHANNELS":
            joints[stack[-1]].channels = _channels(rest, number)
        else:
            raise ValueError(f"line {number}: unexpected {piece!r}")
    if stack or opening or not joints:
        raise ValueError(f"line {number}: the hierarchy ends early")
    return joints


def _channels(words: list[str], number: int) -> list[str]:
    """Channel names as ``Xp`` or ``Xr``."""
    names = [f"{word[:1].upper()}{word[1:2].lower()}" for word in words[1:]]
    right = all(re.fullmatch("[xyz](position|rotation)", word, re.IGNORECASE) for word in words[1:])
    if not right or words[:1] != [str(len(names))] or len(set(names)) != len(names):
        raise ValueError(f"line {number}: bad CHANNELS {' '.join(words)!r}")
    return names


def _numbers(words: list[str], count: int, number: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"line {number}: expected {count} numbers, found {' '.join(words)[:60]!r}")
    return values


def _frames(lines: list[tuple[int, str]], count: int) -> tuple[NDArray[np.float64], float]:
    """Channel values [N, count] and the seconds of a frame, from the MOTION line on."""
    header = []
    for key, (number, line) in zip(("Frames:", "Frame Time:"), lines[1:3], strict=False):
        name, colon, value = line.partition(":")
        if " ".join(name.split()).lower() + colon != key.lower():
            raise ValueError(f"line {number}: expected {key!r}")
        header += _numbers(value.split(), 1, number)
    last = lines[-1][0]
    if len(header) < 2 or header[0] < 1 or header[1] <= 0:
        raise ValueError(f"line {last}: expected 'Frames:' and 'Frame Time:' above zero")
    frames = int(header[0])
    rows = lines[3 : 3 + frames]  # some exporters write one more than they say
    if len(rows) < frames:
        raise ValueError(f"line {last}: {len(rows)} frames where {frames} were announced")
    try:
        values = np.array(" ".join(line for _, line in rows).split(), dtype=np.float64)
        if values.size != frames * count or not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        for number, line in rows:
            _numbers(line.split(), count, number)
        raise
    return values.reshape(frames, count), header[1]


def _recording(joints: list[_Joint], values: NDArray[np.float64], fps: float) -> Recording:
    parents = np.array([joint.parent for joint in joints], np.int32)
    offsets = np.array([joint.offset for joint in joints])
    rest = offsets.copy()
    for at, parent in enumerate(parents):
        rest[at] += rest[parent] if parent >= 0 else 0

    bones = np.tile(offsets, (len(values), 1, 1))
    rotations = np.empty((len(values), len(joints), 3, 3))
    column = 0
    for at, joint in enumerate(joints):
        mine = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        turns = [kind for kind in joint.channels if kind[1] == "r"]
        for index, kind in enumerate(joint.channels):
            if kind[1] == "p":
                bones[:, at, "XYZ".index(kind[0])] = mine[:, index]
        if turns:
            angles = mine[:, [joint.channels.index(kind) for kind in turns]]
            axes = "".join(kind[0] for kind in turns)
            local = Rotation.from_euler(
                axes, angles, degrees=True
            ).as_matrix()  # capitals: about the turned axes
        else:
            local = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        above = rotations[:, joint.parent] if joint.parent >= 0 else np.eye(3)[None]
        rotations[:, at] = np.einsum("nij,njk->nik", np.broadcast_to(above, local.shape), local)
    positions = forward(parents, bones, rotations, bones)

    if np.ptp(rest[:, 2]) <= 2 * np.ptp(rest[:, 1]):
        rest, positions = (np.einsum("ij,...j->...i", _Y_UP, points) for points in (rest, positions))
        rotations = np.einsum("ij,...jk,lk->...il", _Y_UP, rotations, _Y_UP)
    names = tuple(joint.name for joint in joints)
    return Recording(
        names=names, parents=parents, rest=rest, rotations=rotations, positions=positions, fps=fps
    )
