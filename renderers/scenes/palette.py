"""Colours and surfaces: drawn by lot, and named."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import numpy as np

from renderers.scenes.spec import Colour, Texture

Pattern = Literal["plain", "noise", "checker", "brick", "voronoi", "wave"]
KINDS: tuple[Pattern, ...] = get_args(Pattern)

SKINS: tuple[Colour, ...] = (
    (0.72, 0.46, 0.33),
    (0.58, 0.33, 0.21),
    (0.41, 0.21, 0.12),
    (0.23, 0.11, 0.06),
    (0.11, 0.05, 0.03),
)
HAIRS: tuple[Colour, ...] = (
    (0.01, 0.01, 0.01),
    (0.05, 0.025, 0.012),
    (0.15, 0.06, 0.02),
    (0.45, 0.28, 0.1),
    (0.3, 0.29, 0.28),
)

# The first hue, in degrees, that is not called so any more.
HUES = (
    (14, "red"),
    (42, "orange"),
    (68, "yellow"),
    (165, "green"),
    (195, "turquoise"),
    (258, "blue"),
    (305, "purple"),
    (342, "pink"),
    (360, "red"),
)

T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of them."""
    return options[int(rng.integers(len(options)))]


def vivid(rng: np.random.Generator) -> Colour:
    """A saturated colour, linear RGB."""
    return _linear(rng.uniform(), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95))


def muted(rng: np.random.Generator) -> Colour:
    """A subdued colour, linear RGB."""
    return _linear(rng.uniform(), rng.uniform(0.05, 0.35), rng.uniform(0.25, 0.7))


def another(rng: np.random.Generator, colour: Colour) -> Colour:
    """A vivid colour that people call by another name."""
    while word(new := vivid(rng)) == word(colour):
        pass
    return new


def texture(rng: np.random.Generator, kinds: Sequence[Pattern] = KINDS, *, metal: float = 0.15) -> Texture:
    """A vivid surface of one of the kinds, metallic with the chance ``metal``."""
    kind, a, b = pick(rng, kinds), vivid(rng), pick(rng, (vivid(rng), muted(rng)))
    scale, roughness = rng.uniform(3, 10), rng.uniform(0.15, 0.9)
    metallic = 1.0 if rng.uniform() < metal else 0.0
    return Texture(kind=kind, a=a, b=b, scale=scale, roughness=roughness, metallic=metallic)


def floor(rng: np.random.Generator) -> Texture:
    """A subdued surface for the ground."""
    kind, a, b = pick(rng, KINDS), muted(rng), muted(rng)
    return Texture(kind=kind, a=a, b=b, scale=rng.uniform(0.4, 2), roughness=rng.uniform(0.5, 1))


def word(colour: Colour) -> str:
    """What people call a colour given in linear RGB."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(_encode(channel) for channel in colour))
    if value < 0.15:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.85 else "grey"
    name = next(name for limit, name in HUES if hue * 360 <= limit)
    if name in ("red", "orange", "yellow") and value < 0.55:
        return "brown"
    return name


def _linear(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (_decode(channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _decode(channel: float) -> float:
    """SRGB to linear (IEC 61966-2-1)."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _encode(channel: float) -> float:
    """Linear to sRGB (IEC 61966-2-1)."""
    return channel * 12.92 if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
