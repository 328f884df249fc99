"""A mannequin in clothes: a smooth skinned mesh around a skeleton in the standard pose of `bind`.

Lengths along limbs come from the bones; girths, head, hands and feet are fractions of the stature, after the
proportions in D. Winter, "Biomechanics and Motor Control of Human Movement", fig. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.scenes.bind import Bind
from renderers.scenes.head import HEIGHT, Head
from renderers.scenes.joints import Finger, Limbs, Rig
from renderers.scenes.lofts import Chain, Part, loft, per_vertex, tube

Array = NDArray[np.float64]

MATERIALS = ("skin", "top", "trousers", "hair", "shoes", "eyes", "lips")
"""What the numbers in `Mannequin.material` mean."""

_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True, kw_only=True)
class Mannequin:
    """A mesh in the standard pose, in the unit of the skeleton.

    Attributes:
        vertices: float64 [V, 3].
        triangles: Counter-clockwise seen from outside, int32 [T, 3].
        material: Index into `MATERIALS`, int32 [T].
        weights: How much of a vertex follows each joint, float64 [V, J]; rows sum to 1.
        markers: Where the points of COCO-WholeBody are, float64 [133, 3]; NaN for what the skeleton does not have.
        marker_weights: float64 [133, J].
    """

    vertices: Array
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    weights: Array
    markers: Array
    marker_weights: Array


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What all parts of one body share.

    Attributes:
        at: Joint positions, [J, 3].
        rig: Which joint is what.
        unit: The stature.
        girth: The stature times the build.
        head: Where the head is.
    """

    at: Array
    rig: Rig
    unit: float
    girth: float
    head: Head

    def chain(self, joints: list[int], starts: list[float], blend: float) -> Chain:
        """Joints with the distance at which each begins; ``blend`` is of the stature."""
        return Chain(joints=joints, starts=starts, blend=blend * self.unit, total=len(self.at))

    def rigid(self, joint: int, count: int) -> Array:
        """Weights of vertices that follow one joint, [count, J]."""
        weights = np.zeros((count, len(self.at)))
        weights[:, joint] = 1.0
        return weights


def mannequin(bind: Bind, rig: Rig, build: float = 1.0) -> Mannequin:
    """Model a body on a skeleton.

    Args:
        bind: The skeleton in the standard pose.
        rig: Which joint is what.
        build: Girth of trunk and limbs; 1 is average.
    """
    f, head = bind.stature, bind.points[rig.head]
    shoulders = bind.points[[rig.left.arm, rig.right.arm], 2].mean()
    crown = np.clip(shoulders + 0.182 * f, head[2] + 0.09 * f, head[2] + 0.15 * f)
    chin = np.array([head[0] + 0.008 * f, 0.0, crown - HEIGHT * f])
    frame = _Frame(at=bind.points, rig=rig, unit=f, girth=f * build, head=Head(chin=chin, unit=f))

    parts = [*_trunk(frame), _neck(frame), *_head(frame)]
    for limbs, sign in ((rig.left, 1.0), (rig.right, -1.0)):
        parts += [*_arm(frame, limbs, sign), *_hand(frame, limbs), _leg(frame, limbs), _shoe(frame, limbs)]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    markers, marker_weights = _markers(frame)
    return Mannequin(
        vertices=np.concatenate([part.vertices for part in parts]),
        triangles=np.concatenate(
            [part.triangles + np.int32(start) for part, start in zip(parts, starts, strict=True)]
        ),
        material=np.repeat(
            np.array([MATERIALS.index(part.material) for part in parts], np.int32),
            [len(part.triangles) for part in parts],
        ),
        weights=np.concatenate([part.weights for part in parts]),
        markers=markers,
        marker_weights=marker_weights,
    )


