"""SceneSpec: everything a synthetic scene consists of, as frozen dataclasses, JSON and a hash.

Units: metres, seconds, degrees, millimetres for lenses and sensors. World axes: +Z is up, the ground is z = 0.
Colours are linear RGB in [0, 1].
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from renderers.scenes.trajectories import Trajectory

Vector = tuple[float, float, float]
Colour = tuple[float, float, float]

HDRIS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""The CC0 environment maps that Blender brings along."""


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A procedural surface.

    Attributes:
        kind: Blender's texture of that name; ``plain`` has colour ``a`` everywhere.
        a, b: The two colours it mixes.
        scale: Features per metre, about.
        roughness, metallic: Of the principled shader, 0 to 1.
    """

    kind: Literal["plain", "noise", "checker", "brick", "voronoi", "wave"]
    a: Colour
    b: Colour = (0.0, 0.0, 0.0)
    scale: float = 4.0
    roughness: float = 0.6
    metallic: float = 0.0


@dataclass(frozen=True, kw_only=True)
class World:
    """Light and background: an environment map turned by ``rotation`` degrees about Z."""

    hdri: str
    strength: float = 1.0
    rotation: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How a rigid object moves around where it stands.

    Attributes:
        kind: ``still``; ``slide`` to and fro along ``direction``; ``circle`` in the horizontal plane; ``spin`` about Z
            in place; ``bounce`` up and down as a ball does; ``swing`` as a pendulum hung above it.
        amplitude: Metres (slide, bounce: peak; circle: radius), degrees (swing); unused by spin.
        period: Seconds of a full cycle.
        phase: Where in the cycle it starts, 0 to 1.
        direction: Degrees about Z (slide, swing).
    """

    kind: Literal["still", "slide", "circle", "spin", "bounce", "swing"] = "still"
    amplitude: float = 0.0
    period: float = 4.0
    phase: float = 0.0
    direction: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Object:
    """A rigid thing.

    Attributes:
        name: Unique in the scene.
        size: Extent along its own axes, metres.
        position: Of the middle of its underside.
        heading: Degrees about Z.
    """

    name: str
    shape: Literal["box", "sphere", "cylinder", "cone", "torus", "capsule", "pyramid"]
    size: Vector
    position: Vector
    heading: float
    texture: Texture
    motion: Motion = Motion()


@dataclass(frozen=True, kw_only=True)
class Performance:
    """The recorded (or procedural) motion that a person performs.

    Attributes:
        name: File name without suffix, or a procedural motion's name.
        sha256: Of the file, which finds it on any machine; "" for a procedural one.
        start: Seconds into the recording.
        speed: 1 is as recorded.
    """

    name: str
    sha256: str = ""
    start: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Person:
    """A procedural skinned body.

    Attributes:
        name: Unique in the scene.
        position: Where the hips stand above at the start, on the ground (x, y).
        heading: Degrees about Z.
        height: Metres.
        build: Girth; 1 is average.
        skin, top, trousers, hair: Colours of its parts.
    """

    name: str
    performance: Performance
    position: tuple[float, float]
    heading: float
    height: float
    build: float
    skin: Colour
    top: Texture
    trousers: Texture
    hair: Colour


@dataclass(frozen=True, kw_only=True)
class TimeMap:
    """Which moment of the action a camera shows at its own time t, D being the time of the last frame.

    ``normal``: t; ``freeze``: always ``value`` seconds (bullet time); ``slow``: ``value`` * t; ``reverse``: D - t;
    ``shift``: t + ``value``.
    """

    kind: Literal["normal", "freeze", "slow", "reverse", "shift"] = "normal"
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change to one object that only this camera sees: the other half of a before-and-after pair.

    Attributes:
        kind: ``remove`` (seen the other way round: add), ``recolour`` or ``retexture``.
        object: Its name.
        texture: The new surface.
    """

    kind: Literal["remove", "recolour", "retexture"]
    object: str
    texture: Texture | None = None


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera and its take of the scene.

    Attributes:
        name: Unique in the scene.
        trajectory: Path and lens per frame.
        sensor_width, sensor_height: Millimetres.
        sensor_fit: Which side of the picture the sensor's measure belongs to, as in Blender: ``AUTO`` is horizontal
            when the width is at least the height (and always uses ``sensor_width``).
        shift_x, shift_y: Principal point offset in units of the picture's fitted side, as in Blender.
        time: Which moment each frame shows.
        twin_of: The camera that this one repeats with one thing changed; "" if none.
        twin: What is changed.
        edit: For edit twins.
    """

    name: str
    trajectory: Trajectory
    sensor_width: float = 36.0
    sensor_height: float = 24.0
    sensor_fit: Literal["AUTO", "HORIZONTAL", "VERTICAL"] = "AUTO"
    shift_x: float = 0.0
    shift_y: float = 0.0
    time: TimeMap = TimeMap()
    twin_of: str = ""
    twin: Literal["", "static", "retime", "edit"] = ""
    edit: Edit | None = None


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """A synthetic scene.

    Attributes:
        seed, index: What it was drawn from; 0 is as good as any.
        width, height, frames: Of every take.
        fps_num, fps_den: Frame rate.
        subject: Name of the person or object that the cameras are about.
    """

    seed: int
    index: int
    width: int
    height: int
    frames: int
    fps_num: int
    fps_den: int = 1
    world: World
    ground: Texture
    objects: tuple[Object, ...] = ()
    people: tuple[Person, ...] = ()
    cameras: tuple[Camera, ...] = field(default=())
    subject: str = ""

    @property
    def fps(self) -> Fraction:
        """Frame rate."""
        return Fraction(self.fps_num, self.fps_den)

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.frames / self.fps)

    @property
    def id(self) -> str:
        """SHA-256 over the canonical JSON, 40 hexadecimal digits: equal specs, equal IDs, on any machine."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:40]


_SCENE: TypeAdapter[SceneSpec] = TypeAdapter(SceneSpec)


def to_json(spec: SceneSpec) -> str:
    """Canonical JSON: sorted keys, no spaces; floats in their shortest exact form."""
    return json.dumps(
        _SCENE.dump_python(spec, mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def from_json(text: str | bytes) -> SceneSpec:
    """Read a spec back.

    Raises:
        ValueError: Not a SceneSpec; the message names the fields that are wrong.
    """
    try:
        return _SCENE.validate_json(text, extra="forbid")
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'scene'}: {e['msg']}" for e in error.errors()[:5]
        )
        raise ValueError(f"not a scene spec: {wrong}") from None


def schema() -> dict[str, Any]:
    """JSON schema of a spec, for editors."""
    return _SCENE.json_schema()
