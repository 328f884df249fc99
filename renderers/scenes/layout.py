"""People and objects drawn by lot, standing where they do not meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from renderers.scenes import gestures, palette
from renderers.scenes.motion import MotionFile
from renderers.scenes.shapes import GRAVITY, pendulum_length
from renderers.scenes.spec import Motion, Object, Performance, Person, Vector

Disc = tuple[float, float, float]
"""Reserved ground: x, y, radius."""

Shape = Literal["box", "sphere", "cylinder", "cone", "torus", "capsule", "pyramid"]

PACE, BEND = 1.0, 1.8
"""The procedural walk of somebody 1.7 m tall: metres per second, and the radius of its circle in metres."""

ROOM = 0.5
"""Radius in metres that a person needs."""


def person(
    rng: np.random.Generator,
    name: str,
    duration: float,
    performances: Sequence[MotionFile],
    taken: list[Disc],
) -> Person:
    """A person near the middle of the scene; the ground that they need is added to ``taken``.

    Args:
        rng: Stream of this person.
        name: Unique in the scene.
        duration: Of the clip, seconds.
        performances: Recorded motions; the procedural ones without.
        taken: Ground that is not free.
    """
    if performances:
        file = palette.pick(rng, performances)
        start = rng.uniform() * max(0.0, (file.seconds or 0.0) - duration)
        performance = Performance(name=file.name, sha256=file.sha256, start=start)
    else:
        name_of = palette.pick(rng, gestures.NAMES)
        performance = Performance(name=name_of, start=rng.uniform(0, 6), speed=rng.uniform(0.85, 1.15))
    drawn = Person(
        name=name,
        performance=performance,
        position=(0.0, 0.0),
        heading=rng.uniform(0, 360),
        height=rng.uniform(1.5, 1.95),
        build=rng.uniform(0.85, 1.2),
        skin=palette.pick(rng, palette.SKINS),
        top=palette.texture(rng, ("plain", "checker", "wave", "noise", "voronoi"), metal=0.0),
        trousers=palette.texture(rng, ("plain", "noise"), metal=0.0),
        hair=palette.pick(rng, palette.HAIRS),
    )
    # The middle of a walk is near the middle of the scene. Recordings may lead anywhere: a little more room for them.
    walk = [stroll(drawn, duration * part) for part in np.linspace(0, 1, 9)]
    middle = walk[4]
    room = 2 * ROOM if performances else ROOM

    def needs(x: float, y: float) -> list[Disc]:
        return [(x + at[0] - middle[0], y + at[1] - middle[1], room) for at in walk]

    x, y = _place(rng, 1.0, needs, taken)
    return replace(drawn, position=(x - middle[0], y - middle[1]))


def stroll(person: Person, seconds: float) -> tuple[float, float]:
    """About where a person is then, on the ground; recordings are taken to stay in place."""
    performance = person.performance
    if performance.name != "walk" or performance.sha256:
        return person.position
    turned, radius = PACE * performance.speed * seconds / BEND, BEND * person.height / 1.7
    ahead, left = radius * math.sin(turned), radius * (1 - math.cos(turned))
    c, s = math.cos(math.radians(person.heading)), math.sin(math.radians(person.heading))
    return person.position[0] + c * ahead - s * left, person.position[1] + s * ahead + c * left


def thing(rng: np.random.Generator, name: str, moving: float, taken: list[Disc]) -> Object:
    """An object on free ground, which is added to ``taken``; it moves with the chance ``moving``."""
    shape = palette.pick(rng, get_args(Shape))
    size = _size(rng, shape)
    still = rng.uniform() >= moving
    motion, reach = _motion(rng)
    if still:
        motion, reach = Motion(), 0.0
    lift = rng.uniform(0.3, 1.0)
    radius = math.hypot(size[0], size[1]) / 2 + reach
    heading, texture = rng.uniform(0, 360), palette.texture(rng)
    x, y = _place(rng, 2.5, lambda x, y: [(x, y, radius)], taken)
    position = (x, y, lift if motion.kind == "swing" else 0.0)
    return Object(
        name=name,
        shape=shape,
        size=size,
        position=position,
        heading=heading,
        texture=texture,
        motion=motion,
    )


def _size(rng: np.random.Generator, shape: Shape) -> Vector:
    wide, high = rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.3)
    if shape == "box":
        return wide, rng.uniform(0.3, 1.0), high
    if shape == "sphere":
        return wide, wide, wide
    if shape == "torus":
        return wide, wide, wide / 4
    if shape == "capsule":
        return 0.6 * wide, 0.6 * wide, 0.6 * wide + 0.5 * high
    return wide, wide, high


def _motion(rng: np.random.Generator) -> tuple[Motion, float]:
    """A motion, and how far it goes to the side, metres."""
    kind = palette.pick(rng, ("slide", "circle", "spin", "bounce", "swing"))
    metres, period = rng.uniform(0.3, 0.9), rng.uniform(2, 5)
    phase, direction = rng.uniform(), rng.uniform(0, 360)
    if kind == "spin":
        return Motion(kind="spin", period=period, phase=phase), 0.0
    if kind == "bounce":  # up and down again in free fall: h = g (T / 2)^2 / 2
        return Motion(
            kind="bounce", amplitude=metres, period=math.sqrt(8 * metres / GRAVITY), phase=phase
        ), 0.0
    if kind == "swing":
        period = 1.2 + period / 5
        angle = min(25.0, math.degrees(metres / pendulum_length(period)))
        return Motion(kind="swing", amplitude=angle, period=period, phase=phase, direction=direction), metres
    motion = Motion(
        kind="slide" if kind == "slide" else "circle",
        amplitude=metres,
        period=period,
        phase=phase,
        direction=direction,
    )
    return motion, metres


def _place(
    rng: np.random.Generator, reach: float, needs: Callable[[float, float], list[Disc]], taken: list[Disc]
) -> tuple[float, float]:
    """A place whose ground is free, at random within ``reach`` metres of the middle, or further out as it gets full."""
    for attempt in range(1000):
        angle, distance = rng.uniform(0, 2 * math.pi), (reach + 0.05 * attempt) * math.sqrt(rng.uniform())
        x, y = distance * math.cos(angle), distance * math.sin(angle)
        discs = needs(x, y)
        if all(math.dist(a[:2], b[:2]) >= a[2] + b[2] for a in discs for b in taken):
            taken.extend(discs)
            return x, y
    raise ValueError(f"no room for another thing within {reach + 50:.0f} m")
