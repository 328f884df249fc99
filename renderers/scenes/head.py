"""A head with a face: its surfaces, and where its landmarks are on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from renderers.scenes.lofts import ellipsoid, loft

Array = NDArray[np.float64]

HEIGHT = 0.13
"""From chin to crown, of the stature."""

# Rows from chin to crown: height (0 to 1), then forward shift, half depth and half width, of the stature.
_ROWS = np.array(
    [
        [0.00, 0.026, 0.010, 0.012],
        [0.06, 0.021, 0.024, 0.022],
        [0.20, 0.010, 0.039, 0.033],
        [0.40, 0.003, 0.049, 0.041],
        [0.60, 0.000, 0.055, 0.044],
        [0.75, -0.002, 0.054, 0.043],
        [0.90, -0.004, 0.038, 0.032],
        [0.97, -0.005, 0.022, 0.018],
        [1.00, -0.005, 0.003, 0.003],
    ]
)
_PROFILE = PchipInterpolator(_ROWS[:, 0], _ROWS[:, 1:])
_X, _Y, _Z = np.eye(3)
_EYE, _BROW, _MOUTH, _EAR, _NOSE = 0.50, 0.60, 0.17, 0.42, 0.30  # heights
_APART = 0.0185  # half the distance of the eyes, of the stature


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head that faces +X, +Z up.

    Attributes:
        chin: Below the middle of the head, at the height of the chin, [3].
        unit: The stature.
    """

    chin: Array
    unit: float

    def surfaces(self) -> Iterator[tuple[Array, NDArray[np.int32], str]]:
        """Vertices, triangles and material of skull, hair, nose, eyes, brows, ears and mouth."""
        f = self.unit
        heights = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 18))
        shift, depth, width = _PROFILE(heights).T * f
        centres = self.chin + np.outer(shift, _X) + np.outer(heights * HEIGHT * f, _Z)
        skull, triangles = loft(centres, _X, _Y, depth, width, 22)
        yield skull, triangles, "skin"

        # Hair is the skull again, a little larger above the hairline and hidden inside the head below it.
        middle = self.chin + 0.075 * f * _Z
        around = np.degrees(np.abs(np.arctan2(skull[:, 1], skull[:, 0] - self.chin[0]))).round(6)
        hairline = np.interp(around, [0, 45, 75, 95, 130, 180], [0.84, 0.80, 0.62, 0.40, 0.22, 0.16])
        above = np.clip(((skull[:, 2] - self.chin[2]) / (HEIGHT * f) - hairline) / 0.08 + 0.5, 0, 1)
        yield middle + (skull - middle) * (0.93 + 0.14 * above)[:, None], triangles, "hair"

        ridge = np.stack([self.front(0.0, height) for height in (0.50, 0.42, 0.34, 0.29, 0.26, 0.245)])
        ridge -= np.outer([0.002, 0.002, 0.002, 0.002, 0.002, 0.006], f * _X)
        out = f * np.array([0.003, 0.008, 0.013, 0.016, 0.012, 0.002])
        wide = f * np.array([0.004, 0.005, 0.007, 0.010, 0.009, 0.002])
        yield *loft(ridge, _Y, _X, wide, out, 10), "skin"
        for sign in (1.0, -1.0):
            eye, brow = self.front(_APART * sign, _EYE), self.front(0.018 * sign, _BROW)
            yield *ellipsoid(eye - 0.002 * f * _X, f * np.array([0.005, 0.0075, 0.0055])), "eyes"
            yield *ellipsoid(brow - 0.001 * f * _X, f * np.array([0.003, 0.010, 0.0022])), "hair"
            yield *ellipsoid(self.ear(sign), f * np.array([0.010, 0.004, 0.017])), "skin"
        mouth = self.front(0.0, _MOUTH) - 0.003 * f * _X
        yield *ellipsoid(mouth, f * np.array([0.006, 0.014, 0.0042])), "lips"

    def front(self, y: float, height: float) -> Array:
        """The point of the skull's front at ``y`` (of the stature) and ``height`` (0 at the chin, 1 at the crown)."""
        shift, depth, width = _PROFILE(height)
        forward = shift + depth * np.sqrt(max(0.0, 1 - (y / width) ** 2))
        return np.asarray(self.chin + self.unit * np.array([forward, y, height * HEIGHT]))

    def nose(self) -> Array:
        """Tip of the nose."""
        return np.asarray(self.front(0.0, _NOSE) + 0.013 * self.unit * _X)

    def eye(self, sign: float) -> Array:
        """Middle of the left (1) or right (-1) eye."""
        return np.asarray(self.front(_APART * sign, _EYE) + 0.002 * self.unit * _X)

    def ear(self, sign: float) -> Array:
        """Middle of the left (1) or right (-1) ear."""
        shift, _, width = _PROFILE(_EAR)
        return np.asarray(self.chin + self.unit * np.array([shift, sign * width, _EAR * HEIGHT]))

    def landmarks(self) -> Array:
        """The 68 face points of iBUG 300-W (C. Sagonas et al. 2013) in their order, [68, 3].

        Jaw, brows, nose, eyes and lips, each from the person's right to the left.
        """
        f = self.unit
        jaw = []
        for a in np.linspace(-1, 1, 17):
            height, turn = 0.02 + 0.40 * abs(a) ** 1.5, np.radians(85 * a)
            shift, depth, width = _PROFILE(height)
            around = np.array([shift + depth * np.cos(turn), width * np.sin(turn), height * HEIGHT])
            jaw.append(self.chin + f * around)
        arch = np.linspace(-1, 1, 5)
        brows = [
            self.front(middle + 0.010 * a, _BROW - 0.015 + 0.03 * (1 - a**2))
            for middle in (-0.018, 0.018)
            for a in arch
        ]
        bridge = [
            self.front(0.0, z) + f * out * _X for z, out in ((0.49, 0.002), (0.42, 0.006), (0.36, 0.010))
        ]
        nostrils = [self.front(0.009 * a, 0.25) + 0.004 * f * _X for a in arch]
        corners = ((-1, 0), (-0.4, 1), (0.4, 1), (1, 0), (0.4, -1), (-0.4, -1))
        eyes = [
            self.front(middle + 0.0075 * y, _EYE + 0.03 * z) + 0.001 * f * _X
            for middle in (-_APART, _APART)
            for y, z in corners
        ]
        lips = []
        for count, wide, high in ((12, 0.014, 0.032), (8, 0.010, 0.010)):  # outer, inner
            for angle in np.pi - np.arange(count) * 2 * np.pi / count:
                place = self.front(wide * np.cos(angle), _MOUTH + high * np.sin(angle))
                lips.append(place + 0.002 * f * _X)
        return np.stack([*jaw, *brows, *bridge, self.nose(), *nostrils, *eyes, *lips])
