"""People: a mannequin performing a recording in the scene, with exactly known joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.scenes import mannequin
from renderers.scenes.bind import Bind, bind
from renderers.scenes.joints import rig
from renderers.scenes.recording import Recording, at
from renderers.scenes.spec import Person

Array = NDArray[np.float64]

MATERIALS = mannequin.MATERIALS
"""Names of the materials that `Figure.material` counts."""

_GROUND_FRAMES = 300  # of the recording, evenly spread, in which the ground is looked for
_GROUND_QUANTILE = 0.2  # toes that dig in for a moment do not lift a person off the ground


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A person at N moments.

    Attributes:
        rest: Vertices in the standard pose of `bind`, standing on z = 0 at the origin, facing +X; metres, float32
            [V, 3].
        triangles: Counter-clockwise seen from outside, int32 [T, 3].
        material: Index into `MATERIALS`, int32 [T].
        vertices: In world space, float32 [N, V, 3].
        joints: The points of COCO-WholeBody (S. Jin et al. 2020) in world space, float64 [N, 133, 3]: 17 of the body, 6
            of the feet, 68 of the face, 21 of each hand, left before right; NaN for what the skeleton does not have.
    """

    rest: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    vertices: NDArray[np.float32]
    joints: Array


def body(person: Person, recording: Recording, seconds: Array) -> Figure:
    """Put a person into the scene.

    The performance's start and speed apply here: scene second t shows the recording at start + speed * t. At t = 0 the
    hips are above ``person.position`` and face (cos heading, sin heading). Size and place do not depend on which
    ``seconds`` are asked for: the height is that of the standing body from sole to crown, and z = 0 is what the feet
    reach down to over the whole recording.

    Args:
        person: Who.
        recording: Of ``person.performance``, as ``motion.find`` returns it.
        seconds: Scene time, [N].

    Raises:
        MotionError: The skeleton is not one of a body, as far as its names tell.
    """
    parts = rig(recording)
    pose = bind(recording, parts)
    model = mannequin.mannequin(pose, parts, person.build)
    floor = model.vertices[:, 2].min()
    scale = person.height / (model.vertices[:, 2].max() - floor)

    performance = person.performance
    start = at(recording, np.array([performance.start]))
    hips, left = start.positions[0, parts.hips], start.positions[0, parts.left.thigh]
    across = left - start.positions[0, parts.right.thigh]
    turn = np.radians(person.heading) - np.arctan2(-across[0], across[1])  # facing is across x up
    cosine, sine = np.cos(turn), np.sin(turn)
    spin = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]) * scale
    ground = scale * _ground(recording, pose, model)
    place = np.array([*person.position, -ground]) - np.einsum("ij,j->i", spin, hips * (1.0, 1.0, 0.0))

    moment = at(recording, performance.start + performance.speed * np.asarray(seconds, np.float64))
    vertices = _skin(moment, pose, model.vertices, model.weights)
    joints = _skin(moment, pose, model.markers, model.marker_weights)
    vertices, joints = (np.einsum("ij,nvj->nvi", spin, points) + place for points in (vertices, joints))
    return Figure(
        rest=((model.vertices - (0.0, 0.0, floor)) * scale).astype(np.float32),
        triangles=model.triangles,
        material=model.material,
        vertices=vertices.astype(np.float32),
        joints=joints,
    )


def _skin(recording: Recording, pose: Bind, points: Array, weights: Array) -> Array:
    """Linear blend skinning, [N, V, 3]: sum over joints of w (R (v - bind) + p).

    One joint at a time, without matrix products of BLAS, whose sums depend on the number of threads.
    """
    skinned = np.zeros((len(recording.positions), len(points), 3))
    for joint in np.flatnonzero(weights.any(0)):
        rows = np.flatnonzero(weights[:, joint])
        rotations = np.einsum("nij,kj->nik", recording.rotations[:, joint], pose.turns[joint])
        moved = np.einsum("nij,vj->nvi", rotations, points[rows] - pose.points[joint])
        moved += recording.positions[:, joint, None]
        skinned[:, rows] += moved * weights[rows, joint, None]
    return skinned


def _ground(recording: Recording, pose: Bind, model: mannequin.Mannequin) -> float:
    """Height of the ground under the recording, in its unit: where the shoes get down to."""
    frames = len(recording.positions)
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, _GROUND_FRAMES)).round().astype(np.int64))
    moments = at(recording, chosen / recording.fps)
    shoes = np.unique(model.triangles[model.material == MATERIALS.index("shoes")])
    lowest = _skin(moments, pose, model.vertices[shoes], model.weights[shoes])[..., 2].min(1)
    return float(np.quantile(lowest, _GROUND_QUANTILE, method="lower"))
