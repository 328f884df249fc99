"""A trajectory in words, ``orbit=20,dolly=0.5,handheld=0.3``, and what it does to cameras that are known already.

The moves are those of :mod:`renderers.scenes.trajectories`. Rendered scenes have metres and a world whose up is +Z; of
a filmed clip only the cameras are known. So each camera brings a world of its own: up is what is up in its picture (its
-y), the target lies straight ahead at a given distance, and that distance is the unit of ``dolly``, ``truck``,
``pedestal``, ``crane`` and ``spline``.
"""

from __future__ import annotations

import difflib
import math
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from renderers.scenes.cameras import world_to_camera
from renderers.scenes.trajectories import Kind, Move, Trajectory, path

Array = NDArray[np.float64]

KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "follow")
"""The moves that a text may name: all but ``follow``, which is about a subject that nobody measured."""

_RATIOS = ("zoom", "dolly_zoom")


def parse(text: str, *, seed: int = 0) -> tuple[Move, ...]:
    """Moves from a text of ``kind=amount`` between commas, applied in that order; ``static`` has no amount.

    Amounts are degrees, units or ratios; see :class:`renderers.scenes.trajectories.Move`.

    Args:
        text: E.g. ``orbit=20,dolly=0.5``. A hyphen is as good as an underscore.
        seed: Of ``handheld`` and ``spline``.

    Raises:
        ValueError: Unknown move, or an amount that is no number or out of range; the message lists the moves.
    """
    return tuple(_move(part.strip(), seed) for part in text.split(","))


def said(moves: tuple[Move, ...]) -> str:
    """The text that :func:`parse` makes these moves of, but for their seed."""
    return ",".join("static" if move.kind == "static" else f"{move.kind}={move.amount:g}" for move in moves)


def direct(
    moves: tuple[Move, ...], intrinsics: Array, extrinsics: Array, distance: float, *, seconds: float
) -> tuple[Array, Array]:
    """Cameras that make moves on top of what they do already.

    Repeat frame 0's camera for a path that begins there and ignores the others.

    Args:
        moves: What to do between the first and the last frame.
        intrinsics: K [F, 3, 3].
        extrinsics: World to camera, OpenCV axes [F, 4, 4].
        distance: From a camera to its target, in the unit of the extrinsics; positive.
        seconds: From the first to the last frame; how fast a hand shakes depends on it.

    Returns:
        K and world to camera of the same shapes. Frame 0 is as it was.
    """
    count = len(extrinsics)
    ahead = Trajectory(eye=(0.0, 0.0, 0.0), target=(0.0, 1.0, 0.0), moves=moves)
    taken = path(ahead, np.linspace(0.0, 1.0, count), duration=seconds)
    still = path(Trajectory(eye=ahead.eye, target=ahead.target), np.zeros(1), duration=seconds)
    moved = world_to_camera(still.c2w) @ taken.c2w  # each camera in the axes of the one that it was
    moved[:, :3, 3] *= distance
    k = intrinsics.copy()
    k[:, :2, :2] *= (taken.lens / still.lens)[:, None, None]
    return k, world_to_camera(moved) @ extrinsics


def draw_lots(rng: np.random.Generator) -> tuple[Move, ...]:
    """One move, now and then with a turn of the head on top, that leaves most of what a camera sees in sight.

    Angles of 5 to 25 degrees, ways of 0.08 to 0.35 units, either sign.
    """
    main: Kind = rng.choice(["arc", "truck", "pedestal", "crane", "dolly", "spline"])
    amount = float(rng.uniform(5, 25) if main == "arc" else rng.uniform(0.08, 0.35))
    sign = 1 if main == "spline" or rng.random() < 0.5 else -1
    moves = [Move(kind=main, amount=round(sign * amount, 3), seed=int(rng.integers(2**31)))]
    if rng.random() < 0.25:
        moves.append(Move(kind="pan", amount=round(float(rng.uniform(-8, 8)), 3)))
    return tuple(moves)


def _move(part: str, seed: int) -> Move:
    name, _, value = (word.strip() for word in part.partition("="))
    kind = name.replace("-", "_")
    listed = f"the moves are {', '.join(KINDS)}"
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no move {name!r}: {guess}{listed}")
    if kind == "static":
        if value:
            raise ValueError(f"{part}: static has no amount; {listed}")
        return Move(kind=kind)
    try:
        amount = float(value)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount) or (kind in _RATIOS and amount <= 0):
        wanted = "a number above 0" if kind in _RATIOS else "a number"
        raise ValueError(f"{part}: {kind} needs {wanted}, e.g. {kind}={'1.5' if kind in _RATIOS else '10'}")
    return Move(kind=kind, amount=amount, seed=seed)
