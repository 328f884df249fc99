"""Bundle adjustment of followed points: cameras, and each point's inverse depth in the frame where it was first seen.

A point at K^-1 x / rho in its first camera is seen by another one at K' (R (K^-1 x - rho t) + rho t'), with R the turn
between the two and t, t' their translations (Yu and Gallup, 3D Reconstruction from Accidental Motion, CVPR 2014). A
camera that stands is the case t = 0, where depth does not matter: x' ~ K' R K^-1 x (Hartley and Zisserman, Multiple
View Geometry, 2nd ed., section 8.4). Levenberg-Marquardt; what moves in the scene is outvoted by a robust loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from pipelines.estimators.camera_tracks import Chain

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

PRIOR = 0.4
"""Standard deviation of the logarithm of the focal length about the assumed one: 50% up or down."""

SURE = 0.1
"""Standard deviation of that logarithm, after a fit, up to which it counts as measured."""

SMOOTH = 0.01
"""Standard deviation of its second difference from frame to frame, where it may change."""

SPAN = 0.1
"""Standard deviation of its difference from the first frame's, together for all frames: where a zoom and a dolly along
the line of sight cannot be told apart, the lesser zoom is taken."""

FLAT = 3.0
"""Standard deviation of an inverse depth about 1: it sets the scale, and keeps points that nothing tells of."""

NEAREST, FARTHEST = 50.0, 1e-3
"""Bounds of inverse depths."""

BEHIND = 0.05
"""Least depth of a turned ray: what would come behind the camera is wrong enough there."""

WIDE, NARROW, STEPS = 16.0, 0.5, 80
"""Width of the robust loss in pixels, at first and at last, and most steps of a fit."""

LEAST = 0.05
"""Pixels that followed points are off at least."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Points of two frames each, M in all.

    Attributes:
        one, two: Frames [M].
        point: Which of N points it is, [M].
        here, there: Places in the two frames, pixels from the middle of the picture, [M, 2].
    """

    one: Numbers
    two: Numbers
    point: Numbers
    here: Array
    there: Array


@dataclass(frozen=True, kw_only=True)
class State:
    """What is fitted.

    Attributes:
        logs: Logarithms of the focal lengths in pixels, [F].
        rotation, shift: World to camera, [F, 3, 3] and [F, 3].
        inverse: Inverse depth of each point in the frame where it was first seen, [N].
    """

    logs: Array
    rotation: Array
    shift: Array
    inverse: Array


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What came out.

    Attributes:
        state: The cameras.
        loss: Comparable between fits of the same pairs.
        spread: Standard deviation of the focal length's logarithm, the largest of all frames.
        zooms: Whether each frame has a focal length of its own.
    """

    state: State
    loss: float
    spread: float
    zooms: bool

    @property
    def measured(self) -> bool:
        """Whether the pictures say what the focal length is; else it is the assumed one, more or less."""
        return self.spread < SURE


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known besides the pairs; see :func:`solve`."""

    prior: float
    sure: float
    zooms: bool
    moves: bool

    def beside(self, state: State) -> tuple[Array, Array]:
        """What speaks against a state, in standard deviations: its focal lengths, its inverse depths."""
        lens = (state.logs[:1] - np.log(self.prior)) / self.sure
        if self.zooms:
            span = (state.logs - state.logs[0]) / (SPAN * np.sqrt(len(state.logs)))
            lens = np.concatenate([lens, np.diff(state.logs, n=2) / SMOOTH, span])
        return lens, (state.inverse - 1) / FLAT if self.moves else np.zeros(0)


def pairs(chains: Sequence[Chain], middle: Array, count: int = 10**6) -> Pairs:
    """What was followed from each chain's first frame to its others: of each the ``count`` points that last longest."""
    rows, first = list[Array](), 0
    for chain in chains:
        order = np.argsort(-chain.alive.sum(axis=0), kind="stable")[:count]
        step, point = np.nonzero(chain.alive[1:, order])
        places = [chain.pixels[0, order[point]] - middle, chain.pixels[step + 1, order[point]] - middle]
        ends = [np.full(len(step), chain.start), chain.start + step + 1, first + point]
        rows.append(np.column_stack([*ends, *places]))
        first += len(order)
    joined = np.concatenate(rows)
    one, two, point = joined[:, :3].astype(int).T
    return Pairs(one=one, two=two, point=point, here=joined[:, 3:5], there=joined[:, 5:])


def misses(found: Pairs, state: State) -> Array:
    """Vectors [M, 2] in pixels from where cameras put each point in its second frame to where it was followed to."""
    return _seen(found, state)[0] - found.there


