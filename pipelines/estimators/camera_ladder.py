"""Cameras without a network: the simplest motion that explains a clip, from standing still up to structure from motion.

1. Static: much of the picture stays in place. The poses are exact; the field of view cannot be told, and is assumed.
2. Rotation: the camera turns or zooms where it stands (:mod:`pipelines.estimators.rotation`).
3. Moving: structure from motion (:mod:`pipelines.estimators.colmap_worker`) and the turning camera are beginnings, of
   which :mod:`pipelines.estimators.bundle` makes the best, with one focal length or, where that pays, one for each
   frame. A camera that moves without turning shows no focal length (Sturm, Critical Motion Sequences, CVPR 1997): then
   it is the assumed one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators.bundle import PRIOR, Fit, Pairs, State, misses, pairs, solve, triangulated
from pipelines.estimators.camera_path import filled, posed, rebased, square
from pipelines.estimators.camera_tracks import STILL, Chain, follow, stillness, tolerance
from pipelines.estimators.cameras import Cameras, Frames, confidence, matrices
from pipelines.estimators.rotation import best, turning

Array = NDArray[np.float64]

TURNS, PARALLAX = 0.75, 0.3
"""A camera moves if turning explains less than the first share of what any camera's motion could, or if moving takes
the loss to less than the second part of what turning leaves. In the tests' room that is 0.4 to 0.75 for cameras that
turn or zoom, with or without other things that move, and below 0.2 for ones that go 10 cm."""

EXPLAINED, LEAST = 0.6, 0.4
"""Least share, of what any camera's motion could explain and of everything, that is explained in a frame with a camera.
"""

FITTED = 120
"""So many points of each chain are fitted."""

ASSUMED, HELD = 0.02, 0.001
"""Standard deviation of the logarithm of a focal length that is assumed, while it is looked whether the camera moves;
and of one that stays as assumed, whatever things that move by themselves would make of it."""

FOVS = (5.0, 150.0)
"""Degrees of a horizontal field of view that is possible."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The ladder, to be called with frames.

    Attributes:
        reconstruct: See :func:`pipelines.estimators.colmap_worker.reconstruct`; by name of its arguments.
        prior_fov: Horizontal field of view that is assumed, degrees.
        min_registered: Least share of the frames that must get a camera.
        longest: Pixels of the longer side that structure from motion sees at most.
    """

    reconstruct: Callable[..., dict[str, NDArray[Any]]]
    prior_fov: float
    min_registered: float
    longest: int = 640

    def __call__(self, frames: Frames) -> Cameras:
        """Cameras of a shot.

        Raises:
            UnusableClip: ``too_short``, ``no_texture``, ``cut_inside``, ``not_registered``.
        """
        if len(frames) < 2:
            raise UnusableClip("too_short", f"{len(frames)} frame does not show how a camera moves")
        grays = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
        count, (height, width) = len(grays), grays[0].shape
        middle, near = np.array([width, height]) / 2, tolerance(width)
        prior = width / 2 / np.tan(np.radians(self.prior_fov) / 2)
        chains = follow(grays)
        for reference in (0, count // 2):
            share, moved = stillness(grays, reference)
            if share >= STILL:
                still = Cameras(
                    intrinsics=matrices(np.full(count, prior), width, height),
                    extrinsics=np.tile(np.eye(4), (count, 1, 1)),
                    motion="static",
                    registered=np.ones(count, bool),
                    reprojection_px=moved,
                    points=None,
                    seen=None,
                    depth=None,
                    metric=False,
                    confidence=confidence(1.0, moved, width, measured=False),
                )
                return still
        few, every = pairs(chains, middle, FITTED), pairs(chains, middle)
        most = explicable(chains, near)
        fit = turning(chains, few, count, middle, prior)
        begins = [
            solve(few, fit.state, prior, zooms=zooms, moves=True, sure=ASSUMED) for zooms in (False, True)
        ]
        turns = float((_distance(every, fit.state) < near).mean())
        moves = turns < TURNS * most or min(begin.loss for begin in begins) < PARALLAX * fit.loss
        if moves:
            fit = self._moving(frames, few, begins, prior)
        state = replace(fit.state, inverse=np.ones(every.point.max() + 1))
        state = triangulated(every, state) if moves else state
        sure = PRIOR if fit.measured or not moves else HELD
        last = solve(every, state, prior, zooms=fit.zooms, moves=moves, sure=sure)
        fit = replace(last, spread=max(fit.spread, last.spread))
        return self._checked(fit, every, most, width, height, moves=moves)

    def _moving(self, frames: Frames, few: Pairs, begins: Sequence[Fit], prior: float) -> Fit:
        """The best fit: from where structure from motion begins, or from fits with the assumed focal length."""
        states = [begin.state for begin in begins]
        count, (height, width) = len(frames), frames[0].shape[:2]
        shrink = min(1.0, self.longest / max(height, width))
        size = round(width * shrink), round(height * shrink)
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        found = self.reconstruct(frames=small, focal=np.array(prior * size[0] / width))
        if len(found["frame"]) > 1:
            focal = found["focal"] * width / size[0]
            poses, focal = filled(found["frame"], square(found["pose"]), focal, count)
            poses = rebased(poses)
            state = replace(states[0], logs=np.log(focal), rotation=poses[:, :3, :3], shift=poses[:, :3, 3])
            state = triangulated(few, state)
            scale = float(np.median(state.inverse))
            states.append(replace(state, shift=state.shift * scale, inverse=state.inverse / scale))
        fits = [
            [solve(few, state, prior, zooms=zooms, moves=True) for state in states] for zooms in (False, True)
        ]
        fit = best(*fits)
        if fit.measured:
            return fit
        if fit.zooms:
            raise UnusableClip(
                "not_registered",
                "the lens zooms while the camera moves, and the pictures do not say which is which",
            )
        # What the pictures do not say is left where it was assumed.
        assumed = [
            solve(few, each, prior, zooms=False, moves=True, sure=HELD) for each in (fit.state, states[0])
        ]
        return replace(min(assumed, key=lambda each: each.loss), spread=fit.spread)

    def _checked(
        self, fit: Fit, every: Pairs, most: float, width: int, height: int, *, moves: bool
    ) -> Cameras:
        """A fit as cameras, unless it explains too little."""
        near, state, count = tolerance(width), fit.state, len(fit.state.logs)
        distance = _distance(every, state)
        close = distance < near
        total, agree = (np.bincount(every.two, each, count) for each in (np.ones(len(close)), close))
        enough = max(EXPLAINED * most, LEAST)
        registered = agree >= enough * np.maximum(total, 1)
        registered[0] = True
        share = float(registered.mean())
        if share < self.min_registered or close.mean() < enough:
            raise UnusableClip(
                "not_registered",
                f"{registered.sum()} of {count} frames got a camera ({self.min_registered:.0%} are needed), and "
                f"{close.mean():.0%} of how points move is explained, of {most:.0%} that a rigid scene could",
            )
        numbers = np.flatnonzero(registered)
        poses, focal = filled(
            numbers, posed(state.rotation, state.shift)[numbers], np.exp(state.logs)[numbers], count
        )
        fov = np.degrees(2 * np.arctan(width / 2 / focal))
        if fov.min() < FOVS[0] or fov.max() > FOVS[1]:
            raise UnusableClip(
                "not_registered",
                f"fields of view from {fov.min():.1f} to {fov.max():.1f} degrees make no sense",
            )
        error = float(np.median(distance[close]))
        points, seen = _points(every, state, close) if moves else (None, None)
        return Cameras(
            intrinsics=matrices(focal, width, height),
            extrinsics=rebased(poses),
            motion="moving" if moves else "rotation",
            registered=registered,
            reprojection_px=error,
            points=points,
            seen=seen,
            depth=None,
            metric=False,
            confidence=confidence(share, error, width, measured=fit.measured),
        )


def explicable(chains: Sequence[Chain], near: float) -> float:
    """Share of what was followed that agrees with one fundamental matrix for each pair of frames, within pixels."""
    agree, total = 0, 0
    for chain in chains:
        for step in range(1, len(chain.alive)):
            alive = chain.alive[step]
            total += int(alive.sum())
            if alive.sum() >= 8:
                here, there = (np.ascontiguousarray(chain.pixels[each, alive]) for each in (0, step))
                _, inliers = cv2.findFundamentalMat(here, there, cv2.USAC_DEFAULT, near, 0.999, 500)
                agree += 0 if inliers is None else int(inliers.sum())
    return agree / max(total, 1)


def _distance(found: Pairs, state: State) -> Array:
    """Pixels [M] from where cameras put points to where they were followed to; a camera that turns needs no depths."""
    if len(state.inverse) <= found.point.max():
        state = replace(state, inverse=np.ones(found.point.max() + 1))
    return np.asarray(np.linalg.norm(misses(found, state), axis=1))


def _points(
    every: Pairs, state: State, close: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points [N, 3] in frame 0's axes that hold in most of the frames they were followed to, and where [F, N]."""
    size = len(state.inverse)
    seen = np.zeros((len(state.logs), size), bool)
    seen[every.two[close], every.point[close]] = True
    followed = np.bincount(every.point, minlength=size)
    good = (seen.sum(axis=0) >= np.maximum(2, 0.8 * followed)) & (state.inverse > 0.02)
    first = np.zeros(size, int)
    rays = np.ones((size, 3))
    first[every.point] = every.one
    rays[every.point, :2] = every.here / np.exp(state.logs[every.one, None])
    seen[first, np.arange(size)] = True
    inside = rays / state.inverse[:, None] - state.shift[first]
    points = (np.swapaxes(state.rotation[first], 1, 2) @ inside[..., None])[..., 0]
    return points[good].astype(np.float32), seen[:, good]
