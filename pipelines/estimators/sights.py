"""Inverse depth of a frame's pixels from where dense flow finds them in other frames, whose cameras are known.

A pixel x of inverse depth r appears in another frame at (a + r b) / (az + r bz), with a = K' R K^-1 (x, 1), b = K' t
and the relative pose R, t (Hartley and Zisserman, Multiple View Geometry, 9.2.2). Where flow says that it appears at u,
that is two equations linear in r, and what they leave over is the distance to the epipolar line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from renderers.scenes.cameras import world_to_camera

Values = NDArray[np.float32]
Array = NDArray[np.float64]

MISS = 1.0
"""Pixels that another frame may disagree with a depth."""

SLACK, LEAST = 0.01, 0.5
"""A way there and back may miss its beginning by this part of its squared lengths, and by this in px²."""

NOISE = 0.4
"""Standard deviation of the flow, pixels; that of a depth follows from it."""

AGREED = 0.6
"""Least share of the frames that see a pixel which must agree on its depth, and they must be two."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What another frame says about the inverse depths r of a frame.

    Attributes:
        across, along: [2, H, W] with r ``across`` = ``along``.
        deep, step: az [H, W] and bz.
        seen: Whether the flow comes back, [H, W].
        pixel: Where it ends, as an index into the other frame's pixels, [H, W]; -1 where not seen.
    """

    across: Values
    along: Values
    deep: Values
    step: np.float32
    seen: NDArray[np.bool_]
    pixel: NDArray[np.int32]

    def fit(self) -> Values:
        """The inverse depth nearest to the flow."""
        product = self.across * self.along
        return np.asarray((product[0] + product[1]) / self._square())

    def miss(self, inverse: Values) -> Values:
        """Pixels from where the flow ends to where the depth says; infinite behind the other camera."""
        z = self.deep + inverse * self.step
        off = self.along - inverse * self.across
        return np.where(z > 0, np.sqrt(off[0] ** 2 + off[1] ** 2) / np.abs(z), np.float32(np.inf))

    def weight(self, inverse: Values) -> Values:
        """Squared pixels that a unit of inverse depth moves it by."""
        return np.asarray(self._square() / (self.deep + inverse * self.step) ** 2)

    def _square(self) -> Values:
        return np.asarray(self.across[0] ** 2 + self.across[1] ** 2 + np.float32(1e-20))


def sight(k: Array, w2c: Array, other_k: Array, other_w2c: Array, go: Values, come: Values) -> Sight:
    """What flow between two frames says.

    Args:
        k: Intrinsics [3, 3].
        w2c: World to camera [4, 4].
        other_k: The other frame's intrinsics.
        other_w2c: Its world to camera.
        go: Flow to the other frame, pixels, [H, W, 2].
        come: Flow from there to here.
    """
    height, width = go.shape[:2]
    home = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    there = home + go
    back = cv2.remap(come, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    off, lengths = ((part[..., 0] ** 2 + part[..., 1] ** 2) for part in (go + back, np.hypot(go, back)))
    x, y = there[..., 0], there[..., 1]
    seen = (off < SLACK * lengths + LEAST) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    pixel = np.full(seen.shape, -1, np.int32)
    pixel[seen] = (np.rint(y[seen]) * width + np.rint(x[seen])).astype(np.int32)
    pose = other_w2c @ world_to_camera(w2c)
    turn = (other_k @ pose[:3, :3] @ np.linalg.inv(k)).astype(np.float32)
    b = (other_k @ pose[:3, 3]).astype(np.float32)
    u, v, z = cv2.split(cv2.transform(home + np.float32(0.5), np.c_[turn[:, :2], turn[:, 2]]))
    end_u, end_v = x + np.float32(0.5), y + np.float32(0.5)
    return Sight(
        across=np.stack([b[0] - end_u * b[2], b[1] - end_v * b[2]]),
        along=np.stack([end_u * z - u, end_v * z - v]),
        deep=z,
        step=b[2],
        seen=seen,
        pixel=pixel,
    )


def triangulate(sights: Sequence[Sight]) -> tuple[Values, Values]:
    """The inverse depths that most sights agree on.

    Of the depths that each sight alone would have, the one with the least miss over all (each counted up to
    :data:`MISS`), then least squares over those within :data:`MISS` of it.

    Args:
        sights: Of one frame, one or more.

    Returns:
        Inverse depth [H, W], 0 where too few agree, and its relative standard deviation.
    """
    best = np.zeros_like(sights[0].deep)
    least = np.full_like(best, np.inf)
    for one in sights:
        inverse = one.fit()
        cost = np.zeros_like(best)
        for other in sights:
            cost += np.where(other.seen, np.minimum(other.miss(inverse), np.float32(MISS)), 0)
        better = one.seen & (inverse > 0) & (cost < least)
        best[better], least[better] = inverse[better], cost[better]
    seen = np.zeros(best.shape, np.int8)
    for _ in range(2):
        total, weights, agreed = np.zeros_like(best), np.full_like(best, 1e-20), np.zeros_like(seen)
        for one in sights:
            near = one.seen & (one.miss(best) < MISS)
            weight = np.where(near, one.weight(best), 0)
            total += weight * one.fit()
            weights += weight
            agreed += near
        best = np.asarray(total / weights)
    for one in sights:
        seen += one.seen
    best = np.where((agreed >= 2) & (agreed >= AGREED * seen) & (best > 0), best, np.float32(0))
    return best, np.asarray(NOISE / np.sqrt(weights) / np.maximum(best, 1e-12))
