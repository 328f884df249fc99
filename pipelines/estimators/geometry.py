"""Geometry of a clip: its cameras and its depth in one scale, whichever estimators they come from.

Cameras found by structure from motion have a scale of their own, and a network's inverse depth has an unknown scale, or
an unknown scale and shift. Both are settled by what the cameras' estimator knows of the scene: the points it
triangulated, or its own depth. What the cameras know nothing of (they stand, or only turn) is drawn the same whatever
the scale is; an unknown shift is then assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import cameras as camera_estimators
from pipelines.estimators import depth as depth_estimators
from pipelines.estimators import depth_motion
from pipelines.estimators.cameras import Cameras
from pipelines.estimators.card import Card
from pipelines.estimators.joined import joined_weights
from pipelines.modality import place
from renderers.scenes import directions
from renderers.scenes.cameras import project

Frames = Sequence[NDArray[np.uint8]]
Array = NDArray[np.float64]
Values = NDArray[np.float32]
Unknown = Literal["scale", "scale and shift"]
T = TypeVar("T")

FARTHEST = 10.0
"""How many times as far as the nearest the farthest is, where an unknown shift cannot be measured."""

TRIES = 300
"""Fits to two points each, of which the one with the least median error is taken; half the points may be wrong."""

ENOUGH = 20
"""Points that say more about a frame's scale and shift than the rest of the clip does."""

