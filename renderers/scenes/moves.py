"""What a camera move does to a rig: eye positions, orientations and lens at given moments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from renderers.scenes.trajectories import Move

Array = NDArray[np.float64]

UP = np.array([0.0, 0.0, 1.0])
STEEP = np.cos(np.radians(80.0))
"""Nearer than this (sine of the angle) to the vertical, +Z no longer says what is up in the picture."""

WAYPOINTS = 3
SHAKE_BAND = (0.3, 4.0)
"""Hertz: from the sway of a standing operator to the tremor of the arms."""
SHAKE_WAVES = 12
SHAKE_METRES = 0.01
"""Translation per degree of rotation: the camera turns about a wrist some half a metre behind it."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A camera at N moments; the first entry is frame 0, which ratios and noise refer to.

    Attributes:
        eye: World positions [N, 3].
        axes: Camera-to-world rotations, OpenCV axes in columns [N, 3, 3].
        lens: Focal lengths, millimetres [N].
        target: World positions [N, 3] of what is looked at.
        up: World direction [3] that is up in the picture.
    """

    eye: Array
    axes: Array
    lens: Array
    target: Array
    up: Array


def picture_up(eye: Array, target: Array) -> Array:
    """The direction [3] that is up in the picture of a level camera at eye [3] looking at target [3].

    +Z, unless the camera looks within 10 degrees of the vertical: then it is where the camera heads, as on a map
    with the heading at the top (+Y if exactly vertical). Chosen once per trajectory, so nothing flips over time.
    """
    view = (target - eye) / np.linalg.norm(target - eye)
    heading = np.array([view[0], view[1], 0.0])
    across = np.linalg.norm(heading)
    if across > STEEP:
        return UP
    heading = heading / across if across > 1e-9 else np.array([0.0, 1.0, 0.0])
    return np.asarray(heading * -np.sign(view[2]))


def look_at(eye: Array, target: Array, up: Array) -> Array:
    """Camera-to-world rotations [N, 3, 3] (x right, y down, z forward) of level cameras looking at the target."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, up)
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=-1)


def progress(u: Array, easing: str) -> Array:
    """How far a move has come at normalised time u: u itself, or eased by 3u² - 2u³ and at rest outside [0, 1]."""
    if easing == "constant":
        return u
    u = np.clip(u, 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def apply(rig: Rig, move: Move, u: Array, *, duration: float, subject: Array) -> Rig:
    """The rig after one move, with u [N], duration and subject [N, 3] as in ``trajectories.path``."""
    amount, done = move.amount, progress(u, move.easing)
    gone, turned = (amount * done)[:, None], np.radians(amount) * done
    match move.kind:
        case "static":
            return rig
        case "pan":
            return replace(rig, axes=_rotations(turned, UP) @ rig.axes)
        case "tilt":
            return replace(rig, axes=rig.axes @ _rotations(turned, np.array([1.0, 0.0, 0.0])))
        case "roll":
            return replace(rig, axes=rig.axes @ _rotations(turned, np.array([0.0, 0.0, 1.0])))
        case "dolly":
            return replace(rig, eye=rig.eye + gone * rig.axes[:, :, 2])
        case "truck":
            return replace(rig, eye=rig.eye + gone * rig.axes[:, :, 0])
        case "pedestal":
            return replace(rig, eye=rig.eye + gone * UP)
        case "crane":
            return _aim(rig, rig.eye + gone * UP, rig.target)
        case "arc" | "orbit":
            turn = _rotations(turned, UP)
            eye = rig.target + np.einsum("nij,nj->ni", turn, rig.eye - rig.target)
            return replace(rig, eye=eye, axes=turn @ rig.axes)
        case "spline":
            return _aim(rig, rig.eye + amount * _wander(done, move.seed), rig.target)
        case "handheld":
            shake = amount * _shake(u * duration, move.seed)
            eye = rig.eye + SHAKE_METRES * np.einsum("nij,nj->ni", rig.axes, shake[:, 3:])
            return replace(
                rig, eye=eye, axes=rig.axes @ Rotation.from_rotvec(np.radians(shake[:, :3])).as_matrix()
            )
        case "zoom":
            return replace(rig, lens=rig.lens * amount**done)
        case "dolly_zoom":
            moved = _aim(rig, subject + (rig.eye - subject) * (amount**done)[:, None], subject)
            distance = np.linalg.norm(moved.eye - subject, axis=-1)
            return replace(moved, lens=rig.lens * distance / np.linalg.norm(rig.eye[0] - subject[0]))
        case "follow":
            return replace(rig, eye=rig.eye + subject - rig.target, target=subject)


def _rotations(angle: Array, axis: Array) -> Array:
    """Rotations [N, 3, 3] by ``angle`` [N] radians about one axis."""
    rotations: Array = Rotation.from_rotvec(angle[:, None] * axis).as_matrix()
    return rotations


def _aim(rig: Rig, eye: Array, target: Array) -> Rig:
    """Move the rig and turn it as a level camera would turn to keep looking at the target; pan and roll stay on top."""
    turn = look_at(eye, target, rig.up) @ look_at(rig.eye, rig.target, rig.up).transpose(0, 2, 1)
    return replace(rig, eye=eye, axes=turn @ rig.axes, target=target)


def _wander(done: Array, seed: int) -> Array:
    """Offsets [N, 3] along a natural cubic spline from 0 through random points of the unit ball.

    Knots are spaced by chord length, which keeps the speed nearly even.
    """
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(WAYPOINTS, 3))
    points *= (rng.uniform(size=WAYPOINTS) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    points = np.concatenate([np.zeros((1, 3)), points])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    offsets: Array = CubicSpline(length / length[-1], points, bc_type="natural")(done)
    return offsets


def _shake(seconds: Array, seed: int) -> Array:
    """Band-limited noise [N, 6] of unit RMS about its mean: rotation about, then translation along, the camera's axes.

    A sum of sinusoids, so that its value at a time depends on nothing but that time; amplitudes fall with frequency
    as those of a hand do. It is 0 at 0 seconds.
    """
    rng = np.random.default_rng(seed)
    slow, fast = SHAKE_BAND
    frequency = slow * (fast / slow) ** rng.uniform(size=(6, SHAKE_WAVES))
    phase = rng.uniform(0.0, 2.0 * np.pi, (6, SHAKE_WAVES))
    weight = 1.0 / frequency
    weight *= np.sqrt(2.0 / np.sum(weight**2, axis=1, keepdims=True))
    angle = 2.0 * np.pi * frequency * seconds[:, None, None] + phase
    shake: Array = np.sum(weight * (np.sin(angle) - np.sin(phase)), axis=-1)
    return shake
