"""Scenes drawn by lot.

Every component has a random stream of its own, named after it: another camera, object or option changes no other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import get_args

import numpy as np

from renderers.scenes import layout, palette
from renderers.scenes.motion import MotionFile
from renderers.scenes.spec import HDRIS, Camera, Edit, SceneSpec, TimeMap, Vector, World, from_json, to_json
from renderers.scenes.trajectories import Kind, Trajectory, random_trajectory

BULLET: tuple[Kind, ...] = ("arc", "orbit")
EXPOSURES = {
    "city": 0.8,
    "courtyard": 2.3,
    "forest": 1.0,
    "interior": 0.9,
    "night": 10.0,
    "studio": 3.5,
    "sunrise": 2.2,
    "sunset": 1.8,
}
"""Strengths at which ground of 18% grey looks about so (measured), and darker before and after the day."""

EDITABLE = 0.4
"""Metres: objects that large can be seen to change."""


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What scenes have.

    Attributes:
        min_people, max_people, min_objects, max_objects: Counts, inclusive.
        moving: Share of objects that move.
        bullet: Chance that a camera (never the first) circles a frozen moment.
        static_twins: Whether every camera that sees time pass has a twin that stays where it starts.
        retime, edit: Chances that the first camera has a twin that sees other moments, or one object changed.
        kinds: Camera moves to choose from.
    """

    min_people: int = 1
    max_people: int = 2
    min_objects: int = 3
    max_objects: int = 7
    moving: float = 0.5
    bullet: float = 0.1
    static_twins: bool = False
    retime: float = 0.3
    edit: float = 0.3
    kinds: tuple[Kind, ...] = get_args(Kind)

    def __post_init__(self) -> None:
        for what, low, high in (
            ("people", self.min_people, self.max_people),
            ("objects", self.min_objects, self.max_objects),
        ):
            if not 0 <= low <= high:
                raise ValueError(f"{what}: there cannot be {low} to {high}")
        if self.min_people + self.min_objects == 0:
            raise ValueError("a scene needs at least one person or object to look at")
        for what in ("moving", "bullet", "retime", "edit"):
            if not 0 <= getattr(self, what) <= 1:
                raise ValueError(f"{what}: {getattr(self, what)} is no share between 0 and 1")
        if not self.kinds or (wrong := set(self.kinds) - set(get_args(Kind))):
            raise ValueError(
                f"kinds: {sorted(wrong) if self.kinds else 'none given'}; there are {get_args(Kind)}"
            )


def child_rng(seed: int, index: int, *names: str | int) -> np.random.Generator:
    """The random stream of one component of one scene, seeded by SHA-256 over their canonical JSON."""
    key = hashlib.sha256(json.dumps([seed, index, *names], separators=(",", ":")).encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype="<u4"))


def random_scene(
    seed: int,
    index: int,
    *,
    cameras: int,
    width: int,
    height: int,
    frames: int,
    fps: Fraction | int,
    settings: SceneSettings,
    performances: Sequence[MotionFile] = (),
) -> SceneSpec:
    """Draw scene number ``index``.

    Args:
        seed: 0 is as good as any.
        index: Which scene of that seed.
        cameras: How many, twins not counted.
        width: Of every take, pixels.
        height: Of every take, pixels.
        frames: Of every take.
        fps: Frames per second.
        settings: What scenes have.
        performances: Recorded motions for people; the procedural ones without.
    """
    rate = Fraction(fps)
    duration = float(frames / rate)

    def child(*names: str | int) -> np.random.Generator:
        return child_rng(seed, index, *names)

    taken: list[layout.Disc] = []
    people = [
        layout.person(child("person", i), f"person-{i}", duration, performances, taken)
        for i in range(_count(child("people"), settings.min_people, settings.max_people))
    ]
    objects = [
        layout.thing(child("object", i), f"object-{i}", settings.moving, taken)
        for i in range(_count(child("objects"), settings.min_objects, settings.max_objects))
    ]
    light = child("world")
    hdri = palette.pick(light, HDRIS)
    scene = SceneSpec(
        seed=seed,
        index=index,
        width=width,
        height=height,
        frames=frames,
        fps_num=rate.numerator,
        fps_den=rate.denominator,
        world=World(
            hdri=hdri,
            strength=EXPOSURES[hdri] * light.uniform(0.8, 1.2),
            rotation=light.uniform(0, 360),
        ),
        ground=palette.floor(child("ground")),
        objects=tuple(objects),
        people=tuple(people),
        subject=(people or objects)[0].name,
    )
    spec = _rounded(scene)  # cameras look at what is kept, so that they can be drawn again
    return _rounded(replace(spec, cameras=_cameras(spec, cameras, settings)))


