"""Faces of a clip: whose head is where in every frame, and how wide its mouth is open.

An estimator is a function from frames to :class:`Faces`; :func:`track` is the one here. It finds faces in every frame,
links them over time, smooths their boxes and measures the lips inside the smooth boxes, so that a detection that jumps
by a pixel does not look like a mouth that moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from pipelines.estimators import blazeface
from pipelines.estimators.card import Card, named

Array = NDArray[np.float64]

BLAZEFACE = Card(
    name=blazeface.NAME,
    family="faces",
    summary="heads as boxes in pixels, and how wide mouths are open, of each person",
    license=blazeface.LICENSE,
)
ESTIMATORS: tuple[Card, ...] = (BLAZEFACE,)
"""The first is the default."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """F frames of P people, from the left to the right of the picture.

    Attributes:
        boxes: Heads, [F, P, 4] float32: left, top, right, bottom in pixels, partly outside the picture where the head
            is; NaN before a person comes and after they have left.
        mouths: The lips' opening as a part of the distance between the eyes' outer corners, [F, P] float32; NaN where
            it was not seen.
        scores: How sure the estimator is of a face there, [F, P] float32 in [0, 1]; 0 where the box is bridged.
    """

    boxes: NDArray[np.float32]
    mouths: NDArray[np.float32]
    scores: NDArray[np.float32]


GAP = 24
"""Frames that a face may be lost for and still be the same; turned away, or behind a hand."""

EVERY = 2
"""Faces are looked for in one of so many frames; their meshes are fitted in all."""

LEAST = 0.5
"""Part of the clip that a face must be seen in, so that passers-by and pictures on walls are nobody."""

SMOOTH = 2.0
"""Frames, sigma of the Gaussian that boxes are smoothed by."""

FAR = 1.0
"""Face widths that a face may move between two frames that it is seen in, or their ratio (natural log)."""

HEAD = (0.1, 0.35, 0.1, 0.05)
"""What a head has more than the mesh of its face at the left, top, right and bottom, in the mesh's heights."""


def card_of(name: str) -> Card:
    """The card called ``name``.

    Raises:
        ConfigError: There is none.
    """
    return named(ESTIMATORS, name)


def load(
    name: str, *, weights: str = "", checkout: str = "", device: str = "auto"
) -> Callable[[Sequence[NDArray[np.uint8]]], Faces]:
    """:func:`track`, its networks being here; it has no options.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: The networks' weights are not installed.
    """
    card_of(name)
    blazeface.load()
    return track


def weights_hash(name: str, *, weights: str = "", checkout: str = "") -> str:
    """One hash of both networks.

    Raises:
        ConfigError: No such estimator.
    """
    card_of(name)
    return hashlib.sha256("".join(blazeface.WEIGHTS.values()).encode()).hexdigest()


def track(frames: Sequence[NDArray[np.uint8]]) -> Faces:
    """Follow the faces of a clip by BlazeFace and its mesh.

    Args:
        frames: RGB [H, W, 3] of one shot.

    Returns:
        The faces that are seen in at least :data:`LEAST` of the frames; P may be 0.

    Raises:
        EstimatorUnavailable: The networks' weights are not installed.
    """
    looked = range(0, len(frames), EVERY)
    found = dict(zip(looked, [blazeface.detect(frames[index]) for index in looked], strict=True))
    linked = [one for one in link(found) if len(one) >= LEAST * len(looked)]
    people = [_measure(frames, one) for one in linked]
    people = [one for one in people if (one[2] > 0).sum() >= LEAST * len(frames)]
    people.sort(key=lambda one: float(np.nanmedian(one[0][:, [0, 2]])))
    boxes, mouths, scores = ([one[part] for one in people] for part in range(3))
    return Faces(
        boxes=np.array(boxes, np.float32).reshape(-1, len(frames), 4).swapaxes(0, 1),
        mouths=np.array(mouths, np.float32).reshape(-1, len(frames)).T,
        scores=np.array(scores, np.float32).reshape(-1, len(frames)).T,
    )


def link(detections: Mapping[int, Array]) -> list[dict[int, Array]]:
    """Who is who from frame to frame: the assignment of least total distance, frame after frame.

    Args:
        detections: By frame, in order, [N, 4 or more]: x, y (centre), width, height and what else is to be kept.

    Returns:
        Of every face, its detections by frame.
    """
    tracks: list[dict[int, Array]] = []
    for frame, found in detections.items():
        recent = [one for one in tracks if max(one) >= frame - GAP]
        last = np.array([one[max(one)] for one in recent]).reshape(len(recent), found.shape[1])
        apart = np.linalg.norm(last[:, None, :2] - found[None, :, :2], axis=-1)
        size = np.sqrt(last[:, None, 2] * found[None, :, 2])
        cost = apart / size + np.abs(np.log(last[:, None, 2] / found[None, :, 2]))
        pairs = list(zip(*linear_sum_assignment(np.minimum(cost, FAR)), strict=True))
        pairs = [(a, b) for a, b in pairs if cost[a, b] < FAR]
        for a, b in pairs:
            recent[a][frame] = found[b]
        taken = {b for _, b in pairs}
        tracks += [{frame: found[b]} for b in range(len(found)) if b not in taken]
    return tracks


def _measure(frames: Sequence[NDArray[np.uint8]], faces: dict[int, Array]) -> tuple[Array, Array, Array]:
    """Head boxes [F, 4], mouths [F] and scores [F] of one person, by the mesh inside the smoothed boxes."""
    boxes, mouths, scores = (
        np.full((len(frames), 4), np.nan),
        np.full(len(frames), np.nan),
        np.zeros(len(frames)),
    )
    first, end = max(0, min(faces) - GAP), min(len(frames), max(faces) + GAP + 1)
    smooth = _smooth(_bridge(list(faces), np.array(list(faces.values())), first, end))
    for index, face in zip(range(first, end), smooth, strict=True):
        points, sure = blazeface.mesh(frames[index], face)
        if sure >= blazeface.SEEN:
            low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
            around = np.array(HEAD) * (high - low)[1]
            boxes[index] = [*(low - around[:2]), *(high + around[2:])]
            mouths[index], scores[index] = blazeface.opening(points), sure
    seen = np.flatnonzero(scores)
    if len(seen):
        whole = slice(seen[0], seen[-1] + 1)
        boxes[whole] = _smooth(_bridge(seen, boxes[seen], seen[0], seen[-1] + 1))
    return boxes, mouths, scores


def _bridge(at: Sequence[int] | NDArray[np.intp], values: Array, first: int, end: int) -> Array:
    """Values [N, K] that are known at some frames, for all of [first, end): straight lines, level at the ends."""
    return np.stack([np.interp(np.arange(first, end), at, column) for column in values.T], axis=1)


def _smooth(values: Array) -> Array:
    return np.asarray(ndimage.gaussian_filter1d(values, SMOOTH, axis=0, mode="nearest"))