def triangulated(found: Pairs, state: State) -> State:
    """The same with each point's inverse depth as its cameras have it, by linear least squares."""
    none = replace(state, inverse=np.zeros_like(state.inverse))
    _, there, turn = _seen(found, none)
    shift = state.shift[found.two] - (turn @ state.shift[found.one, :, None])[..., 0]
    sight = found.there / np.exp(state.logs[found.two, None])
    slope, rest = shift[:, :2] - sight * shift[:, 2:], there[:, :2] - sight * there[:, 2:]
    size = len(state.inverse)
    along = np.bincount(found.point, (slope * rest).sum(axis=1), size)
    square = np.bincount(found.point, (slope**2).sum(axis=1), size)
    return replace(state, inverse=np.clip(-along / np.maximum(square, 1e-12), FARTHEST, NEAREST))


def solve(found: Pairs, state: State, prior: float, *, zooms: bool, moves: bool, sure: float = PRIOR) -> Fit:
    """Fit cameras to pairs.

    Args:
        found: The pairs.
        state: Where to begin; frame 0's pose is kept.
        prior: The assumed focal length, pixels.
        zooms: One focal length for each frame instead of one for all.
        moves: Whether the camera leaves its place.
        sure: Standard deviation of the logarithm of the first focal length about the assumed one.
    """
    known = _Known(prior=prior, sure=sure, zooms=zooms, moves=moves)
    if not zooms:
        state = replace(state, logs=np.full_like(state.logs, state.logs.mean()))
    # Graduated non-convexity: a poor beginning must not turn the points into outliers.
    damping, width = 1e-3, WIDE
    loss = _loss(found, state, known, width)
    for _ in range(STEPS):
        reduced, vector, back = _normal(found, state, known, width, damping)
        try:
            tried = back(state, np.asarray(np.linalg.solve(reduced, vector), np.float64))
            now = _loss(found, tried, known, width)
        except np.linalg.LinAlgError:
            now = np.inf
        if not now <= loss:
            if damping > 1e8:
                break
            damping *= 10
            continue
        settled = loss - now < 1e-5 * loss
        state, loss, damping = tried, now, damping / 5
        if settled and width == NARROW:
            break
        if width > NARROW:
            width = max(NARROW, width * (0.3 if settled else 0.7))
            loss = _loss(found, state, known, width)
    noise = max(LEAST, float(np.median(np.linalg.norm(misses(found, state), axis=1))))
    # A chain's points drift, so that all its frames err alike: together they count as one.
    repeats = len(found.one) / max(1, len(np.unique(found.point)))
    reduced, _, _ = _normal(found, state, known, width, 0.0, (width / noise) ** 2 / repeats)
    variance = np.diag(np.linalg.pinv(reduced, hermitian=True))[: len(state.logs) if zooms else 1]
    spread = float(np.sqrt(variance.max()))
    return Fit(state=state, loss=loss, spread=spread, zooms=zooms)


def _seen(found: Pairs, state: State) -> tuple[Array, Array, Array]:
    """Places in the second frame [M, 2] in pixels, the points there by depth [M, 3], and turns [M, 3, 3]."""
    focal, inverse = np.exp(state.logs), state.inverse[found.point, None]
    rays = np.column_stack([found.here / focal[found.one, None], np.ones(len(found.one))])
    turn = state.rotation[found.two] @ np.swapaxes(state.rotation[found.one], 1, 2)
    there = (turn @ (rays - inverse * state.shift[found.one])[..., None])[..., 0]
    there += inverse * state.shift[found.two]
    depth = np.maximum(there[:, 2:], BEHIND)
    return focal[found.two, None] * there[:, :2] / depth, there, turn


def _loss(found: Pairs, state: State, known: _Known, width: float) -> float:
    square = (misses(found, state) ** 2).sum(axis=1) / width**2
    return float(np.log1p(square).sum() + sum((part**2).sum() for part in known.beside(state)))