def _trunk(frame: _Frame) -> list[Part]:
    """Seat of the trousers, and shirt."""
    f, g, rig = frame.unit, frame.girth, frame.rig
    hips = np.abs(frame.at[[rig.left.thigh, rig.right.thigh], 1]).mean()
    wide = np.abs(frame.at[[rig.left.arm, rig.right.arm], 1]).mean()
    forward, _, rise = frame.at[[rig.left.arm, rig.right.arm]].mean(0)
    chain = frame.chain(list(rig.spine), [float(frame.at[joint, 2]) for joint in rig.spine], 0.04)
    along = np.array([forward / rise, 0.0, 1.0])  # s is the height
    seat = [
        (-0.078 * f, 0.020 * g, 0.015 * g),
        (-0.065 * f, 0.040 * g, 0.5 * hips + 0.015 * g),
        (-0.030 * f, 0.060 * g, hips + 0.036 * g),
        (0.010 * f, 0.063 * g, hips + 0.042 * g),
        (0.060 * f, 0.056 * g, 0.5 * hips + 0.060 * g),
        (0.100 * f, 0.045 * g, 0.070 * g),
    ]
    shirt = [
        (-0.010 * f, 0.068 * g, hips + 0.047 * g),
        (0.16 * rise, 0.066 * g, hips + 0.042 * g),
        (0.40 * rise, 0.059 * g, 0.3 * hips + 0.066 * g),
        (0.66 * rise, 0.066 * g, 0.55 * wide + 0.028 * g),
        (0.84 * rise, 0.064 * g, 0.80 * wide + 0.006 * g),
        (0.95 * rise, 0.057 * g, 0.97 * wide),
        (rise + 0.008 * f, 0.049 * g, 0.93 * wide),
        (rise + 0.024 * f, 0.043 * g, 0.68 * wide),
        (rise + 0.040 * f, 0.039 * f, 0.044 * f),
        (rise + 0.046 * f, 0.035 * f, 0.037 * f),
    ]
    origin = np.zeros(3)
    return [
        tube(origin, along, _X, seat, rings=7, sides=20, chain=chain, material="trousers", power=2.3),
        tube(origin, along, _X, shirt, rings=15, sides=22, chain=chain, material="top", power=2.3),
    ]


def _neck(frame: _Frame) -> Part:
    f, rig, chin = frame.unit, frame.rig, frame.head.chin
    shoulders = frame.at[[rig.left.arm, rig.right.arm]].mean(0)
    low = np.array([shoulders[0], 0.0, shoulders[2] - 0.01 * f])
    rise = chin[2] + 0.045 * f - low[2]
    along = (np.array([chin[0] - 0.012 * f, 0.0, low[2] + rise]) - low) / rise  # s is the height above it
    starts = [0.0, *(float(frame.at[joint, 2] - low[2]) for joint in rig.neck)]
    chain = frame.chain([rig.spine[-1], *rig.neck], starts, 0.02)
    g = 0.6 * f + 0.4 * frame.girth
    table = [(0.0, 0.040 * g, 0.042 * g), (0.05 * f, 0.033 * g, 0.034 * g), (rise, 0.031 * g, 0.033 * g)]
    return tube(low, along, _X, table, rings=7, sides=16, chain=chain, material="skin")


def _head(frame: _Frame) -> list[Part]:
    return [
        Part(
            vertices=vertices,
            triangles=triangles,
            material=material,
            weights=frame.rigid(frame.rig.head, len(vertices)),
        )
        for vertices, triangles, material in frame.head.surfaces()
    ]


def _arm(frame: _Frame, limbs: Limbs, sign: float) -> list[Part]:
    """Short sleeve, and bare arm."""
    f, g = frame.unit, frame.girth
    top, upper, lower, along = _limb(frame, limbs.arm, limbs.forearm, limbs.hand)
    joints = [
        limbs.collar if limbs.collar >= 0 else frame.rig.spine[-1],
        limbs.arm,
        limbs.forearm,
        limbs.hand,
    ]
    starts = [0.0, 0.0, upper, upper + lower]
    sleeve = [
        (-0.030 * f, 0.018 * g),
        (-0.012 * f, 0.028 * g),
        (0.015 * f, 0.033 * g),
        (0.30 * upper, 0.033 * g),
        (0.60 * upper, 0.032 * g),
    ]
    bare = [
        (0.45 * upper, 0.0250 * g),
        (0.75 * upper, 0.0260 * g),
        (upper, 0.0225 * g),
        (upper + 0.25 * lower, 0.0240 * g),
        (upper + 0.70 * lower, 0.0185 * g),
        (upper + lower - 0.01 * f, 0.0150 * g),
        (upper + lower + 0.01 * f, 0.0150 * f),
    ]
    level = np.outer(
        [max(-s, 0.0) for s, _ in sleeve], along - sign * _Y
    )  # inside the trunk it does not slope
    return [
        tube(
            *(top, along, _X, [(s, r, r) for s, r in sleeve]),
            rings=8,
            sides=14,
            chain=frame.chain(joints, starts, 0.03),
            material="top",
            shift=level,
        ),
        tube(
            *(top, along, _X, [(s, r, r) for s, r in bare]),
            rings=11,
            sides=12,
            chain=frame.chain(joints, starts, 0.025),
            material="skin",
        ),
    ]


