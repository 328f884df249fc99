"""Places where somebody may be heard speaking, as plain data. Add one by adding it to :data:`ENVIRONMENTS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OCTAVES = (125, 250, 500, 1000, 2000, 4000, 8000)
"""Centres of the octave bands that decays are given in, Hz."""

Range = tuple[float, float]
Band = Literal["telephone", "pa", "car"]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A place, as far as it can be heard.

    Attributes:
        name: Unique; lower case, words joined by underscores.
        place: For the caption, after "speaks": "in a large stone church".
        dimensions: Length, width and height of the room, metres; None outdoors, where there is no room.
        rt60: Seconds in which reverberation decays by 60 dB, in each of :data:`OCTAVES`.
        distance: From mouth to microphone, metres.
        drr: Direct-to-reverberant energy ratio, dB, at the far end of ``distance`` and at the near end.
        snr: Speech over the bed in loudness, dB.
        beds: What the bed may be a recording of, the most fitting first.
        band: The channel that the sound comes through, if any; :data:`renderers.ambience.CHANNELS` says what it passes.
    """

    name: str
    place: str
    dimensions: tuple[float, float, float] | None
    rt60: tuple[float, float, float, float, float, float, float]
    distance: Range
    drr: Range
    snr: Range
    beds: tuple[str, ...]
    band: Band | None = None

    @property
    def indoors(self) -> bool:
        """Whether there are walls."""
        return self.dimensions is not None

    @property
    def volume(self) -> float:
        """Of the room, cubic metres.

        Raises:
            ValueError: There is no room.
        """
        if self.dimensions is None:
            raise ValueError(f"{self.name} is outdoors and has no volume")
        length, width, height = self.dimensions
        return length * width * height


