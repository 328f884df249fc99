"""Procedural motions: recordings made by formula, so that people move without any motion capture.

The skeleton stands in a T-pose facing +X, +Z up, in metres. Feet are planted where a step puts them and stay there
until the next one; legs follow by two-bone inverse kinematics, so nothing slides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from renderers.scenes.recording import Recording, forward

Array = NDArray[np.float64]

_FPS, _SECONDS = 60.0, 24.0
_SIDES = (("Left", 1.0), ("Right", -1.0))
_MIDDLE = {
    "Hips": ("", (0.0, 0.0, 0.93)),
    "Spine": ("Hips", (0.0, 0.0, 1.04)),
    "Chest": ("Spine", (0.0, 0.0, 1.20)),
    "Neck": ("Chest", (-0.01, 0.0, 1.43)),
    "Head": ("Neck", (0.01, 0.0, 1.52)),
}
_SIDE = {  # of the left side; the right one mirrors it
    "Shoulder": ("Chest", (0.0, 0.03, 1.39)),
    "Arm": ("Shoulder", (0.0, 0.18, 1.39)),
    "ForeArm": ("Arm", (0.0, 0.46, 1.39)),
    "Hand": ("ForeArm", (0.0, 0.71, 1.39)),
    "UpLeg": ("Hips", (0.0, 0.09, 0.90)),
    "Leg": ("UpLeg", (0.0, 0.09, 0.49)),
    "Foot": ("Leg", (0.0, 0.09, 0.07)),
    "ToeBase": ("Foot", (0.13, 0.10, 0.02)),
}
_BALL, _HEEL = np.array([0.13, 0.0, -0.05]), np.array([-0.05, 0.0, -0.07])  # seen from the ankle


@dataclass(frozen=True, kw_only=True)
class _Pose:
    """What a motion decides, at every moment: everything else follows. Angles in degrees, [N] or a number.

    Attributes:
        place: Hips over the ground, [N, 2].
        heading: Where they face.
        drop: Hips lower than standing, metres.
        pelvis_yaw, lean, chest_yaw: Of the trunk; lean is forward.
        step: Seconds of a cycle of two steps.
        swing, bend: Upper arm forward, elbow, by side.
        wave: 0 to 1: right arm raised.
        wag: Forearm of the raised arm.
    """

    place: Array
    heading: Array
    drop: Array | float = 0.0
    pelvis_yaw: Array | float = 0.0
    lean: Array | float = 2.0
    chest_yaw: Array | float = 0.0
    step: float = 1.05
    swing: dict[str, Array | float]
    bend: Array | float = 12.0
    wave: Array | float = 0.0
    wag: Array | float = 0.0


def _walk(t: Array) -> _Pose:
    """Around a circle, so that nobody leaves the scene: 0.9 m/s, cadence 114 steps a minute."""
    step, radius = 1.05, 1.8
    angle, beat = 0.9 * t / radius, 2 * np.pi * t / step
    return _Pose(
        place=radius * np.stack([np.sin(angle), 1 - np.cos(angle)], 1),
        heading=np.degrees(angle),
        drop=0.033 - 0.014 * np.cos(2 * beat),
        pelvis_yaw=4 * np.sin(beat),
        chest_yaw=-7 * np.sin(beat),
        step=step,
        swing={"Left": 24 * np.sin(beat), "Right": -24 * np.sin(beat)},
        bend=20 + 8 * np.cos(beat),
    )


def _turn_around(t: Array) -> _Pose:
    """On the spot, to one side and to the other."""
    heading = 120 * np.sin(2 * np.pi * t / 12)
    ahead = 25 * np.cos(2 * np.pi * t / 12)  # the trunk leads the feet
    beat = 2 * np.pi * t / 1.0
    return _Pose(
        place=np.stack([0.01 * np.sin(beat), 0.02 * np.sin(beat)], 1),
        heading=heading,
        drop=0.008,
        chest_yaw=ahead,
        step=1.0,
        swing={"Left": 6 * np.sin(beat), "Right": -6 * np.sin(beat)},
    )


def _wave(t: Array) -> _Pose:
    """Standing; the right arm goes up, waves and comes down again, every six seconds."""
    up = _smooth(t % 6 / 0.9) * (1 - _smooth((t % 6 - 4.6) / 0.9))
    sway = np.sin(2 * np.pi * t / 4)
    return _Pose(
        place=np.stack([np.zeros_like(t), 0.02 * sway], 1),
        heading=3 * sway,
        drop=0.003,
        swing={"Left": 3 * sway, "Right": -3 * sway},
        wave=up,
        wag=24 * np.sin(2 * np.pi * 1.6 * t),
    )


def _squat(t: Array) -> _Pose:
    """Down and up again, arms forward, every three seconds."""
    down = (1 - np.cos(2 * np.pi * t / 3)) / 2
    return _Pose(
        place=np.stack([-0.14 * down, np.zeros_like(t)], 1),
        heading=np.zeros_like(t),
        drop=0.003 + 0.34 * down,
        lean=2 + 32 * down,
        swing={"Left": 100 * down, "Right": 100 * down},
    )


_MOTIONS: dict[str, Callable[[Array], _Pose]] = {
    "walk": _walk,
    "turn": _turn_around,
    "wave": _wave,
    "squat": _squat,
}
NAMES = tuple(_MOTIONS)
"""What there is."""


def record(name: str) -> Recording:
    """The motion ``name``, one of `NAMES`: 24 seconds at 60 frames per second."""
    t = np.arange(round(_FPS * _SECONDS) + 1) / _FPS
    pose = _MOTIONS[name](t)
    names, parents, rest = _skeleton()
    at = {joint: index for index, joint in enumerate(names)}
    facing = _turn("z", pose.heading)
    hips = np.column_stack([pose.place, rest[0, 2] - pose.drop + np.zeros_like(t)])

    world = {"Hips": facing @ _turn("z", pose.pelvis_yaw)}
    trunk = facing @ _turn("z", pose.chest_yaw)
    world["Spine"] = facing @ _turn("y", 0.5 * pose.lean)
    world["Chest"] = trunk @ _turn("y", pose.lean)
    world["Neck"] = trunk @ _turn("y", 0.6 * pose.lean)
    world["Head"] = facing @ _turn("z", 0.3 * pose.chest_yaw)
    for side, sign in _SIDES:
        raised = pose.wave if side == "Right" else 0.0
        world[f"{side}Shoulder"] = world["Chest"]
        hang = _turn("x", -sign * 78 * (1 - raised) - sign * 8 * raised)
        world[f"{side}Arm"] = world["Chest"] @ _turn("y", -pose.swing[side]) @ hang
        elbow = _turn("z", -sign * pose.bend * (1 - raised))
        lifted = _turn("x", sign * raised * (72 + pose.wag))
        world[f"{side}ForeArm"] = world[f"{side}Arm"] @ lifted @ elbow
        world[f"{side}Hand"] = world[f"{side}ForeArm"]

        thigh, knee, ankle = (rest[at[f"{side}{joint}"]] for joint in ("UpLeg", "Leg", "Foot"))
        target, yaw, pitch, flat = _steps(t, pose, sign)
        hip = hips + np.einsum("nij,j->ni", world["Hips"], thigh - rest[0])
        world[f"{side}UpLeg"], world[f"{side}Leg"] = _leg(
            target - hip, yaw, thigh[2] - knee[2], knee[2] - ankle[2]
        )
        world[f"{side}Foot"] = _turn("z", yaw) @ _turn("y", pitch)
        world[f"{side}ToeBase"] = _turn("z", yaw) @ _turn("y", pitch * (1 - flat))

    rotations = np.stack([world[joint] for joint in names], 1)
    offsets = rest - rest[np.maximum(parents, 0)]
    return Recording(
        names=names,
        parents=parents,
        rest=rest,
        rotations=rotations,
        positions=forward(parents, offsets, rotations, hips),
        fps=_FPS,
    )


def _skeleton() -> tuple[tuple[str, ...], NDArray[np.int32], Array]:
    """Names, parents and rest positions."""
    joints = dict(_MIDDLE)
    for side, sign in _SIDES:
        for name, (parent, (x, y, z)) in _SIDE.items():
            above = parent if parent in _MIDDLE else f"{side}{parent}"
            joints[f"{side}{name}"] = (above, (x, sign * y, z))
    names = tuple(joints)
    parents = [names.index(parent) if parent else -1 for parent, _ in joints.values()]
    return names, np.array(parents, np.int32), np.array([place for _, place in joints.values()])


def _steps(t: Array, pose: _Pose, sign: float) -> tuple[Array, Array, Array, Array]:
    """Where a foot is: ankle [N, 3], yaw and pitch in degrees, and how flat the toes stay (0 to 1).

    It stands for 60% of the cycle, as in walking, centred on the moment when the hips pass over it.
    """
    cycle = t / pose.step + (0.5 if sign < 0 else 0.0) + 0.3
    number, phase = np.floor(cycle), cycle % 1
    spots = []
    for ahead in (0, 1):
        when = np.clip((number + ahead - (0.5 if sign < 0 else 0.0)) * pose.step, t[0], t[-1])
        x, y, yaw = (np.interp(when, t, track) for track in (*pose.place.T, pose.heading))
        side = np.radians(yaw)
        spots.append(np.stack([x - sign * 0.09 * np.sin(side), y + sign * 0.09 * np.cos(side), yaw], 1))
    air = np.clip((phase - 0.6) / 0.4, 0, 1)
    moved = spots[0] + (spots[1] - spots[0]) * _smooth(air)[:, None]
    length = np.hypot(*(spots[1] - spots[0])[:, :2].T) + 0.01 * np.abs(spots[1] - spots[0])[:, 2]
    effort = np.clip(length / 0.9, 0, 1)
    toe_off = 32 * _smooth((phase - 0.38) / 0.22) * (1 - _smooth(air / 0.7))
    landing = -14 * _smooth((air - 0.5) / 0.25) * (1 - _smooth((air - 0.75) / 0.25))
    pitch = effort * (toe_off + landing)
    turn = _turn("z", moved[:, 2]) @ _turn("y", pitch)
    pivot = np.where(pitch[:, None] > 0, _BALL, _HEEL)
    still = np.einsum("nij,nj->ni", _turn("z", moved[:, 2]), pivot)
    ankle = np.column_stack([moved[:, :2], np.full(len(t), 0.07)])
    ankle += still - np.einsum("nij,nj->ni", turn, pivot)
    ankle[:, 2] += 0.09 * np.sqrt(effort) * np.sin(np.pi * air) ** 2
    return ankle, moved[:, 2], pitch, 1 - _smooth(air / 0.3)


def _leg(reach: Array, yaw: Array, upper: float, lower: float) -> tuple[Array, Array]:
    """World rotations of thigh and shin that bring the ankle to ``reach`` [N, 3] from the hip, knee forward."""
    length = np.linalg.norm(reach, axis=1)
    along = reach / length[:, None]
    length = np.clip(length, abs(upper - lower) + 1e-6, (upper + lower) * 0.9995)
    cosine = (upper**2 + length**2 - lower**2) / (2 * upper * length)  # law of cosines, at the hip
    front = np.stack([np.cos(np.radians(yaw)), np.sin(np.radians(yaw)), np.zeros_like(yaw)], 1)
    front -= along * np.einsum("ni,ni->n", along, front)[:, None]
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    thigh = cosine[:, None] * along + np.sqrt(1 - cosine**2)[:, None] * front
    shin = (length[:, None] * along - upper * thigh) / lower
    hinge = np.cross(front, along)
    return _bone(thigh, hinge), _bone(shin, hinge)


def _bone(down: Array, left: Array) -> Array:
    """Rotations that take -Z to ``down`` and +Y to ``left``, unit vectors [N, 3] at right angles."""
    return np.stack([np.cross(left, -down), left, -down], 2)


def _turn(axis: Literal["x", "y", "z"], degrees: Array | float) -> Array:
    """Rotations about an axis, [N, 3, 3] or [3, 3]."""
    vectors = np.multiply.outer(np.radians(degrees), np.eye(3)["xyz".index(axis)])
    return np.asarray(Rotation.from_rotvec(vectors).as_matrix())


def _smooth(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