def _hand(frame: _Frame, limbs: Limbs) -> list[Part]:
    """Palm and fingers where the skeleton has them, a mitten with a thumb where not."""
    f, wrist = frame.unit, frame.at[limbs.hand]
    along = _limb(frame, limbs.arm, limbs.forearm, limbs.hand)[3]
    chain = frame.chain([limbs.hand], [0.0], 0.01)
    if limbs.fingers:
        knuckles = np.stack([frame.at[finger[0]] for finger in limbs.fingers[1:]])
        reach = float(np.linalg.norm(knuckles.mean(0) - wrist))
        along = (knuckles.mean(0) - wrist) / reach
        across = knuckles[0] - knuckles[-1]
        across = across - along * np.dot(across, along)
        half = 0.5 * float(np.linalg.norm(across)) + 0.006 * f
        across = across / np.linalg.norm(across)
        palm = [
            (-0.005 * f, 0.7 * half, 0.013 * f),
            (0.5 * reach, half, 0.011 * f),
            (reach + 0.004 * f, half, 0.008 * f),
        ]
        fingers = [_finger(frame, finger) for finger in limbs.fingers]
        return [tube(wrist, along, across, palm, rings=5, sides=12, chain=chain, material="skin"), *fingers]
    mitten = [
        (-0.008 * f, 0.015 * f, 0.014 * f),
        (0.020 * f, 0.021 * f, 0.012 * f),
        (0.050 * f, 0.024 * f, 0.011 * f),
        (0.080 * f, 0.020 * f, 0.009 * f),
        (0.100 * f, 0.013 * f, 0.006 * f),
        (0.107 * f, 0.003 * f, 0.002 * f),
    ]
    radii = ((0.0, 0.0090), (0.020, 0.0085), (0.040, 0.0070), (0.050, 0.0020))
    thumb = [(s * f, r * f, r * f) for s, r in radii]
    root = wrist + 0.015 * f * along + 0.010 * f * _X
    return [
        tube(wrist, along, _X, mitten, rings=9, sides=12, chain=chain, material="skin"),
        tube(
            *(root, 0.75 * along + 0.66 * _X, np.cross(along, _X), thumb),
            rings=5,
            sides=8,
            chain=chain,
            material="skin",
        ),
    ]


def _finger(frame: _Frame, finger: Finger) -> Part:
    points = np.stack([place for _, place in _finger_points(frame, finger)])
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    s = np.linspace(0, reached[-1], 10)
    centres = np.stack([np.interp(s, reached, points[:, axis]) for axis in range(3)], 1)
    along = (points[-1] - points[0]) / np.linalg.norm(points[-1] - points[0])
    v = np.cross(along, _X if abs(along[0]) < 0.9 else _Z)
    v /= np.linalg.norm(v)
    radii = frame.unit * np.interp(s / s[-1], [0, 0.5, 0.9, 1], [0.0058, 0.0052, 0.0042, 0.0015])
    vertices, triangles = loft(centres, np.cross(v, along), v, radii, radii, 8)
    chain = frame.chain(list(finger[:3]), [float(length) for length in reached[:3]], 0.004)
    weights = per_vertex(chain.weights(s), 8)
    return Part(vertices=vertices, triangles=triangles, material="skin", weights=weights)


def _leg(frame: _Frame, limbs: Limbs) -> Part:
    """Trouser leg."""
    f, g = frame.unit, frame.girth
    top, upper, lower, along = _limb(frame, limbs.thigh, limbs.shin, limbs.foot)
    starts = [0.0, 0.0, upper, upper + lower + 0.02 * f]
    chain = frame.chain([frame.rig.hips, limbs.thigh, limbs.shin, limbs.foot], starts, 0.035)
    profile = [
        (-0.030 * f, 0.044 * g),
        (0.010 * f, 0.056 * g),
        (0.30 * upper, 0.055 * g),
        (0.70 * upper, 0.045 * g),
        (upper, 0.039 * g),
        (upper + 0.30 * lower, 0.039 * g),
        (upper + 0.70 * lower, 0.033 * g),
        (upper + lower - 0.005 * f, 0.031 * g),
    ]
    table = [(s, r, r) for s, r in profile]
    return tube(top, along, _X, table, rings=14, sides=14, chain=chain, material="trousers")


