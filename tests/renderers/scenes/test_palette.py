"""Colours have the names that people give them; drawn ones are in range and as vivid as promised."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from renderers.scenes import palette

# CSS names whose name is the word, or nearly.
CSS = {
    "black": "black",
    "white": "white",
    "gray": "grey",
    "silver": "grey",
    "red": "red",
    "firebrick": "red",
    "orange": "orange",
    "yellow": "yellow",
    "gold": "yellow",
    "lime": "green",
    "forestgreen": "green",
    "turquoise": "turquoise",
    "cyan": "turquoise",
    "blue": "blue",
    "navy": "blue",
    "royalblue": "blue",
    "purple": "purple",
    "darkviolet": "purple",
    "deeppink": "pink",
    "hotpink": "pink",
    "saddlebrown": "brown",
}


def linear(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """IEC 61966-2-1, written independently."""
    encoded = np.array(colour)
    low = encoded <= 0.04045
    return tuple(np.where(low, encoded / 12.92, np.power((encoded + 0.055) / 1.055, 2.4)).tolist())


@pytest.mark.parametrize("name", CSS)
def test_names(name: str) -> None:
    assert palette.word(linear(to_rgb(name))) == CSS[name]


channel = st.floats(0, 1)


@settings(max_examples=100, deadline=None)
@given(st.tuples(channel, channel, channel))
def test_every_colour_has_a_name(colour: tuple[float, float, float]) -> None:
    assert palette.word(colour) in {*CSS.values()}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40))
def test_drawn_colours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vivid, muted = palette.vivid(rng), palette.muted(rng)
    for colour in (vivid, muted):
        assert all(0 <= channel <= 1 for channel in colour)
    assert palette.word(palette.another(rng, vivid)) != palette.word(vivid)

    def saturation(colour: tuple[float, float, float]) -> float:
        encoded = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in colour]
        return colorsys.rgb_to_hsv(*encoded)[1]

    assert 0.59 < saturation(vivid) < 0.96 and saturation(muted) < 0.36


def test_textures_are_of_the_kinds_asked_for() -> None:
    rng = np.random.default_rng(0)
    drawn = [palette.texture(rng, ("brick", "wave"), metal=0.0) for _ in range(20)]
    assert {texture.kind for texture in drawn} == {"brick", "wave"} and not any(t.metallic for t in drawn)
    assert {palette.texture(rng).kind for _ in range(80)} == set(palette.KINDS)
    assert 0.05 < np.mean([palette.texture(rng).metallic for _ in range(200)]) < 0.3
