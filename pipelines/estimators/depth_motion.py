"""Depth from motion: what stands still is triangulated between the frames of a moving camera. No weights, only OpenCV.

Dense flow (DIS, Kroeger et al., arXiv 1603.03590) from each frame to some before and after it says where a pixel's
surface is seen from elsewhere; with both cameras known, that is its depth. A depth holds where

* several frames agree on it to a pixel, by flow that comes back (Sundaram et al., ECCV 2010, equation 5);
* those frames' own depths of the surface agree with it (geometric consistency: Schönberger et al., Pixelwise View
  Selection for Unstructured Multi-View Stereo, ECCV 2016);
* nothing that other frames measured lies in front of it, where it would hide it (free space: Merrell et al., Real-Time
  Visibility-Based Fusion of Depth Maps, ICCV 2007). A patch goes as a whole if part of it is refuted so: what moves by
  itself along with the camera looks like something still that is far behind the wall.

All else is unknown: what moves, what is hidden, what has no texture, what is too far for the camera's way. Nothing is
filled in. What moves straight against the camera's way, at an even pace, looks like something still and nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators.cameras import COLMAP, Cameras, load
from pipelines.estimators.card import Card
from pipelines.estimators.sights import AGREED, Sight, sight, triangulate
from renderers.scenes.cameras import project, world_to_camera

Frames = Sequence[NDArray[np.uint8]]
Values = NDArray[np.float32]
Array = NDArray[np.float64]

CARD = Card(
    name="motion",
    family="depth",
    summary="inverse depth of what stands still, in the scale of the cameras that colmap finds; holes elsewhere",
    license="Apache-2.0",
    packages=COLMAP.packages,
    extra=COLMAP.extra,
)

LONGEST = 768
"""Pixels of the longer side of the pictures that are compared; depth of larger ones is the nearest pixel's."""

APART = (3, 5, 8)
"""How many frames before and after a frame it is compared with; multiples of that where the camera is slow."""

PARALLAX = 8.0
"""Pixels between the frames farthest apart, at the median depth, that those multiples are to reach."""

SLOWEST = 4
"""The largest multiple."""

UNSURE = 0.08
"""Relative standard deviation beyond which a depth is unknown."""

AGREE = 0.03
"""Relative difference up to which the depths of a surface in two frames agree."""

BEHIND = 0.06
"""Part of its depth by which a surface is farther than another that would hide it."""

LOOKS = (8, 16, 24)
"""How many frames before and after a frame it is asked what would hide its surfaces; two must say so."""

PATCH = 0.1
"""A patch, whose depth is without steps, goes as a whole if this share of it would be hidden."""


@dataclass(kw_only=True)
class _Frame:
    """One frame on the way: rough depth, NaN where unknown, its spread, and where others see its pixels."""

    depth: Values
    spread: Values
    pixels: dict[int, NDArray[np.int32]] = field(default_factory=dict)


def motion_depth(frames: Frames, cameras: Cameras) -> tuple[Values, Values]:
    """Depth of what stands still in a clip of a moving camera.

    Args:
        frames: F times RGB [H, W, 3], one shot.
        cameras: Theirs; frames that are not registered get no depth and give none.

    Returns:
        Planar depth in the scale of the extrinsics [F, H, W], NaN where unknown; and a confidence [F, H, W] in [0, 1],
        0 where unknown: the share of the frames that see the surface which agree on its depth, times 1 - the depth's
        relative standard deviation over :data:`UNSURE`.

    Raises:
        UnusableClip: The camera stands (``no_parallax``), fewer than three frames have one (``few_registered``), or no
            depth holds (``no_depth``).
    """
    if cameras.motion != "moving":
        verb = "stands still" if cameras.motion == "static" else "only turns or zooms"
        raise UnusableClip(
            "no_parallax",
            f"the camera {verb}: there is no depth from motion",
            "Networks need none; `avcontrol estimators` lists them.",
        )
    known = np.flatnonzero(cameras.registered).tolist()
    if len(known) < 3:
        raise UnusableClip(
            "few_registered", f"{len(known)} of {len(frames)} frames have a camera; 3 are needed"
        )
    height, width = frames[0].shape[:2]
    shrink = min(1.0, LONGEST / max(height, width))
    size = (round(width * shrink), round(height * shrink))
    k = cameras.intrinsics.copy()
    k[:, 0] *= size[0] / width
    k[:, 1] *= size[1] / height
    w2c = cameras.extrinsics
    gaps = [step * _stretch(cameras.points, k, w2c) for step in APART]
    depth = np.full((len(frames), size[1], size[0]), np.nan, np.float32)
    sure = np.zeros_like(depth)
    rough = _Rough([_gray(frame, size) for frame in frames], k, w2c, set(known), gaps)
    for n in known:
        depth[n], sure[n] = _consistent(n, rough, k, w2c)
    _free_space(depth, k, w2c)
    sure[np.isnan(depth)] = 0
    if not (sure > 0).any():
        raise UnusableClip("no_depth", "the frames agree on no depth: too little texture, or all of it moves")
    if size == (width, height):
        return depth, sure
    large = [
        [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in many]
        for many in (depth, sure)
    ]
    return np.stack(large[0]), np.stack(large[1])