def _shoe(frame: _Frame, limbs: Limbs) -> Part:
    """A shoe with a flat sole."""
    f = frame.unit
    ground, along, ball = _foot(frame, limbs)
    rows = np.array(  # distance from below the ankle, half width, height of the upper
        [
            [-0.046 * f, 0.006 * f, 0.020 * f],
            [-0.042 * f, 0.015 * f, 0.034 * f],
            [-0.025 * f, 0.021 * f, 0.058 * f],
            [0.005 * f, 0.022 * f, 0.062 * f],
            [0.35 * ball + 0.01 * f, 0.022 * f, 0.048 * f],
            [ball, 0.027 * f, 0.030 * f],
            [ball + 0.025 * f, 0.024 * f, 0.023 * f],
            [ball + 0.042 * f, 0.013 * f, 0.016 * f],
            [ball + 0.047 * f, 0.004 * f, 0.008 * f],
        ]
    )
    middle = 0.35 * rows[:, 2]  # of a ring; what reaches below the sole is flattened
    table = [(s, high - low, wide) for (s, wide, high), low in zip(rows, middle, strict=True)]
    joints = [limbs.foot, limbs.toe] if limbs.toe >= 0 else [limbs.foot]
    shoe = tube(
        *(ground, along, _Z, table),
        rings=12,
        sides=14,
        chain=frame.chain(joints, [0.0, ball][: len(joints)], 0.015),
        material="shoes",
        power=2.4,
        shift=np.outer(middle, _Z),
    )
    shoe.vertices[:, 2] = np.maximum(shoe.vertices[:, 2], ground[2])
    return shoe


def _markers(frame: _Frame) -> tuple[Array, Array]:
    """The points of COCO-WholeBody: positions [133, 3] and weights [133, J]."""
    f, rig, head = frame.unit, frame.rig, frame.head
    places, followed = np.full((133, 3), np.nan), np.full(133, rig.hips)

    def put(index: int, joint: int, place: Array) -> None:
        places[index], followed[index] = place, joint

    put(0, rig.head, head.nose())
    for side, (limbs, sign) in enumerate(((rig.left, 1.0), (rig.right, -1.0))):
        put(1 + side, rig.head, head.eye(sign))
        put(3 + side, rig.head, head.ear(sign))
        joints = (limbs.arm, limbs.forearm, limbs.hand, limbs.thigh, limbs.shin, limbs.foot)
        for row, joint in enumerate(joints):
            put(5 + 2 * row + side, joint, frame.at[joint])
        ground, along, ball = _foot(frame, limbs)
        sole, outward = ground + 0.008 * f * _Z, sign * np.cross(_Z, along)
        toe = limbs.toe if limbs.toe >= 0 else limbs.foot
        put(17 + 3 * side, toe, sole + (ball + 0.038 * f) * along - 0.008 * f * outward)
        put(18 + 3 * side, toe, sole + (ball + 0.022 * f) * along + 0.018 * f * outward)
        put(19 + 3 * side, limbs.foot, sole - 0.040 * f * along)
        put(91 + 21 * side, limbs.hand, frame.at[limbs.hand])
        for number, finger in enumerate(limbs.fingers):
            for row, (joint, place) in enumerate(_finger_points(frame, finger)):
                put(92 + 21 * side + 4 * number + row, joint, place)
    for index, place in enumerate(head.landmarks()):
        put(23 + index, rig.head, place)
    weights = np.zeros((133, len(frame.at)))
    weights[np.arange(133), followed] = 1.0
    return places, weights


def _limb(frame: _Frame, top: int, middle: int, end: int) -> tuple[Array, float, float, Array]:
    """Where a limb starts, the lengths of its two bones, and its direction."""
    upper = float(np.linalg.norm(frame.at[middle] - frame.at[top]))
    lower = float(np.linalg.norm(frame.at[end] - frame.at[middle]))
    return frame.at[top], upper, lower, (frame.at[end] - frame.at[top]) / (upper + lower)


def _foot(frame: _Frame, limbs: Limbs) -> tuple[Array, Array, float]:
    """The sole below the ankle, the horizontal direction of the foot, and how far the ball is from the ankle."""
    f, ankle = frame.unit, frame.at[limbs.foot]
    if limbs.toe < 0:
        return ankle - 0.042 * f * _Z, _X, 0.083 * f
    forward, left, up = frame.at[limbs.toe] - ankle
    ground = ankle - max(0.042 * f, 0.012 * f - up) * _Z
    length = float(np.hypot(forward, left))
    ball = float(np.clip(length, 0.06 * f, 0.11 * f))
    return ground, np.array([forward / length, left / length, 0.0]), ball


def _finger_points(frame: _Frame, finger: Finger) -> list[tuple[int, Array]]:
    """Joint that moves it and position, from knuckle to tip."""
    points = [(joint, frame.at[joint]) for joint in finger[:3]]
    if finger[3] >= 0:
        return [*points, (finger[3], frame.at[finger[3]])]
    return [*points, (finger[2], points[2][1] + 0.9 * (points[2][1] - points[1][1]))]
