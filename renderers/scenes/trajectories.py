"""Camera trajectories in pure NumPy: which moves there are, where they bring a camera, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from renderers.scenes import moves

NEAREST, LOWEST = 0.5, 0.3
"""Metres that a random camera keeps from its subject and from the ground, at least."""
HAND = 0.2
"""Metres more for the hand that may shake it, which stays below that."""
LENSES, ZOOMS = (18.0, 50.0), (12.0, 125.0)
"""Millimetres: focal lengths in frame 0, and how far zooming may take them."""

Vector = tuple[float, float, float]
Kind = Literal[
    "static",
    "pan",
    "tilt",
    "roll",
    "dolly",
    "truck",
    "pedestal",
    "arc",
    "orbit",
    "crane",
    "spline",
    "handheld",
    "zoom",
    "dolly_zoom",
    "follow",
]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One movement; several compose in order, each acting on the camera as the earlier ones left it at that moment.

    So ``dolly, pan`` rolls straight ahead while the head turns, ``pan, dolly`` drives where the camera looks, and
    ``orbit, dolly`` spirals in. The target stands still until ``follow`` or ``dolly_zoom`` ties it to the subject.

    What each kind moves, and by which ``amount`` from u = 0 to u = 1:

    * ``static``: nothing.
    * ``pan``: turns about the world's vertical, degrees, positive to the left.
    * ``tilt``: turns about the camera's own right axis, degrees, positive up.
    * ``roll``: turns about the viewing axis, degrees, positive clockwise for whoever stands behind the camera (the
      picture's content turns anticlockwise).
    * ``dolly``, ``truck``: metres forward, right, along the camera's own axes; the orientation stays.
    * ``pedestal``: metres up; the orientation stays.
    * ``crane``: metres up, still looking at the target.
    * ``arc``, ``orbit``: turns camera and all about the vertical through the target, degrees, positive anticlockwise
      seen from above. They differ in name only: part of a circle, up to all of it. With a ``freeze`` time map it is
      bullet time.
    * ``spline``: a smooth curve through three waypoints drawn within ``amount`` metres of the eye, looking at the
      target.
    * ``handheld``: band-limited noise, ``amount`` degrees RMS about each axis and 1 cm per degree along it.
    * ``zoom``: multiplies the focal length by ``amount`` (> 0), at an even rate.
    * ``dolly_zoom``: multiplies the distance to the subject by ``amount`` (> 0), at an even rate, looking at it; the
      focal length follows the distance, so that the subject stays as large in the picture as in frame 0.
    * ``follow``: the camera goes along with the subject and keeps its offset and orientation.

    Attributes:
        kind: What moves.
        amount: How far; ``static`` and ``follow`` ignore it.
        easing: ``constant`` speed, or ``ease`` in and out; ``handheld`` and ``follow`` ignore it.
        seed: Of what is drawn by lot (spline, handheld).
    """

    kind: Kind
    amount: float = 0.0
    easing: Literal["constant", "ease"] = "constant"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """A camera path with its lens.

    Attributes:
        eye, target: Where the camera stands and what it looks at in frame 0, world coordinates, +Z up.
        lens: Focal length at frame 0, millimetres.
        moves: Applied in order.
    """

    eye: Vector
    target: Vector
    lens: float = 35.0
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Path:
    """A trajectory at given moments.

    Attributes:
        c2w: Camera-to-world, OpenCV camera axes (x right, y down, z forward), float64 [N, 4, 4].
        lens: Focal length in millimetres, float64 [N].
    """

    c2w: NDArray[np.float64]
    lens: NDArray[np.float64]


def path(
    trajectory: Trajectory,
    times: NDArray[np.float64],
    *,
    duration: float,
    subject: NDArray[np.float64] | None = None,
) -> Path:
    """Where a trajectory brings its camera.

    Each moment is computed on its own: other times in the same call change nothing.

    Args:
        trajectory: What to do.
        times: Normalised times u [N]: 0 at frame 0, 1 at the last frame. Outside of that, as for the frames before
            and after a clip, constant moves run on and eased ones rest.
        duration: Seconds from u = 0 to u = 1; how fast a hand shakes depends on it.
        subject: World positions [N, 3], at those times, of what ``follow`` and ``dolly_zoom`` are about. It is
            ``trajectory.target`` at u = 0; a camera that follows anything else starts off its eye by the difference.
            None: it stands still at the target.

    Raises:
        ValueError: Eye and target coincide, ``subject`` is not [N, 3], or a lens or a ratio is not positive.
    """
    eye, target = np.array(trajectory.eye, dtype=np.float64), np.array(trajectory.target, dtype=np.float64)
    if np.linalg.norm(target - eye) < 1e-9:
        raise ValueError(f"eye and target coincide: {trajectory.eye}")
    ratios = [move.amount for move in trajectory.moves if move.kind in ("zoom", "dolly_zoom")]
    if min(trajectory.lens, *ratios, 1.0) <= 0.0:
        raise ValueError(f"lens and ratios must be positive: {trajectory.lens}, {ratios}")
    # Row 0 is frame 0, whatever was asked for: noise and ratios refer to it.
    u = np.concatenate([[0.0], times])
    if subject is None:
        subject = np.tile(target, (len(times), 1))
    if subject.shape != (len(times), 3):
        raise ValueError(f"subject must be [{len(times)}, 3], not {list(subject.shape)}")
    subject = np.concatenate([target[None], subject])

    eyes, targets, up = np.tile(eye, (len(u), 1)), np.tile(target, (len(u), 1)), moves.picture_up(eye, target)
    lens = np.full(len(u), trajectory.lens)
    rig = moves.Rig(eye=eyes, axes=moves.look_at(eyes, targets, up), lens=lens, target=targets, up=up)
    for move in trajectory.moves:
        rig = moves.apply(rig, move, u, duration=duration, subject=subject)

    c2w = np.tile(np.eye(4), (len(u), 1, 1))
    c2w[:, :3, :3], c2w[:, :3, 3] = rig.axes, rig.eye
    return Path(c2w=c2w[1:], lens=rig.lens[1:])