def _normal(
    found: Pairs, state: State, known: _Known, width: float, damping: float, trust: float = 1.0
) -> tuple[Array, Array, Callable[[State, Array], State]]:
    """Damped normal equations of the cameras, points eliminated; and what makes a state of their solution.

    The unknowns are focal lengths, turns of all cameras but the first, and their translations.
    """
    frames, one, two = len(state.logs), found.one, found.two
    focal, inverse = np.exp(state.logs), state.inverse[found.point, None]
    seen, there, turn = _seen(found, state)
    miss = seen - found.there
    depth = np.maximum(there[:, 2], BEHIND)
    by_place = np.zeros((len(one), 2, 3))
    by_place[:, 0, 0] = by_place[:, 1, 1] = focal[two] / depth
    by_place[:, :, 2] = -seen / depth[:, None]
    by_ray = by_place @ turn
    rays = np.column_stack([found.here / focal[one, None], np.ones(len(one))])
    inside = rays - inverse * state.shift[one]
    turned = there - inverse * state.shift[two]
    flat = rays * (1, 1, 0)
    lenses = frames if known.zooms else 1
    nothing = np.zeros(len(one), int)
    blocks = [
        (-by_ray @ flat[..., None], one if known.zooms else nothing, 1, 0),
        (seen[..., None], two if known.zooms else nothing, 1, 0),
        (by_ray @ _cross(inside), one - 1, 3, lenses),
        (-by_place @ _cross(turned), two - 1, 3, lenses),
    ]
    size = lenses + 3 * (frames - 1)
    if known.moves:
        blocks += [
            (-inverse[..., None] * by_ray, one - 1, 3, size),
            (inverse[..., None] * by_place, two - 1, 3, size),
        ]
        size += 3 * (frames - 1)
    weight = np.sqrt(trust) / (width * np.sqrt(1 + (miss**2).sum(axis=1) / width**2))
    jacobian = _sparse(blocks, weight, frames, size)
    error = (miss * weight[:, None]).ravel()
    lens, depths = known.beside(state)
    by_logs = np.zeros((len(lens), size))
    by_logs[0, 0] = 1 / known.sure
    if known.zooms:
        each = np.eye(frames)
        by_logs[1 : frames - 1, :frames] = np.diff(each, n=2, axis=0) / SMOOTH
        by_logs[frames - 1 :, :frames] = (each - each[0]) / (SPAN * np.sqrt(frames))
    normal = (jacobian.T @ jacobian).toarray() + by_logs.T @ by_logs
    vector = -(jacobian.T @ error) - by_logs.T @ lens
    normal[np.diag_indices(size)] *= 1 + damping
    normal[np.diag_indices(size)] += 1e-9
    if known.moves:
        shift = state.shift[two] - (turn @ state.shift[one, :, None])[..., 0]
        by_depth = (by_place @ shift[..., None])[..., 0] * weight[:, None]
        rows = np.arange(2 * len(one))
        points = csr_matrix(
            (by_depth.ravel(), (rows, np.repeat(found.point, 2))), shape=(len(rows), len(state.inverse))
        )
        square = np.asarray(points.multiply(points).sum(axis=0)).ravel() + 1 / FLAT**2
        square *= 1 + damping
        down = -(points.T @ error) - depths / FLAT
        across = (jacobian.T @ points).toarray()
        normal -= (across / square) @ across.T
        vector = vector - across @ (down / square)

    def back(state: State, step: Array) -> State:
        turns = np.concatenate([np.zeros((1, 3)), step[lenses : lenses + 3 * (frames - 1)].reshape(-1, 3)])
        rotation = Rotation.from_rotvec(turns).as_matrix() @ state.rotation
        new = replace(state, logs=state.logs + step[:lenses], rotation=rotation)
        if not known.moves:
            return new
        moved = np.concatenate([np.zeros((1, 3)), step[lenses + 3 * (frames - 1) :].reshape(-1, 3)])
        depths = state.inverse + (down - across.T @ step) / square
        return replace(new, shift=state.shift + moved, inverse=np.clip(depths, FARTHEST, NEAREST))

    return normal, vector, back


def _sparse(
    blocks: Sequence[tuple[Array, Numbers, int, int]], weight: Array, frames: int, size: int
) -> csr_matrix:
    """Weighted derivatives; those by frame 0's pose (frame -1 in a block) are left out."""
    count = len(weight)
    rows = np.arange(2 * count).reshape(-1, 2, 1)
    values, at, columns = [], [], []
    for block, frame, width, first in blocks:
        kept = frame >= 0
        shape = (int(kept.sum()), 2, width)
        values.append((block[kept] * weight[kept, None, None]).ravel())
        at.append(np.broadcast_to(rows[kept], shape).ravel())
        where = first + width * frame[kept, None, None] + np.arange(width)
        columns.append(np.broadcast_to(where, shape).ravel())
    entries = np.concatenate(values), (np.concatenate(at), np.concatenate(columns))
    return csr_matrix(entries, shape=(2 * count, size))


def _cross(vectors: Array) -> Array:
    """Matrices [M, 3, 3] that give the cross product with vectors [M, 3]."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