def redraw_camera(spec: SceneSpec, name: str, attempt: int, settings: SceneSettings) -> SceneSpec:
    """The scene with another trajectory for one camera and its twins; attempt 0 is the first draw.

    Raises:
        ValueError: There is no such camera, or it is a twin.
    """
    if name not in {camera.name for camera in spec.cameras if not camera.twin_of}:
        raise ValueError(f"{name!r} is no camera of the scene with a trajectory of its own")
    bullet = any(camera.name == name and camera.time.kind == "freeze" for camera in spec.cameras)
    drawn = _trajectory(spec, name, attempt, BULLET if bullet else settings.kinds)
    cameras = tuple(
        replace(camera, trajectory=replace(drawn, moves=()) if camera.twin == "static" else drawn)
        if name in (camera.name, camera.twin_of)
        else camera
        for camera in spec.cameras
    )
    return _rounded(replace(spec, cameras=cameras))


def _cameras(spec: SceneSpec, count: int, settings: SceneSettings) -> tuple[Camera, ...]:
    """The cameras, then the twins. Only the first has retime and edit twins, so that more cameras change nothing."""
    moment = child_rng(spec.seed, spec.index, "moment").uniform(0.2, 0.8) * spec.duration
    cameras, twins = [], []
    for i in range(count):
        name = f"camera-{i}"
        bullet = i > 0 and child_rng(spec.seed, spec.index, "bullet", i).uniform() < settings.bullet
        camera = Camera(
            name=name,
            trajectory=_trajectory(spec, name, 0, BULLET if bullet else settings.kinds),
            time=TimeMap(kind="freeze", value=moment) if bullet else TimeMap(),
        )
        cameras.append(camera)
        if settings.static_twins and not bullet:
            still = replace(camera.trajectory, moves=())
            twins.append(
                replace(camera, name=f"{name}-static", trajectory=still, twin_of=name, twin="static")
            )
    if cameras:
        first = cameras[0]
        rng = child_rng(spec.seed, spec.index, "retime")
        if rng.uniform() < settings.retime:
            time = _time(rng, spec.duration)
            twins.append(
                replace(first, name=f"{first.name}-retime", time=time, twin_of=first.name, twin="retime")
            )
        rng = child_rng(spec.seed, spec.index, "edit")
        if rng.uniform() < settings.edit and (edit := _edit(rng, spec)):
            twins.append(
                replace(first, name=f"{first.name}-edit", edit=edit, twin_of=first.name, twin="edit")
            )
    return (*cameras, *twins)


def _trajectory(spec: SceneSpec, name: str, attempt: int, kinds: Sequence[Kind]) -> Trajectory:
    target, radius = _target(spec)
    rng = child_rng(spec.seed, spec.index, "camera", name, attempt)
    return random_trajectory(rng, target, subject_radius=radius, kinds=kinds)


def _target(spec: SceneSpec) -> tuple[Vector, float]:
    """Where the subject is about halfway through the clip, and half its extent, metres."""
    for person in spec.people:
        if person.name == spec.subject:
            x, y = layout.stroll(person, spec.duration / 2)
            return (x, y, 0.6 * person.height), person.height / 2
    thing = next(thing for thing in spec.objects if thing.name == spec.subject)
    x, y, z = thing.position
    return (x, y, z + thing.size[2] / 2), math.hypot(*thing.size) / 2


def _time(rng: np.random.Generator, duration: float) -> TimeMap:
    """Another timing than the normal one."""
    return palette.pick(
        rng,
        (
            TimeMap(kind="freeze", value=rng.uniform(0.2, 0.8) * duration),
            TimeMap(kind="slow", value=rng.uniform(0.3, 0.7)),
            TimeMap(kind="reverse"),
            TimeMap(kind="shift", value=rng.uniform(0.3, 0.8) * duration),
        ),
    )


def _edit(rng: np.random.Generator, spec: SceneSpec) -> Edit | None:
    """A change to one of the three large objects nearest to the subject, which a camera that looks at it shows best."""
    target, _ = _target(spec)
    large = [thing for thing in spec.objects if max(thing.size) >= EDITABLE and thing.name != spec.subject]
    if not large:
        return None
    thing = palette.pick(rng, sorted(large, key=lambda thing: math.dist(thing.position, target))[:3])
    kind = palette.pick(rng, ("remove", "recolour", "retexture"))
    old = thing.texture
    if kind == "remove":
        return Edit(kind="remove", object=thing.name)
    if kind == "retexture":
        kinds = [other for other in palette.KINDS if other != old.kind]
        return Edit(kind="retexture", object=thing.name, texture=palette.texture(rng, kinds))
    new = replace(old, a=palette.another(rng, old.a), b=palette.another(rng, old.b))
    return Edit(kind="recolour", object=thing.name, texture=new)


def _count(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _rounded(spec: SceneSpec) -> SceneSpec:
    """Every number with four decimals at most: a tenth of a millimetre, and short to read."""
    return from_json(
        json.dumps(json.loads(to_json(spec), parse_float=lambda number: round(float(number), 4)))
    )