def random_trajectory(
    rng: np.random.Generator, target: Vector, *, subject_radius: float, kinds: Sequence[Kind] | None = None
) -> Trajectory:
    """Draw a trajectory about a target.

    The camera starts 3 to 10 m from the target, at most 45 degrees above it, looking at it. It makes one move, and one
    time in four each also zooms or shakes, where ``kinds`` has that. Ranges contain those of ReCamMaster's
    MultiCamVideo dataset (arXiv 2503.11647, section 4 and the repository's README): pan 5 to 45 degrees, tilt 5 to 30,
    arcs 15 to 75, translations 1/4 to 1 of the distance, 18 to 50 mm, constant and varying speed, either sign. From
    u = 0 to 1 the eye keeps 0.3 m from the ground and 0.5 m from a still subject.

    Args:
        rng: Where the draws come from.
        target: World position to look at, above the ground z = 0.
        subject_radius: Half the extent of the subject in metres: of its height, if it stands.
        kinds: What to choose from; all kinds by default.

    Raises:
        ValueError: No such trajectory was found in 1000 draws, or ``kinds`` is empty.
    """
    kinds = get_args(Kind) if kinds is None else kinds
    if not kinds:
        raise ValueError("no kinds of moves to choose from")
    main = kinds[int(rng.integers(len(kinds)))]
    extras: tuple[Kind, ...] = ("zoom", "handheld")
    made = [main, *(kind for kind in extras if kind in kinds and kind != main and rng.random() < 0.25)]
    for _ in range(1000):
        distance, azimuth = rng.uniform(3.0, 10.0), rng.uniform(0.0, 2.0 * np.pi)
        elevation = np.radians(rng.uniform(-10.0, 45.0))
        level, rise = distance * np.cos(elevation), distance * np.sin(elevation)
        eye = np.add(target, (level * np.cos(azimuth), level * np.sin(azimuth), rise))
        drawn = Trajectory(
            eye=(float(eye[0]), float(eye[1]), float(eye[2])),
            target=target,
            lens=float(np.exp(rng.uniform(*np.log(LENSES)))),
            moves=tuple(_random_move(rng, kind, distance) for kind in made),
        )
        if _fits(drawn, subject_radius):
            return drawn
    raise ValueError(f"no {' + '.join(made)} keeps off the ground and {subject_radius} m about {target}")


def _random_move(rng: np.random.Generator, kind: Kind, distance: float) -> Move:
    """One move in the ranges promised above, for a camera that far from its target."""
    amounts = {
        "pan": (5.0, 45.0),
        "tilt": (5.0, 30.0),
        "roll": (5.0, 30.0),
        "dolly": (distance / 4, distance),
        "truck": (distance / 4, distance),
        "pedestal": (distance / 4, distance),
        "crane": (distance / 4, distance),
        "arc": (15.0, 75.0),
        "orbit": (90.0, 360.0),
        "spline": (distance / 8, distance / 2),
        "handheld": (0.2, 1.0),
        "zoom": (1.2, 2.5),
        "dolly_zoom": (1.3, 2.5),
    }
    easing: Literal["constant", "ease"] = "ease" if rng.random() < 0.5 else "constant"
    if kind not in amounts:
        return Move(kind=kind, easing=easing)
    amount = float(rng.uniform(*amounts[kind]))
    if kind in ("spline", "handheld"):
        return Move(kind=kind, amount=amount, easing=easing, seed=int(rng.integers(2**31)))
    if rng.random() < 0.5:
        amount = 1.0 / amount if kind in ("zoom", "dolly_zoom") else -amount
    return Move(kind=kind, amount=amount, easing=easing)


def _fits(trajectory: Trajectory, subject_radius: float) -> bool:
    """Whether the camera keeps clear of ground and subject, its lens exists, and a dolly zoom does what it promises."""
    steady = tuple(move for move in trajectory.moves if move.kind != "handheld")
    taken = path(replace(trajectory, moves=steady), np.linspace(0.0, 1.0, 65), duration=1.0)
    offset = taken.c2w[:, :3, 3] - trajectory.target
    distance = np.linalg.norm(offset, axis=1)
    lens_exists = ZOOMS[0] <= taken.lens.min() and taken.lens.max() <= ZOOMS[1]
    clear = taken.c2w[:, 2, 3].min() >= LOWEST + HAND and distance.min() >= subject_radius + NEAREST + HAND
    # An upright segment of half length r seen from elevation e at distance d has the height d / (d² - r² sin² e) per
    # focal length: proportional to 1 / d, and so undone by the lens, within 1% while r sin e < d / 11.
    upright = np.abs(offset[:, 2]) / distance * subject_radius < distance / 11
    zooming = any(move.kind == "dolly_zoom" for move in trajectory.moves)
    return bool(lens_exists and clear and (not zooming or upright.all()))
