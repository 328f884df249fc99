"""The presets are places that could exist, and where somebody could be understood."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from renderers.ambience import CHANNELS
from renderers.environments import ENVIRONMENTS, OCTAVES, Environment, named

pra = pytest.importorskip("pyroomacoustics")

EVERY = pytest.mark.parametrize("place", ENVIRONMENTS, ids=lambda place: place.name)
ROOMS = [place for place in ENVIRONMENTS if place.dimensions is not None]


def test_there_are_enough_and_all_kinds() -> None:
    assert len(ENVIRONMENTS) >= 14
    assert len({place.name for place in ENVIRONMENTS}) == len(ENVIRONMENTS)
    assert len({place.place for place in ENVIRONMENTS}) == len(ENVIRONMENTS)
    assert sum(not place.indoors for place in ENVIRONMENTS) >= 3
    assert {place.band for place in ENVIRONMENTS} == {None, *CHANNELS}


@EVERY
def test_what_is_said_is_well_formed(place: Environment) -> None:
    assert place.name.isidentifier() and place.name == place.name.lower()
    assert place.place.split()[0] in ("in", "on", "at", "over", "inside", "outdoors")
    assert place.beds and all(word == word.lower() for word in place.beds)
    for low, high in (place.distance, place.drr, place.snr):
        assert low < high
    assert place.snr[0] >= 3 and place.snr[1] <= 20
    assert named(place.name) is place


@EVERY
def test_decays_are_smooth_and_lose_treble_first(place: Environment) -> None:
    assert len(place.rt60) == len(OCTAVES) and min(place.rt60) > 0.05 and max(place.rt60) < 8
    assert all(0.5 < high / low < 1.3 for low, high in itertools.pairwise(place.rt60))
    assert place.rt60[-1] == min(place.rt60)


@EVERY
def test_air_alone_would_let_it_ring_longer(place: Environment) -> None:
    """Even mirror walls leave the air's absorption: T = ln(1e6) / (m c), 20 °C and 50 to 70% humidity."""
    air = np.array(pra.parameters.air_absorption_table["20C_50-70%"])
    assert (np.array(place.rt60) < 6 * np.log(10) / (air * 343)).all()


@pytest.mark.parametrize("place", ROOMS, ids=lambda place: place.name)
def test_walls_absorb_neither_nothing_nor_everything(place: Environment) -> None:
    """Mean absorption by Sabine and by Eyring; hard tiles take about 2%, an upholstered car about half."""
    assert place.dimensions is not None
    length, width, height = place.dimensions
    surface = 2 * (length * width + width * height + height * length)
    sabine = 0.161 * place.volume / (surface * np.array(place.rt60))
    eyring = 1 - np.exp(-sabine)
    assert eyring.min() > 0.02 and eyring.max() < 0.6 and sabine.max() < 1


@pytest.mark.parametrize("place", ROOMS, ids=lambda place: place.name)
def test_ratio_and_distance_agree(place: Environment) -> None:
    """Direct over reverberant is (rc / d)^2 for an omnidirectional source, up to 9 dB more for one that faces us."""
    assert place.dimensions is not None
    critical = 0.057 * np.sqrt(place.volume / place.rt60[3])
    for distance, ratio in zip(place.distance, reversed(place.drr), strict=True):
        assert -3 <= ratio - 20 * np.log10(critical / distance) <= 9
    assert place.distance[1] < 0.8 * max(place.dimensions[:2])


def test_outdoors_there_is_little_reverberation_and_no_volume() -> None:
    outdoors = [place for place in ENVIRONMENTS if not place.indoors]
    assert all(place.drr[0] >= 6 for place in outdoors)
    with pytest.raises(ValueError, match="forest is outdoors"):
        _ = named("forest").volume
    assert named("car").volume == pytest.approx(2.4 * 1.5 * 1.2)


@EVERY
def test_speech_stays_intelligible(place: Environment) -> None:
    """Transmission index from reverberation and noise (Houtgast & Steeneken, 1985), at the middle of its ranges."""
    speed = 0.63 * 2 ** (np.arange(14) / 3)  # Hz, of modulation
    ratio, noise = (10 ** (np.mean(values) / 10) for values in (place.drr, place.snr))
    decay = np.array(place.rt60)[:, None]
    late = 1 / (1 + 2j * np.pi * speed * decay / (6 * np.log(10)))
    kept = np.abs(ratio + late) / (ratio + 1) / (1 + 1 / noise)
    index = (np.clip(10 * np.log10(kept / (1 - kept)), -15, 15).mean() + 15) / 30
    assert index > 0.4


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no environment 'moon': bathroom, .*announcement"):
        named("moon")
