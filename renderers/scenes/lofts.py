"""Lofts: closed surfaces through elliptical rings, and how their rings follow a chain of joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A closed piece of a skinned mesh.

    Attributes:
        vertices: float64 [V, 3].
        triangles: Counter-clockwise seen from outside, int32 [T, 3].
        material: Its name.
        weights: How much of a vertex follows each joint, float64 [V, J]; rows sum to 1.
    """

    vertices: Array
    triangles: NDArray[np.int32]
    material: str
    weights: Array


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Joints one after the other along a limb.

    Attributes:
        joints: Indices.
        starts: Distance along the limb at which each begins; the first one's counts for nothing.
        blend: Half the length over which one gives way to the next.
        total: How many joints the skeleton has.
    """

    joints: Sequence[int]
    starts: Sequence[float]
    blend: float
    total: int

    def weights(self, s: Array) -> Array:
        """Weights [S, J] at distances ``s`` [S]: smooth steps from joint to joint, whose differences add up to 1."""
        starts = np.maximum.accumulate(np.array(self.starts[1:]))
        steps = [smoothstep((s - start + self.blend) / (2 * self.blend)) for start in starts]
        weights = np.zeros((len(s), self.total))
        for joint, this, after in zip(
            self.joints, [np.ones_like(s), *steps], [*steps, np.zeros_like(s)], strict=True
        ):
            weights[:, joint] += this - after
        return weights


def tube(
    origin: Array,
    along: Array,
    v: Array,
    table: Sequence[tuple[float, float, float]],
    *,
    rings: int,
    sides: int,
    chain: Chain,
    material: str,
    power: float = 2.0,
    shift: Array | None = None,
) -> Part:
    """A closed tube around the line origin + s along.

    Args:
        origin: Where s is 0, [3].
        along: Direction, [3].
        v: Axis of the first radius, a unit vector at right angles to ``along``, about.
        table: Stations: s, radius along ``v``, radius across; a smooth curve goes through them.
        rings: How fine along the line, about.
        sides: How fine around it.
        chain: What its rings follow.
        material: Its name.
        power: Of the superellipse; 2 is an ellipse, more is boxier.
        shift: What is added to the line at each station, [stations, 3].
    """
    stations = np.array(table)
    first, last = stations[0, 0], stations[-1, 0]
    s = np.unique([*np.linspace(first, last, rings), stations[1, 0], stations[-2, 0]])
    radii = PchipInterpolator(stations[:, 0], stations[:, 1:])(s)
    centres = origin + np.outer(s, along)
    if shift is not None:
        centres = centres + PchipInterpolator(stations[:, 0], shift)(s)
    u = np.cross(v, along / np.linalg.norm(along))
    vertices, triangles = loft(centres, u, v, radii[:, 1], radii[:, 0], sides, power)
    weights = per_vertex(chain.weights(s), sides)
    return Part(vertices=vertices, triangles=triangles, material=material, weights=weights)


def loft(
    centres: Array, u: Array, v: Array, along_u: Array, along_v: Array, sides: int, power: float = 2.0
) -> tuple[Array, NDArray[np.int32]]:
    """Vertices [V, 3] and triangles [T, 3] of a closed surface through superelliptical rings.

    The first vertex is the middle of the first cap, the last one that of the last. Triangles face outwards when the
    rings advance along u x v.

    Args:
        centres: Of the rings, [R, 3].
        u: One axis of all rings, unit vector.
        v: The other one.
        along_u: Radii along ``u``, [R].
        along_v: Radii along ``v``, [R].
        sides: Vertices of a ring.
        power: Of the superellipse |x|^power + |y|^power = 1.
    """
    angle = 2 * np.pi * np.arange(sides) / sides
    cosine, sine = (np.sign(wave) * np.abs(wave) ** (2 / power) for wave in (np.cos(angle), np.sin(angle)))
    rings = centres[:, None] + np.multiply.outer(np.outer(along_u, cosine), u)
    rings = rings + np.multiply.outer(np.outer(along_v, sine), v)
    vertices = np.concatenate([centres[:1], rings.reshape(-1, 3), centres[-1:]])

    index = 1 + np.arange(len(centres) * sides).reshape(-1, sides)
    after = np.roll(index, -1, axis=1)
    lower = np.stack([index[:-1], after[:-1], index[1:]], -1)
    upper = np.stack([index[1:], after[:-1], after[1:]], -1)
    first = np.stack([np.zeros(sides, np.int64), after[0], index[0]], -1)
    last = np.stack([np.full(sides, len(vertices) - 1), index[-1], after[-1]], -1)
    triangles = np.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3), first, last])
    return vertices, triangles.astype(np.int32)


def ellipsoid(centre: Array, radii: Array) -> tuple[Array, NDArray[np.int32]]:
    """Vertices and triangles of an ellipsoid along the axes."""
    polar = np.linspace(-0.49 * np.pi, 0.49 * np.pi, 7)
    x, y, z = np.eye(3)
    centres = centre + np.outer(radii[2] * np.sin(polar), z)
    return loft(centres, x, y, radii[0] * np.cos(polar), radii[1] * np.cos(polar), 10)


def per_vertex(weights: Array, sides: int) -> Array:
    """From one row a ring to one row a vertex of a loft."""
    return np.concatenate([weights[:1], np.repeat(weights, sides, axis=0), weights[-1:]])


def smoothstep(x: Array) -> Array:
    """0 up to 0, 1 from 1 on, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