ENVIRONMENTS = (
    Environment(
        name="bathroom",
        place="in a tiled bathroom",
        dimensions=(2.8, 2.2, 2.4),
        rt60=(0.50, 0.58, 0.62, 0.62, 0.58, 0.52, 0.42),
        distance=(0.5, 1.4),
        drr=(-6, 1),
        snr=(12, 20),
        beds=("water", "shower", "fan", "ventilation"),
    ),
    Environment(
        name="living_room",
        place="in a furnished living room",
        dimensions=(6.0, 4.5, 2.6),
        rt60=(0.60, 0.52, 0.46, 0.43, 0.41, 0.38, 0.32),
        distance=(0.8, 2.8),
        drr=(-3, 5),
        snr=(12, 20),
        beds=("room tone", "fire", "clock", "fan"),
    ),
    Environment(
        name="office",
        place="in a small office",
        dimensions=(4.5, 3.4, 2.7),
        rt60=(0.60, 0.55, 0.50, 0.46, 0.44, 0.42, 0.36),
        distance=(0.6, 1.8),
        drr=(-2, 5),
        snr=(10, 20),
        beds=("office", "computer", "ventilation", "keyboard"),
    ),
    Environment(
        name="classroom",
        place="in a classroom",
        dimensions=(9.0, 7.0, 3.2),
        rt60=(0.85, 0.80, 0.75, 0.70, 0.68, 0.62, 0.50),
        distance=(1.2, 4.0),
        drr=(-5, 3),
        snr=(8, 18),
        beds=("classroom", "children", "murmur", "room tone"),
    ),
    Environment(
        name="cafe",
        place="in a busy cafe",
        dimensions=(12.0, 9.0, 3.4),
        rt60=(0.85, 0.80, 0.75, 0.70, 0.66, 0.60, 0.48),
        distance=(0.6, 1.8),
        drr=(-1, 7),
        snr=(4, 12),
        beds=("cafe", "restaurant", "crowd", "market", "murmur"),
    ),
    Environment(
        name="stairwell",
        place="in a concrete stairwell",
        dimensions=(6.0, 3.2, 12.0),
        rt60=(2.00, 2.00, 1.90, 1.80, 1.60, 1.25, 0.85),
        distance=(0.8, 2.5),
        drr=(-6, 2),
        snr=(12, 20),
        beds=("hum", "ventilation", "room tone", "footsteps"),
    ),
    Environment(
        name="gym",
        place="in an empty gymnasium",
        dimensions=(30.0, 18.0, 8.0),
        rt60=(2.60, 2.50, 2.35, 2.20, 1.95, 1.55, 0.95),
        distance=(1.5, 6.0),
        drr=(-5, 4),
        snr=(8, 18),
        beds=("gym", "crowd", "ventilation", "footsteps"),
    ),
    Environment(
        name="concert_hall",
        place="on the stage of a concert hall",
        dimensions=(40.0, 24.0, 16.0),
        rt60=(2.40, 2.25, 2.10, 2.00, 1.85, 1.55, 1.05),
        distance=(2.0, 10.0),
        drr=(-5, 5),
        snr=(10, 20),
        beds=("audience", "murmur", "crowd", "room tone"),
    ),
    Environment(
        name="church",
        place="in a large stone church",
        dimensions=(28.0, 14.0, 11.0),
        rt60=(3.30, 3.20, 3.00, 2.80, 2.45, 1.90, 1.15),
        distance=(1.5, 7.0),
        drr=(-6, 4),
        snr=(12, 20),
        beds=("church", "room tone", "footsteps", "wind"),
    ),
    Environment(
        name="cathedral",
        place="in a vast cathedral",
        dimensions=(90.0, 30.0, 24.0),
        rt60=(6.20, 6.00, 5.60, 5.00, 4.10, 2.90, 1.60),
        distance=(3.0, 12.0),
        drr=(-4, 6),
        snr=(12, 20),
        beds=("church", "crowd", "footsteps", "room tone"),
    ),
    Environment(
        name="cave",
        place="in a rocky cave",
        dimensions=(25.0, 12.0, 7.0),
        rt60=(2.30, 2.30, 2.20, 2.05, 1.80, 1.40, 0.90),
        distance=(1.2, 5.0),
        drr=(-6, 3),
        snr=(10, 20),
        beds=("water", "drips", "cave", "wind"),
    ),
    Environment(
        name="subway_station",
        place="on a subway platform",
        dimensions=(80.0, 16.0, 6.0),
        rt60=(2.10, 2.00, 1.90, 1.80, 1.60, 1.25, 0.85),
        distance=(1.5, 6.0),
        drr=(-3, 8),
        snr=(4, 12),
        beds=("subway", "train", "station", "crowd"),
    ),
    Environment(
        name="train",
        place="in a moving train carriage",
        dimensions=(22.0, 2.8, 2.3),
        rt60=(0.50, 0.48, 0.45, 0.42, 0.40, 0.36, 0.30),
        distance=(0.6, 1.6),
        drr=(0, 8),
        snr=(4, 12),
        beds=("train", "subway", "rail"),
    ),
    Environment(
        name="car",
        place="inside a moving car",
        dimensions=(2.4, 1.5, 1.2),
        rt60=(0.13, 0.12, 0.11, 0.10, 0.10, 0.09, 0.08),
        distance=(0.4, 0.9),
        drr=(0, 7),
        snr=(4, 12),
        beds=("car", "engine", "road", "furnace", "wind"),
    ),
    Environment(
        name="forest",
        place="outdoors in a forest",
        dimensions=None,
        rt60=(1.20, 1.30, 1.30, 1.20, 1.05, 0.85, 0.60),
        distance=(1.2, 5.0),
        drr=(8, 16),
        snr=(6, 16),
        beds=("forest", "rainforest", "birds", "wind", "water"),
    ),
    Environment(
        name="street",
        place="on a busy city street",
        dimensions=None,
        rt60=(1.30, 1.30, 1.25, 1.20, 1.10, 0.90, 0.65),
        distance=(1.0, 4.0),
        drr=(6, 13),
        snr=(3, 10),
        beds=("street", "traffic", "city", "car", "crowd"),
    ),
    Environment(
        name="market",
        place="at a crowded open-air market",
        dimensions=None,
        rt60=(0.75, 0.75, 0.70, 0.70, 0.65, 0.55, 0.42),
        distance=(0.8, 2.5),
        drr=(8, 15),
        snr=(3, 10),
        beds=("market", "crowd", "street", "farm"),
    ),
    Environment(
        name="harbour",
        place="on a windy harbour quay",
        dimensions=None,
        rt60=(1.10, 1.10, 1.05, 1.00, 0.90, 0.70, 0.50),
        distance=(1.0, 4.0),
        drr=(10, 17),
        snr=(4, 14),
        beds=("harbour", "sea", "lake", "gulls", "wind", "water"),
    ),
    Environment(
        name="phone_call",
        place="over the telephone",
        dimensions=(4.2, 3.6, 2.6),
        rt60=(0.55, 0.50, 0.46, 0.43, 0.41, 0.38, 0.32),
        distance=(0.08, 0.3),
        drr=(8, 15),
        snr=(12, 20),
        beds=("room tone", "office", "street", "line noise"),
        band="telephone",
    ),
    Environment(
        name="car_call",
        place="over a hands-free call from a moving car",
        dimensions=(2.4, 1.5, 1.2),
        rt60=(0.13, 0.12, 0.11, 0.10, 0.10, 0.09, 0.08),
        distance=(0.5, 1.0),
        drr=(-1, 5),
        snr=(5, 12),
        beds=("car", "engine", "road", "furnace", "wind"),
        band="car",
    ),
    Environment(
        name="announcement",
        place="over the loudspeakers of a station concourse",
        dimensions=(60.0, 25.0, 9.0),
        rt60=(2.60, 2.50, 2.40, 2.20, 1.90, 1.50, 0.95),
        distance=(3.0, 10.0),
        drr=(-3, 4),
        snr=(5, 12),
        beds=("station", "crowd", "train", "market"),
        band="pa",
    ),
)
"""Reverberation times are typical of what is published for such rooms. Direct-to-reverberant ratios lie at or
above what an omnidirectional source would give, rc = 0.057 sqrt(V / T): mouths and loudspeakers face the listener."""


def named(name: str) -> Environment:
    """The environment of that name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    for environment in ENVIRONMENTS:
        if environment.name == name:
            return environment
    raise ValueError(f"no environment {name!r}: {', '.join(one.name for one in ENVIRONMENTS)}")
