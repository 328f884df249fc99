"""Rigid things: their meshes and how they move."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from renderers.scenes.spec import Object, Vector

SMOOTH = frozenset({"sphere", "torus", "capsule"})
"""Shapes without edges."""

GROUND_RADIUS = 200.0
GRAVITY = 9.81


def mesh(shape: str, size: Vector) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A closed surface of the given extent.

    Args:
        shape: As :attr:`Object.shape`.
        size: Extent along x, y, z in metres.

    Returns:
        Vertices [V, 3], origin at the middle of the underside; triangles [T, 3], counter-clockwise from outside.
    """
    vertices, triangles = _unit(shape)
    return (vertices * np.asarray(size)).astype(np.float32), triangles


@cache
def _unit(shape: str) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The shape in the box [-1/2, 1/2] x [-1/2, 1/2] x [0, 1]."""
    make = trimesh.creation
    if shape == "box":
        solid = make.box(extents=(1, 1, 1))
    elif shape == "sphere":
        solid = make.icosphere(subdivisions=3)
    elif shape == "cylinder":
        solid = make.cylinder(radius=1, height=2, sections=48)
    elif shape == "cone":
        solid = make.cone(radius=1, height=2, sections=48)
    elif shape == "torus":
        solid = make.torus(major_radius=2, minor_radius=1, major_sections=40, minor_sections=20)
    elif shape == "capsule":
        solid = make.capsule(height=1, radius=0.5, count=(32, 16))
    elif shape == "pyramid":
        # Its corners lie on the axes; an eighth of a turn brings its sides there.
        solid = make.cone(radius=1, height=1, sections=4)
        solid.apply_transform(trimesh.transformations.rotation_matrix(math.pi / 4, (0, 0, 1)))
    else:
        raise ValueError(f"no such shape: {shape!r}")
    low, high = solid.bounds
    vertices = (solid.vertices - low) / (high - low) - (0.5, 0.5, 0.0)
    return np.asarray(vertices, np.float64), np.asarray(solid.faces, np.int32)


@cache
def ground() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A disc of :data:`GROUND_RADIUS` metres at z = 0, facing up, with finer triangles near the middle."""
    sectors, radii = 32, np.geomspace(1.0, GROUND_RADIUS, 12)
    angles = np.arange(sectors) * 2 * np.pi / sectors
    rings = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    flat = np.concatenate([np.zeros((1, 2)), rings.reshape(-1, 2)])
    here, there = np.arange(sectors), (np.arange(sectors) + 1) % sectors
    triangles = [np.stack([np.zeros(sectors, int), 1 + here, 1 + there], 1)]
    for ring in range(len(radii) - 1):
        inner, outer = 1 + ring * sectors, 1 + (ring + 1) * sectors
        triangles.append(np.stack([inner + here, outer + here, outer + there], 1))
        triangles.append(np.stack([inner + here, outer + there, inner + there], 1))
    vertices = np.concatenate([flat, np.zeros((len(flat), 1))], 1)
    return vertices.astype(np.float32), np.concatenate(triangles).astype(np.int32)


def transforms(thing: Object, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Own coordinates to world at the given moments, float64 [N, 4, 4]. What stands on the ground stays above it."""
    seconds = np.asarray(seconds, np.float64)
    motion, at = thing.motion, np.asarray(thing.position, np.float64)
    cycle = seconds / motion.period + motion.phase
    along = _turn(motion.direction)[:3, 0]
    pose = np.tile(_turn(thing.heading), (len(seconds), 1, 1))
    pose[:, :3, 3] = at
    if motion.kind == "slide":
        pose[:, :3, 3] += motion.amplitude * np.sin(2 * np.pi * cycle)[:, None] * along
    elif motion.kind == "circle":
        pose[:, 0, 3] += motion.amplitude * np.cos(2 * np.pi * cycle)
        pose[:, 1, 3] += motion.amplitude * np.sin(2 * np.pi * cycle)
    elif motion.kind == "spin":
        pose[:, :3, :3] = np.stack([_turn(thing.heading + 360 * turn)[:3, :3] for turn in cycle])
    elif motion.kind == "bounce":
        fall = (
            cycle % 1
        )  # constant deceleration up, constant acceleration down: a parabola between two impacts
        pose[:, 2, 3] += motion.amplitude * 4 * fall * (1 - fall)
    elif motion.kind == "swing":
        angle = math.radians(motion.amplitude) * np.sin(2 * np.pi * cycle)
        # A positive turn about it takes what hangs down towards the direction.
        across = np.cross(along, (0, 0, 1))
        swing = Rotation.from_rotvec(angle[:, None] * across).as_matrix()
        at = at + np.array([0, 0, _clearance(thing)])
        pivot = at + np.array([0, 0, pendulum_length(motion.period)])
        pose[:, :3, :3] = swing @ pose[:, :3, :3]
        pose[:, :3, 3] = swing @ (at - pivot) + pivot
    return pose


def pendulum_length(period: float) -> float:
    """Metres between pivot and bob of a pendulum with this period (small angles): g (T / 2 pi)^2."""
    return GRAVITY * (period / (2 * math.pi)) ** 2


def _clearance(thing: Object) -> float:
    """How far a swinging thing has to hang above its position so that no corner goes below the ground.

    With half-width d and pendulum length l, the leading corner of the tilted underside is
    d sin(angle) - l (1 - cos(angle)) below the lowest point, which is greatest at tan(angle) = d / l.
    """
    turn = math.radians(thing.heading - thing.motion.direction)
    half = (abs(thing.size[0] * math.cos(turn)) + abs(thing.size[1] * math.sin(turn))) / 2
    length = pendulum_length(thing.motion.period)
    angle = min(math.radians(abs(thing.motion.amplitude)), math.atan2(half, length))
    return max(0.0, half * math.sin(angle) - length * (1 - math.cos(angle)) - thing.position[2])


def _turn(degrees: float) -> NDArray[np.float64]:
    """Rotation about Z, [4, 4]."""
    return np.asarray(trimesh.transformations.rotation_matrix(math.radians(degrees), (0, 0, 1)), np.float64)
