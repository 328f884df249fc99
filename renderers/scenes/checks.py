"""Checks before rendering: a camera that would show nothing useful is found while it costs nothing.

A problem is one line: a reason word, a colon, and what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from renderers.scenes.bake import TRUNK, Baked, Body, world_vertices
from renderers.scenes.spec import Camera
from renderers.scenes.trajectories import Path

DISTANCE = 0.4
"""Metres that a camera keeps from everything."""

ALTITUDE = 0.15
"""Metres that a camera stays above the ground."""

LENSES = (10.0, 200.0)
"""Millimetres."""

IN_PICTURE, UNCOVERED, SHARE = 0.5, 0.35, 0.004
"""Of the subject at least: how much is inside the picture, how much of that is seen; what share of the picture."""

ABSENT = 0.2
"""Share of the pictures that may be without it: cameras pan."""

NEAR, BACKGROUND, GLIMPSE = 0.15, 0.8, 0.004
"""Shares of the picture: what is very near at most, what is background at most, what must be seen at least."""


def scene_problem(baked: Baked) -> str | None:
    """Why a scene is no good for any camera: somebody walks through something.

    People are as wide as their trunks here: raised arms may pass over things.
    """
    trunks = baked.joints[:, :, TRUNK].mean(axis=2)  # [F + 2, P, 3]
    for number, person in enumerate(baked.people):
        trunk = trunks[:, number]
        for other, name in enumerate(baked.people[:number]):
            gap = float(np.nanmin(np.linalg.norm((trunk - trunks[:, other])[:, :2], axis=1)))
            if gap < 0.4:
                return f"collision: {person} comes within {gap:.2f} m of {name}"
        for body in baked.bodies:
            if body.transforms is not None and body.name != "ground":
                knees = trunk * (1, 1, 0.5)  # low enough to meet what stands on the ground
                gap = float(_box_distance(body, knees).min())
                if gap < 0.15:
                    return f"collision: {person} comes within {gap:.2f} m of {body.name}"
    return None


def geometry_problem(camera: Camera, path: Path, baked: Baked) -> str | None:
    """Why a camera's path is no good, by geometry alone.

    Args:
        camera: For its name.
        path: The path in frames -1 to F.
        baked: The scene that it sees.
    """
    low, high = LENSES
    if not (np.isfinite(path.c2w).all() and np.isfinite(path.lens).all()):
        return f"not_finite: the path of {camera.name}"
    if path.lens.min() < low or path.lens.max() > high:
        return (
            f"lens: {camera.name} goes from {path.lens.min():.1f} to {path.lens.max():.1f} mm, "
            f"allowed are {low:g} to {high:g}"
        )
    eyes = path.c2w[:, :3, 3]
    if (lowest := eyes[:, 2].min()) < ALTITUDE:
        return f"below_ground: {camera.name} goes down to {lowest:.2f} m"
    for body in baked.bodies:
        if body.name == "ground":
            continue
        gaps = _box_distance(body, eyes) if body.cache is None else _vertex_distance(body, eyes)
        frame = int(np.argmin(gaps))
        if gaps[frame] < DISTANCE:
            return f"too_near: {camera.name} comes within {gaps[frame]:.2f} m of {body.name} in frame {frame - 1}"
    return None


def picture_problem(
    ids: NDArray[np.integer],
    depth: NDArray[np.floating],
    subject: int,
    points: NDArray[np.float64],
    *,
    also: Sequence[int] = (),
) -> str | None:
    """Why a camera's pictures are no good, from a few tiny ones.

    The subject may be missing in a few of them.

    Args:
        ids: Body index per pixel, [K, h, w]; 0 is background.
        depth: Planar depth per pixel in metres, [K, h, w].
        subject: Index of what the camera is about.
        points: Vertices of the subject in pixels of these pictures, [K, V, 2]; NaN behind the camera.
        also: Indices of bodies that must be seen on average, such as an edited object.
    """
    for picture, distance in zip(ids, depth, strict=True):
        if (share := float((distance < DISTANCE).mean())) > NEAR:
            return f"too_near: {share:.0%} of a picture is nearer than {DISTANCE:g} m"
        if (share := float((picture == 0).mean())) > BACKGROUND:
            return f"empty: {share:.0%} of a picture is background"
    found = [_subject_problem(picture, subject, own) for picture, own in zip(ids, points, strict=True)]
    problems = [problem for problem in found if problem]
    if len(problems) > ABSENT * len(found):
        return f"{problems[0]} ({len(problems)} of {len(found)} pictures are bad)"
    for index in also:
        if (share := float((ids == index).mean())) < GLIMPSE:
            return f"unseen: body {index} fills {share:.2%} on average"
    return None


def _subject_problem(picture: NDArray[np.integer], subject: int, points: NDArray[np.float64]) -> str | None:
    """What is wrong with the subject in one picture [h, w], its vertices being at ``points`` [V, 2]."""
    height, width = picture.shape
    inside = ((points >= 0) & (points < (width, height))).all(axis=1)  # False for NaN
    if inside.mean() < IN_PICTURE:
        return f"out_of_frame: {inside.mean():.0%} of the subject is in the picture"
    column, row = np.floor(points[inside]).astype(int).T
    if (seen := float((picture[row, column] == subject).mean())) < UNCOVERED:
        return f"covered: {seen:.0%} of the subject is seen"
    if (share := float((picture == subject).mean())) < SHARE:
        return f"too_small: the subject fills {share:.2%}"
    return None


def _box_distance(body: Body, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres from one point per entry [F + 2, 3] to a rigid body's box, which turns with it; 0 inside."""
    assert body.transforms is not None
    offset = points - body.transforms[:, :3, 3]
    local = np.einsum("fji,fj->fi", body.transforms[:, :3, :3], offset)  # the inverse of a rotation
    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    outside = np.maximum(0, np.maximum(low - local, local - high))
    return np.asarray(np.linalg.norm(outside, axis=1), np.float64)


def _vertex_distance(body: Body, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres from one point per entry [F + 2, 3] to a deforming body's nearest vertex.

    Bodies are meshed finer and are slimmer than :data:`DISTANCE`, so a point inside is near a vertex as well.
    """
    entries = range(len(points))
    gaps = [cKDTree(world_vertices(body, [entry])[0]).query(points[entry])[0] for entry in entries]
    return np.array(gaps, np.float64)
