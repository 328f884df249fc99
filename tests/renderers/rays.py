"""A ray tracer over a few triangles in plain NumPy: what the renderer's ground truth is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from renderers.scenes.bake import Body


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What rays meet first.

    Attributes:
        depth: Planar, [P]; inf for nothing.
        ids: Body index, [P]; 0 for nothing.
        triangle: Of that body, [P].
        weights: Barycentric, [P, 3].
    """

    depth: np.ndarray
    ids: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def positions(self, bodies: Sequence[Body], entry: int) -> np.ndarray:
        """Where the points that were hit are at another moment, world [P, 3]; NaN for nothing."""
        points = np.full((len(self.ids), 3), np.nan)
        for body in bodies:
            mine = self.ids == body.index
            corners = _vertices(body, entry)[body.triangles[self.triangle[mine]]]
            points[mine] = np.einsum("nci,nc->ni", corners, self.weights[mine])
        return points


def trace(bodies: Sequence[Body], entry: int, k: np.ndarray, w2c: np.ndarray, pixels: np.ndarray) -> Hits:
    """Follow rays through pixels [P, 2] at an entry of the bodies' motion.

    Möller and Trumbore, Fast, Minimum Storage Ray/Triangle Intersection, 1997.
    """
    c2w = np.linalg.inv(w2c)
    eye = c2w[:3, 3]
    rays = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(k).T @ c2w[:3, :3].T  # depth 1 along each
    count = len(pixels)
    depth, ids, number = np.full(count, np.inf), np.zeros(count, int), np.zeros(count, int)
    weights = np.zeros((count, 3))
    for body in bodies:
        vertices = _vertices(body, entry)
        for index, triangle in enumerate(body.triangles):
            a, b, c = vertices[triangle]
            across = np.cross(rays, c - a)
            with np.errstate(divide="ignore", invalid="ignore"):  # rays along the triangle miss it
                scale = 1 / (across @ (b - a))
                u = across @ (eye - a) * scale
                v = rays @ np.cross(eye - a, b - a) * scale
                t = (c - a) @ np.cross(eye - a, b - a) * scale
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < depth)
            depth[hit], ids[hit], number[hit] = t[hit], body.index, index
            weights[hit] = np.stack([1 - u - v, u, v], -1)[hit]
    return Hits(depth=depth, ids=ids, triangle=number, weights=weights)


def _vertices(body: Body, entry: int) -> np.ndarray:
    if body.cache is not None:
        return body.cache[entry].astype(float)
    pose = body.transforms[entry]
    return body.vertices.astype(float) @ pose[:3, :3].T + pose[:3, 3]