def from_pictures(*, frames: NDArray[np.uint8]) -> dict[str, Values]:
    """The same with cameras by colmap, as an estimator of depth: ``inverse``, NaN where unknown, and ``confidence``.

    Args:
        frames: [F, H, W, 3].
    """
    pictures = list(frames)
    depth, sure = motion_depth(pictures, load(COLMAP.name)(pictures))
    return {"inverse": np.reciprocal(depth), "confidence": sure}


def _gray(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.asarray(
        gray if gray.shape[::-1] == size else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    )


def _stretch(points: NDArray[np.float32] | None, k: Array, w2c: Array) -> int:
    """By how much the frames that are compared are farther apart than :data:`APART`, for the camera's pace."""
    most, limit = APART[-1], max(1, min(SLOWEST, len(w2c) // 3 // APART[-1]))
    if points is None or len(w2c) <= most:
        return 1
    here, there = slice(None, -most), slice(most, None)
    turned = w2c[there].copy()  # the later camera where the earlier one stands: what moves is parallax
    eyes = world_to_camera(w2c)[here, :3, 3:]
    turned[:, :3, 3:] = -turned[:, :3, :3] @ eyes
    some = points[:: len(points) // 500 + 1]
    moved = project(some, k[there], w2c[there])[0] - project(some, k[there], turned)[0]
    parallax = float(np.nanmedian(np.linalg.norm(moved, axis=-1)))
    return int(np.clip(np.ceil(PARALLAX / max(parallax, 1e-6)), 1, limit))


class _Rough:
    """Triangulated depth of each frame, made when it is first asked for and dropped when the next ones need it no more.

    Frames must be asked for in order.
    """

    def __init__(
        self, gray: Sequence[NDArray[np.uint8]], k: Array, w2c: Array, known: set[int], gaps: Sequence[int]
    ) -> None:
        self._gray, self._k, self._w2c, self._known, self._gaps = gray, k, w2c, known, gaps
        self._flow: dict[tuple[int, int], NDArray[np.float16]] = {}
        self._made: dict[int, _Frame] = {}
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def others(self, n: int) -> list[int]:
        """The frames that frame ``n`` is compared with."""
        return [m for gap in self._gaps for m in (n - gap, n + gap) if m in self._known]

    def at(self, n: int) -> _Frame:
        """Rough depth of frame ``n``."""
        for early in [m for m in self._made if m < n - 2 * self._gaps[-1]]:
            del self._made[early]
        if n not in self._made:
            self._made[n] = self._make(n)
        return self._made[n]

    def _make(self, n: int) -> _Frame:
        for pair in [pair for pair in self._flow if max(pair) < n - self._gaps[-1]]:
            del self._flow[pair]
        sights = dict[int, Sight]()
        for m in self.others(n):
            ends = (self._k[n], self._w2c[n], self._k[m], self._w2c[m])
            sights[m] = sight(*ends, self._between(n, m), self._between(m, n))
        shape = self._gray[n].shape
        if not sights:
            return _Frame(depth=np.full(shape, np.nan, np.float32), spread=np.ones(shape, np.float32))
        inverse, spread = triangulate(list(sights.values()))
        good = (inverse > 0) & (spread < UNSURE)
        return _Frame(
            depth=np.where(good, 1 / np.where(good, inverse, 1), np.float32(np.nan)),
            spread=spread,
            pixels={m: one.pixel for m, one in sights.items()},
        )

    def _between(self, n: int, m: int) -> Values:
        """Flow, half of it made when its pair is: 1/32 px at 32 to 64 px."""
        if (n, m) not in self._flow:
            self._flow[n, m] = self._dis.calc(self._gray[n], self._gray[m], None).astype(np.float16)
        return self._flow[n, m].astype(np.float32)


def _consistent(n: int, rough: _Rough, k: Array, w2c: Array) -> tuple[Values, Values]:
    """Depth of frame ``n`` where other frames' depths agree with it, their mean, and its confidence."""
    here = rough.at(n)
    height, width = here.depth.shape
    votes, asked, total = np.zeros((3, height, width), np.float32)
    for m in rough.others(n):
        pixel = here.pixels[m]
        there = np.append(rough.at(m).depth.ravel(), np.float32(np.nan))[pixel]
        pose = w2c[n] @ world_to_camera(w2c[m])
        row = (pose[2, :3] @ np.linalg.inv(k[m])).astype(np.float32)
        lift = row[0] * (np.arange(width, dtype=np.float32) + 0.5) + np.float32(row[2])
        rise = row[1] * (np.arange(height, dtype=np.float32) + 0.5)
        ray = np.append((rise[:, None] + lift).ravel(), np.float32(0))[pixel]
        found = there * ray + np.float32(pose[2, 3])
        agrees = np.abs(found - here.depth) < AGREE * here.depth
        asked += np.isfinite(found)
        votes += agrees
        total += np.where(agrees, found, 0)
    good = (votes >= 1) & (votes >= AGREED * asked)
    depth = np.where(good, (here.depth + total) / (1 + votes), np.float32(np.nan))
    share = (1 + votes) / (1 + np.maximum(asked, 1))
    return depth, np.where(good, share * (1 - here.spread / UNSURE), np.float32(0))


def _free_space(depth: Values, k: Array, w2c: Array) -> None:
    """Drop, in place, the depths that lie behind what other frames measured."""
    before = depth.copy()
    box = np.ones((3, 3), np.uint8)
    for n, own in enumerate(before):
        known = np.isfinite(own)
        nearest = cv2.erode(np.where(known, own, np.float32(1e30)), box)  # a pixel aside is no contradiction
        hidden = np.zeros(own.shape, np.int8)
        for look in LOOKS:
            for m in (n - look, n + look):
                if 0 <= m < len(before):
                    front = _seen_from(before[m], k[m], w2c[m], k[n], w2c[n])
                    hidden += front < (1 - BEHIND) * nearest
        refuted = known & (hidden >= 2)
        step = known & (cv2.dilate(np.where(known, own, 0), box) > (1 + BEHIND) * nearest)
        count, label = cv2.connectedComponents((known & ~step).astype(np.uint8), connectivity=4)
        sizes = np.bincount(label.ravel(), minlength=count)
        share = np.bincount(label.ravel(), weights=refuted.ravel(), minlength=count) / np.maximum(sizes, 1)
        share[0] = 0
        patches = cv2.dilate((share[label] > PATCH).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        depth[n][refuted | patches] = np.nan


def _seen_from(depth: Values, k: Array, w2c: Array, other_k: Array, other_w2c: Array) -> Values:
    """The nearest depth that a frame's pixels have in another's, [H, W]; infinite where none falls."""
    height, width = depth.shape
    y, x = np.nonzero(np.isfinite(depth))
    pose = other_w2c @ world_to_camera(w2c)
    turn = (other_k @ pose[:3, :3] @ np.linalg.inv(k)).astype(np.float32)
    shift = (other_k @ pose[:3, 3]).astype(np.float32)
    rays = turn[:, :1] * (x + np.float32(0.5)) + turn[:, 1:2] * (y + np.float32(0.5)) + turn[:, 2:]
    u, v, z = rays * depth[y, x] + shift[:, None]
    ahead = z > 0
    u, v, z = u[ahead] / z[ahead], v[ahead] / z[ahead], z[ahead]
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    seen = np.full(height * width, np.inf, np.float32)
    np.minimum.at(seen, v[inside].astype(np.intp) * width + u[inside].astype(np.intp), z[inside])
    return seen.reshape(height, width)
