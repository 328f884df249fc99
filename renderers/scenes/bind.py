"""The bind pose: every skeleton brought into one standard pose, on which one body can be modelled.

The standard pose stands facing +X with +Y to its left and +Z up, the middle between the tops of the thighs at the
origin, legs straight down, arms straight and 45 degrees below the shoulders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.scenes.joints import Limbs, Rig
from renderers.scenes.recording import Recording

Array = NDArray[np.float64]

_DOWN = np.array([0.0, 0.0, -1.0])
_STEEPEST = np.radians(45.0)  # the foot below the horizontal, from ankle to ball
_UPRIGHT = 0.6  # cosine: how far trunk and legs of a rest pose may lean


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A skeleton in the standard pose, in the unit of its file.

    Attributes:
        points: Joint positions, float64 [J, 3].
        turns: Rotations that take vectors of the file's rest pose to this pose, float64 [J, 3, 3].
        stature: Height of a body of average proportions on these bones.
    """

    points: Array
    turns: Array
    stature: float


def bind(recording: Recording, rig: Rig) -> Bind:
    """Bring the rest pose into the standard pose.

    Where the rest pose is no pose that a body takes (some files lay all bones along one axis), the most upright frame
    of the recording that has its feet down stands in for it.
    """
    points, turns = recording.rest, np.tile(np.eye(3), (len(recording.names), 1, 1))
    if _upright(points[None], rig)[0] < _UPRIGHT:
        frame = _standing(recording, rig)
        points, turns = recording.positions[frame], recording.rotations[frame]

    left, right = rig.left, rig.right
    origin = (points[left.thigh] + points[right.thigh]) / 2
    up = (points[left.arm] + points[right.arm]) / 2 - origin
    up = up / np.linalg.norm(up)
    front = np.cross(points[left.thigh] - points[right.thigh], up)
    front /= np.linalg.norm(front)
    axes = np.stack([front, np.cross(up, front), up])
    points = np.einsum("ij,nj->ni", axes, points - origin)
    turns = np.einsum("ij,njk->nik", axes, turns)

    for limbs, sign in ((left, 1.0), (right, -1.0)):
        out = np.array([0.0, sign, -1.0]) / np.sqrt(2)
        _straighten(recording, points, turns, (limbs.arm, limbs.forearm, limbs.hand), out)
        _straighten(recording, points, turns, (limbs.thigh, limbs.shin, limbs.foot), _DOWN, carry=False)
        _level_foot(recording, points, turns, limbs)

    # D. Winter, "Biomechanics and Motor Control of Human Movement", fig. 4.1: of the stature, the ankle is at 0.039,
    # the hip at 0.530 and the shoulder at 0.818.
    legs = [np.linalg.norm(points[side.thigh] - points[side.foot]) for side in (left, right)]
    trunk = (points[left.arm, 2] + points[right.arm, 2]) / 2
    return Bind(points=points, turns=turns, stature=float((np.mean(legs) + trunk) / (0.818 - 0.039)))


def _upright(positions: Array, rig: Rig) -> Array:
    """Cosine of what leans most of trunk and leg bones, [N] for positions [N, J, 3]."""
    bones = []
    for side in (rig.left, rig.right):
        for top, bottom in ((side.thigh, side.shin), (side.shin, side.foot), (side.arm, side.thigh)):
            bones.append(positions[:, top] - positions[:, bottom])
    bone = np.stack(bones)
    return np.asarray((bone[..., 2] / np.maximum(np.linalg.norm(bone, axis=-1), 1e-9)).min(0))


def _standing(recording: Recording, rig: Rig) -> int:
    """The frame with the feet furthest down among the upright ones."""
    upright = _upright(recording.positions, rig)
    feet = [joint for side in (rig.left, rig.right) for joint in (side.foot, side.toe) if joint >= 0]
    raised = recording.positions[:, feet, 2].sum(1)
    return int(np.argmin(np.where(upright >= upright.max() - 0.1, raised, np.inf)))


def _straighten(
    recording: Recording,
    points: Array,
    turns: Array,
    limb: tuple[int, int, int],
    direction: Array,
    carry: bool = True,
) -> None:
    """Lay two bones along ``direction``, in place; what hangs on their end follows, and turns along if ``carry``."""
    top, middle, end = limb
    before = points.copy()
    for joint, child in ((top, middle), (middle, end)):
        bone = before[child] - before[joint]
        turn = _least_turn(bone / np.linalg.norm(bone), direction)
        turns[joint] = turn @ turns[joint]
        points[child] = points[joint] + np.linalg.norm(bone) * direction
    if not carry:
        turn = np.eye(3)
    below = _descendants(recording, end)
    points[below] = points[end] + np.einsum("ij,nj->ni", turn, before[below] - before[end])
    turns[below] = np.einsum("ij,njk->nik", turn, turns[below])


def _level_foot(recording: Recording, points: Array, turns: Array, limbs: Limbs) -> None:
    """Bring a foot that points up or down to the slope of one that stands, in place."""
    if limbs.toe < 0:
        return
    bone = points[limbs.toe] - points[limbs.foot]
    flat = np.hypot(bone[0], bone[1])
    if flat == 0 or bone[0] < 0:  # straight down, as some files have it, or backwards
        bone, flat = np.array([1e-6, 0.0, bone[2]]), 1e-6
    slope = np.clip(np.arctan2(-bone[2], flat), 0, _STEEPEST)
    level = np.array([*(bone[:2] / flat * np.cos(slope)), -np.sin(slope)])
    turn = _least_turn(bone / np.linalg.norm(bone), level)
    below = _descendants(recording, limbs.foot)
    points[below] = points[limbs.foot] + np.einsum("ij,nj->ni", turn, points[below] - points[limbs.foot])
    turns[below] = np.einsum("ij,njk->nik", turn, turns[below])


def _descendants(recording: Recording, joint: int) -> list[int]:
    """``joint`` and all that hangs on it."""
    found = {joint}
    for at, parent in enumerate(recording.parents):
        if int(parent) in found:
            found.add(at)
    return sorted(found)


def _least_turn(one: Array, other: Array) -> Array:
    """The smallest rotation from one unit vector to another (Rodrigues' formula); about X where they are opposite."""
    cosine = float(np.dot(one, other))
    if cosine < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    x, y, z = np.cross(one, other)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))
