"""Points on the surfaces of a scene, whose true 3D tracks are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.scenes.bake import Baked, Body, world_vertices

MOVING = 4.0
"""How much denser the points lie on what moves."""

GROUND_REACH = 6.0
"""Metres around the subject in which the ground has points."""

FIRST = 1
"""The entry of frame 0 in a body's motion."""


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Points fixed to bodies; they mean the same under an edit or another time map.

    Attributes:
        body: Index of the body, int32 [N].
        triangle: Index into the body's triangles, int32 [N].
        barycentric: Weights of the triangle's corners, float64 [N, 3].
    """

    body: NDArray[np.int32]
    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float64]


def choose(baked: Baked, count: int, rng: np.random.Generator) -> Anchors:
    """Scatter ``count`` points over the bodies.

    Half of them are shared out evenly, so that small things get some too, the other half by area, what moves counting
    :data:`MOVING` times; the ground has its even share alone. On a body they are uniform by area, but none lie on
    faces that rest on the ground in frame 0.
    """
    triangles = [_areas(baked, body) for body in baked.bodies]
    weights = np.array(
        [
            0.0 if body.name == "ground" else area.sum() * (MOVING if moves(body) else 1.0)
            for body, area in zip(baked.bodies, triangles, strict=True)
        ]
    )
    even = np.full(len(weights), 1 / len(weights))
    by_area = weights / weights.sum() if weights.any() else even
    # Largest remainders: the shares are rounded so that they add up.
    exact = count * (even + by_area) / 2
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1

    body_of, triangle_of = [], []
    for body, area, share in zip(baked.bodies, triangles, shares, strict=True):
        body_of.append(np.full(share, body.index, np.int32))
        triangle_of.append(rng.choice(len(area), share, p=area / area.sum()).astype(np.int32))
    # Uniform over a triangle: Osada et al., Shape Distributions, 2002, equation 1.
    root, along = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    return Anchors(
        body=np.concatenate(body_of),
        triangle=np.concatenate(triangle_of),
        barycentric=np.stack([1 - root, root * (1 - along), root * along], 1),
    )


def positions(baked: Baked, anchors: Anchors) -> NDArray[np.float64]:
    """World positions [F, N, 3] in frames 0 to F - 1; NaN on bodies that were edited away."""
    frames = len(baked.seconds) - 2
    points = np.full((frames, len(anchors.body), 3), np.nan)
    for body in baked.bodies:
        mine = anchors.body == body.index
        corners = body.triangles[anchors.triangle[mine]]
        weights = anchors.barycentric[mine]
        if body.cache is not None:
            points[:, mine] = np.einsum(
                "fnci,nc->fni", body.cache[1:-1][:, corners].astype(np.float64), weights
            )
        elif body.transforms is not None:
            rest = np.einsum("nci,nc->ni", body.vertices[corners].astype(np.float64), weights)
            pose = body.transforms[1:-1]
            points[:, mine] = np.einsum("fij,nj->fni", pose[:, :3, :3], rest) + pose[:, None, :3, 3]
    return points


def moves(body: Body) -> bool:
    """Whether it changes place or shape in the clip."""
    states = body.cache if body.transforms is None else body.transforms
    return states is not None and bool(np.ptp(states, axis=0).max() > 1e-6)


def _areas(baked: Baked, body: Body) -> NDArray[np.float64]:
    """Area of every triangle that may have points, square metres; 0 for the others."""
    corners = world_vertices(body, [FIRST])[0][body.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    middle = corners.mean(axis=1)
    if body.name == "ground":
        near = np.linalg.norm((middle - baked.subject[FIRST])[:, :2], axis=1) < GROUND_REACH
        return np.where(near, area, 0.0)
    return np.where(corners[..., 2].max(axis=1) > 1e-3, area, 0.0)
