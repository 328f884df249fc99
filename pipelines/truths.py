"""Clips of which everything is known, to grade estimators on: of the textured room, or takes of rendered scenes.

The room needs no Blender. Its clips go in turn through six ways to move a camera, every second one with moving boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import InputError
from catalogs.query import pin, select, table_of
from catalogs.root import Root
from pipelines.estimators import queries
from pipelines.identity import child_rng
from pipelines.timeline import Timeline
from pipelines.views import View
from renderers import room
from renderers.scenes.trajectories import Kind, Move

Array = NDArray[np.float64]
Frames = list[NDArray[np.uint8]]
Followed = tuple[Array, NDArray[np.floating[Any]], NDArray[np.bool_]]

POINTS = 256
"""As many are followed, at most: as many as the modality ``tracks`` asks for."""

_AMOUNTS: dict[Kind, tuple[float, float]] = {
    "dolly": (0.6, 1.2),
    "arc": (12.0, 28.0),
    "pan": (8.0, 20.0),
    "handheld": (0.4, 1.0),
    "static": (0.0, 0.0),
    "dolly_zoom": (1.15, 1.4),
}
"""What the room's cameras do, and between which amounts (see :class:`renderers.scenes.trajectories.Move`)."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A clip and what is known of it.

    Attributes:
        name: What the camera does, or the take.
        frames: RGB uint8 [H, W, 3].
        depth: Planar depth in metres, inf where there is nothing, [F, H, W].
        intrinsics: K in pixels [F, 3, 3].
        extrinsics: World to camera, OpenCV axes, [F, 4, 4].
        labels: Which moving body is seen, 0 for what stands still, [F, H, W].
        people: Those of them that are people.
        follow: Draws queries [N, 3] (frame, x, y), and gives their exact places [F, N, 2] and whether they are seen
            there [F, N].
        joints: Pixels [F, P, 133, 2] of people, and whether they are seen [F, P, 133]; None where nobody can be.
    """

    name: str
    frames: Frames
    depth: NDArray[np.float32]
    intrinsics: Array
    extrinsics: Array
    labels: NDArray[np.integer[Any]]
    people: tuple[int, ...]
    follow: Callable[[np.random.Generator], Followed]
    joints: tuple[NDArray[np.floating[Any]], NDArray[np.bool_]] | None


def of_the_room(count: int, width: int, height: int, frames: int, seed: int) -> Iterator[Truth]:
    """Clips of rooms, three of each, that differ in camera and what moves."""
    for n in range(count):
        kind = list(_AMOUNTS)[n % len(_AMOUNTS)]
        rng = child_rng(seed, "room", n)
        amount = float(rng.uniform(*_AMOUNTS[kind]))
        if rng.random() < 0.5 and kind not in ("handheld", "dolly"):
            amount = 1 / amount if kind == "dolly_zoom" else -amount
        move = Move(kind=kind, amount=amount, seed=int(rng.integers(2**31)))
        own, movers = int(rng.integers(2**31)), (n + n // len(_AMOUNTS)) % 2 * 2
        decor = int(child_rng(seed, "decor", n // 3).integers(2**31))
        lens = float(rng.uniform(26, 40))
        K, w2c = room.camera_path((move,), frames, width, height, lens=lens, seed=own)
        made = room.render(K, w2c, width, height, seed=decor, movers=movers)
        yield Truth(
            name=f"{kind}{', moving boxes' if movers else ''}",
            frames=made.frames,
            depth=made.depth,
            intrinsics=K,
            extrinsics=w2c,
            labels=made.labels,
            people=(),
            follow=_in_room(made),
            joints=None,
        )


def _in_room(made: room.Room) -> Callable[[np.random.Generator], Followed]:
    def follow(rng: np.random.Generator) -> Followed:
        asked = queries.grid(made.frames, POINTS // len(queries.STARTS), rng)
        return asked, *room.tracks(made, asked)

    return follow


def of_takes(root: Root, catalog: str, count: int, timeline: Timeline | None) -> Iterator[Truth]:
    """The first takes that a catalog ID of rendered scenes selects, fitted to a timeline (their own by default).

    Raises:
        InputError: There are none.
        ConfigError: They differ in size, and no timeline is given.
    """
    from pipelines.pairs import timeline_of

    found = pin(root, catalog)
    if "scene_id" not in table_of(root, found.name, version=found.version).schema.names:
        raise InputError(f"{found} holds no rendered takes", "Render some: avcontrol build multicam --root …")
    rows = select(root, found).to_pylist()
    if not rows:
        raise InputError(f"{found} selects no takes", "Say another WHERE.")
    rows.sort(key=lambda row: (row["scene_index"], row["camera"]))
    common = timeline or timeline_of(rows[:count], None)
    for row in rows[:count]:
        yield of_view(View(root=root, row=row, timeline=common))


def of_view(view: View) -> Truth:
    """A take."""
    known = view.tracks

    def follow(rng: np.random.Generator) -> Followed:
        often = np.flatnonzero(known["visible"].sum(axis=0) > 1)
        chosen = np.sort(rng.permutation(often)[:POINTS])
        pixels, visible = known["pixels"][:, chosen], known["visible"][:, chosen]
        first = visible.argmax(axis=0)
        return np.column_stack([first, pixels[first, np.arange(len(chosen))]]), pixels, visible

    joints = view.joints
    return Truth(
        name=f"{view.row['scene_index']} {view.row['camera']}",
        frames=view.frames,
        depth=view.depth,
        intrinsics=view.intrinsics,
        extrinsics=view.extrinsics,
        labels=np.where(np.isin(view.masks, _moving(view)), view.masks, 0),
        people=tuple(joints["body"].tolist()),
        follow=follow,
        joints=(joints["pixels"], joints["visible"]) if joints["pixels"].shape[1] else None,
    )


def _moving(view: View) -> list[int]:
    """Bodies that people are, or whose points move by 5 cm."""
    points, body = view.tracks["points"], view.tracks["body"]
    way = np.linalg.norm(points - points[:1], axis=-1).max(axis=0)
    return sorted({*view.joints["body"].tolist(), *body[way > 0.05].tolist()})