WORST = 0.25
"""Median relative error of depth at the points the cameras know, from which on it is another scene's."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which estimators measure a clip; a modality's options have these fields too.

    Attributes:
        cameras, cameras_weights, cameras_checkout: See :func:`pipelines.estimators.cameras.load`.
        depth: Of depth; "" for what the cameras' estimator gives, else from motion.
        depth_weights, depth_checkout: See :func:`pipelines.estimators.depth.load`.
        fov: Horizontal degrees that are assumed where the pictures do not say.
    """

    cameras: str = camera_estimators.ESTIMATORS[0].name
    cameras_weights: str = place()
    cameras_checkout: str = place()
    depth: str = ""
    depth_weights: str = place()
    depth_checkout: str = place()
    fov: float = camera_estimators.PRIOR_FOV

    def __post_init__(self) -> None:
        if not 1 <= self.fov < 180:
            raise ValueError("fov must lie in [1, 180)")
        try:
            _ = self.cards
        except ConfigError as error:
            raise ValueError(f"cameras or depth: {error}") from None

    @property
    def cards(self) -> list[Card]:
        """The estimators, cameras' first; one where it gives depth as well.

        Raises:
            ConfigError: There is no such estimator.
        """
        found = camera_estimators.card_of(self.cameras)
        if self.depth:
            return [found, depth_estimators.card_of(self.depth)]
        return [found] if found.weights else [found, depth_motion.CARD]

    @property
    def weights(self) -> str:
        """Hash of all their weights."""
        hashes = [
            camera_estimators.weights_hash(
                self.cameras, weights=self.cameras_weights, checkout=self.cameras_checkout
            )
        ]
        for card in self.cards[1:]:
            own = card.weights and depth_estimators.weights_hash(
                card.name, weights=self.depth_weights, checkout=self.depth_checkout
            )
            hashes.append(own)
        return joined_weights(hashes)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Cameras and depth of F frames in one scale.

    Attributes:
        cameras: As estimated, but for the scale.
        depth: Planar depth, float32 [F, H, W], NaN where unknown.
        unit: Of extrinsics and depth: metres, or the median depth of the clip.
        estimator: Who measured the depth.
        error: Median relative difference to the depth of the cameras' points; None where there are none.
    """

    cameras: Cameras
    depth: Values
    unit: Literal["m", "median depth"]
    estimator: str
    error: float | None

    @property
    def distance(self) -> float:
        """The median depth."""
        return _median(self.depth)


def measure(frames: Frames, choice: Choice, cameras: Cameras | None = None) -> Geometry:
    """Cameras and depth of a shot.

    Args:
        frames: RGB uint8 [H, W, 3].
        choice: Who measures.
        cameras: Where they are known already.

    Raises:
        UnusableClip: Of the estimators; ``no_parallax`` for depth from motion without any; ``depth_disagrees`` where
            depth and cameras are not of one scene.
    """
    if cameras is not None:
        return _measure(frames, choice, cameras)
    key = tuple(getattr(choice, field.name) for field in fields(Choice))  # a modality's options have more
    return _once(frames, key, lambda: _measure(frames, choice, locate(frames, choice)))


def _measure(frames: Frames, choice: Choice, found: Cameras) -> Geometry:
    card = choice.cards[-1]
    if not choice.depth and found.depth is not None:
        depth = found.depth
    elif card.name == depth_motion.CARD.name:
        depth, _ = depth_motion.motion_depth(frames, found)
    else:
        estimate = depth_estimators.load(
            card.name, weights=choice.depth_weights, checkout=choice.depth_checkout
        )
        relative = estimate(frames)
        known = observed(found)
        if known is None:
            depth = assume(relative.inverse, relative.unknown)
        else:
            depth = align(relative.inverse, relative.unknown, known)
    return in_one_scale(found, depth, card.name)


def locate(frames: Frames, choice: Choice) -> Cameras:
    """The cameras alone."""
    options = {
        "weights": choice.cameras_weights,
        "checkout": choice.cameras_checkout,
        "prior_fov": choice.fov,
    }
    estimate = camera_estimators.load(choice.cameras, **options)
    return _once(frames, (choice.cameras, *options.values()), lambda: estimate(frames))


_KEPT: tuple[Frames, dict[Any, Any]] = ((), {})


def _once(frames: Frames, key: Any, make: Callable[[], T]) -> T:
    """What these frames gave before, or why they gave nothing: modalities built together ask for the same geometry."""
    global _KEPT
    if _KEPT[0] is not frames:
        _KEPT = (frames, {})
    kept = _KEPT[1]
    if key not in kept:
        try:
            kept[key] = make()
        except UnusableClip as error:
            kept[key] = error
    if isinstance(kept[key], UnusableClip):
        raise kept[key]
    found: T = kept[key]
    return found


def standing(count: int, width: int, height: int, fov: float) -> Cameras:
    """Cameras of pictures that nothing is known of but a field of view."""
    focal = np.full(count, width / 2 / np.tan(np.radians(fov) / 2))
    return Cameras(
        intrinsics=camera_estimators.matrices(focal, width, height),
        extrinsics=np.tile(np.eye(4), (count, 1, 1)),
        motion="static",
        registered=np.ones(count, bool),
        reprojection_px=None,
        points=None,
        seen=None,
        depth=None,
        metric=False,
        confidence=camera_estimators.confidence(1.0, None, width, measured=False),
    )


def directed(geometry: Geometry, trajectory: str, frames: int, fps: Fraction) -> tuple[Array, Array]:
    """Cameras that start as frame 0's and go where a text says, about the median depth straight ahead of it.

    Returns:
        K [F, 3, 3] and world to camera [F, 4, 4] of ``frames`` frames; see :mod:`renderers.scenes.directions`.
    """
    k, w2c = geometry.cameras.intrinsics[:1], geometry.cameras.extrinsics[:1]
    first = _median(geometry.depth[:1])
    distance = first if np.isfinite(first) else geometry.distance
    seconds = float((frames - 1) / fps)
    still = np.repeat(k, frames, axis=0), np.repeat(w2c, frames, axis=0)
    return directions.direct(directions.parse(trajectory), *still, distance, seconds=seconds)


def in_one_scale(cameras: Cameras, depth: Values, estimator: str) -> Geometry:
    """Cameras and depth of one scale, in metres where that is known, else in median depths.

    Raises:
        UnusableClip: There is no depth.
    """
    middle = _median(depth)
    if not np.isfinite(middle):
        raise UnusableClip("no_depth", "no pixel has a depth")
    scale = 1.0 if cameras.metric else 1 / middle
    extrinsics = cameras.extrinsics.copy()
    extrinsics[:, :3, 3] *= scale
    known = observed(cameras)
    error = None
    if known is not None:
        at = depth[known.frame, known.row, known.column] * known.inverse
        error = float(np.nanmedian(np.abs(at - 1))) if np.isfinite(at).any() else None
    scaled = replace(
        cameras,
        extrinsics=extrinsics,
        points=None if cameras.points is None else cameras.points * np.float32(scale),
        depth=None if cameras.depth is None else cameras.depth * np.float32(scale),
    )
    return Geometry(
        cameras=scaled,
        depth=depth * np.float32(scale),
        unit="m" if cameras.metric else "median depth",
        estimator=estimator,
        error=error,
    )


@dataclass(frozen=True, kw_only=True)
class Observed:
    """M pixels whose depth the cameras' estimator knows.

    Attributes:
        frame, row, column: Where, [M].
        inverse: Inverse planar depth there in the scale of the extrinsics, [M].
    """

    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    inverse: Array


def observed(cameras: Cameras) -> Observed | None:
    """What the cameras know of depth: their points where those were seen, else every 16th pixel of their own depth."""
    if cameras.points is not None and cameras.seen is not None:
        pixels, depth = project(cameras.points, cameras.intrinsics, cameras.extrinsics)
        size = np.rint(2 * cameras.intrinsics[0, :2, 2]).astype(int)
        good = cameras.seen & cameras.registered[:, None] & (depth > 0)
        good &= ((pixels >= 0) & (pixels < size)).all(-1)
        frame, point = np.nonzero(good)
        column, row = pixels[frame, point].astype(int).T
        return Observed(frame=frame, row=row, column=column, inverse=1 / depth[frame, point])
    if cameras.depth is not None:
        coarse = cameras.depth[:, 8::16, 8::16]
        frame, row, column = np.nonzero(np.isfinite(coarse) & (coarse > 0))
        values = coarse[frame, row, column].astype(float)
        return Observed(frame=frame, row=8 + 16 * row, column=8 + 16 * column, inverse=1 / values)
    return None


def align(inverse: Values, unknown: Unknown, known: Observed) -> Values:
    """Depth in the scale of what is known of it: 1 / (scale * inverse + shift), fitted robustly in inverse depth.

    One scale and shift for the clip. A network that does not know the shift looks at one frame at a time: each frame's
    own are then weighed with the clip's by their number of points, of which the clip counts as :data:`ENOUGH`.

    Args:
        inverse: Inverse depth [F, H, W] without a unit; NaN where unknown.
        unknown: What it lacks.
        known: Pixels of known depth.

    Returns:
        Float32 [F, H, W], NaN where unknown or where the inverse depth is not positive.

    Raises:
        UnusableClip: The two have nothing to do with each other (``depth_disagrees``).
    """
    x = inverse[known.frame, known.row, known.column].astype(float)
    good = np.isfinite(x)
    x, y, frame = x[good], known.inverse[good], known.frame[good]
    shifted = unknown == "scale and shift"
    if len(x) < ENOUGH:
        raise UnusableClip(
            "depth_disagrees", f"depth and cameras meet in {len(x)} points, {ENOUGH} are needed"
        )
    whole = fit(x, y, shifted)
    scale, shift = np.tile(whole, (len(inverse), 1)).T
    for n, count in enumerate(np.bincount(frame, minlength=len(inverse))):
        if shifted and count >= ENOUGH:
            own = fit(x[frame == n], y[frame == n], shifted)
            scale[n], shift[n] = (count * own + ENOUGH * whole) / (count + ENOUGH)
    error = float(np.median(np.abs((scale[frame] * x + shift[frame]) / y - 1)))
    if error > WORST or (scale <= 0).any():
        raise UnusableClip(
            "depth_disagrees",
            f"depth is {error:.0%} off at the points that the cameras know, {WORST:.0%} is too much",
        )
    least = np.float32(1e-3 * np.median(y))
    fitted = inverse * scale[:, None, None].astype(np.float32) + shift[:, None, None].astype(np.float32)
    return np.asarray(1 / np.where(fitted > least, fitted, np.float32(np.nan)), np.float32)


def assume(inverse: Values, unknown: Unknown) -> Values:
    """Depth of which nothing is known but this: an unknown shift such that the farthest is :data:`FARTHEST` nearest.

    Nearest and farthest are the first and last percent of the clip; the scale is any.
    """
    if unknown == "scale":
        return np.asarray(1 / np.where(inverse > 0, inverse, np.float32(np.nan)), np.float32)
    low, high = np.nanpercentile(inverse[:, ::4, ::4], (1, 99))
    level = np.clip((inverse - low) / max(high - low, 1e-12), 0, None)
    return np.asarray(1 / (1 / FARTHEST + (1 - 1 / FARTHEST) * level), np.float32)


def fit(x: Array, y: Array, shifted: bool) -> Array:
    """Scale and shift (0 unless ``shifted``) with y = scale * x + shift, whatever up to half of the values are.

    Least median of squares over :data:`TRIES` seeded draws (Rousseeuw, Least Median of Squares Regression, 1984), then
    least squares over what lies within 2.5 robust standard deviations.
    """
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, len(x), (2, TRIES))
    some = rng.choice(len(x), 1000) if len(x) > 1000 else np.arange(len(x))
    if shifted:
        apart = x[one] != x[two]
        one, two = one[apart], two[apart]
        scale = (y[two] - y[one]) / (x[two] - x[one])
        shift = y[one] - scale * x[one]
    else:
        one = one[x[one] != 0]
        scale, shift = y[one] / x[one], np.zeros(len(one))
    if not len(scale):  # all of one depth: no slope
        return np.array([0.0, float(np.median(y))])
    off = np.abs(scale[:, None] * x[some] + shift[:, None] - y[some])
    best = int(np.median(off, axis=1).argmin())
    found = np.array([scale[best], shift[best]])
    design = np.stack([x, np.ones_like(x)], axis=-1)[:, : 1 + shifted]
    for _ in range(3):
        miss = np.abs(found[0] * x + found[1] - y)
        near = miss <= 2.5 * 1.4826 * np.median(miss) + 1e-9 * np.abs(y).max()
        solution = np.linalg.lstsq(design[near], y[near], rcond=None)[0]
        found = np.append(solution, 0.0)[:2]
    return found


def _median(depth: Values) -> float:
    some = depth[:: max(1, len(depth) // 8), ::4, ::4]
    some = some[np.isfinite(some) & (some > 0)]
    return float(np.median(some)) if some.size else float("nan")
