"""MediaPipe's landmarks as the 133 joints of COCO-WholeBody, and what two poses have in common.

Sources of the numbering: MediaPipe's documentation of its 33 pose and 21 hand landmarks; the places of the 68 iBUG
points on its mesh of 468 are the table in common use. It has no small toes: those are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.canvas.skeleton import BODY, FACE, LEFT_HAND, NAMES, RIGHT_HAND

Array = NDArray[np.floating[Any]]

BODY_AND_FEET = (
    *(0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28),
    *(31, -1, 29, 32, -1, 30),
)
"""Where in the 33 the first 23 joints are; -1 for none."""

MESH_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""Where in the mesh of 468 the iBUG points are."""

FOUND = 0.5
"""The presence from which MediaPipe's networks tell of a hand or a face; it does not say how much above."""

SEEN = 0.3
"""Least score of a joint that says where a person is."""

SAME = 0.1
"""Body joints of two poses that are this near (median, in the larger one's size) are of one person seen twice."""

_MIRRORED = [
    NAMES.index({"left": "right", "right": "left"}.get(side, side) + rest)
    for side, rest in ((name.partition("_")[0], "".join(name.partition("_")[1:])) for name in NAMES[BODY])
]


def joined(
    pose: Array, face: Array | None, left: Array | None, right: Array | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One person's 133 joints.

    Args:
        pose: The 33 landmarks, [33, 3]: x, y in pixels, and visibility in [0, 1].
        face: The mesh, [468, 2] pixels; None where no face was found.
        left: The person's left hand, [21, 2] pixels; None where it was not found.
        right: The right one.

    Returns:
        Pixels [133, 2], NaN where not known, and scores [133] in [0, 1], 0 there. A hand or a face that was found is
        as sure as the wrist or the nose, and at least :data:`FOUND`.
    """
    joints = np.full((len(NAMES), 2), np.nan, np.float32)
    scores = np.zeros(len(NAMES), np.float32)
    places = np.array(BODY_AND_FEET)
    known = np.flatnonzero(places >= 0)
    joints[known], scores[known] = pose[places[known], :2], pose[places[known], 2]
    mesh = None if face is None else face[list(MESH_68)]
    for part, found, anchor in (
        (FACE, mesh, "nose"),
        (LEFT_HAND, left, "left_wrist"),
        (RIGHT_HAND, right, "right_wrist"),
    ):
        if found is not None:
            joints[part], scores[part] = found, max(FOUND, scores[NAMES.index(anchor)])
    return joints, scores


def box(joints: Array, scores: Array) -> NDArray[np.float64]:
    """Left, top, right, bottom of a person's seen joints [133, 2] in pixels; NaN if none is seen."""
    seen = joints[(scores >= SEEN) & np.isfinite(joints).all(-1)]
    if not len(seen):
        return np.full(4, np.nan)
    return np.concatenate([seen.min(0), seen.max(0)]).astype(np.float64)


def apart(one: tuple[Array, Array], other: tuple[Array, Array], mirrored: bool = False) -> float:
    """How far two people's bodies are from each other.

    Args:
        one: Joints [133, 2] and scores [133].
        other: The same.
        mirrored: Left and right of the one are changed over before.

    Returns:
        The median distance of the body joints that are seen of both, as a part of the larger one's longer side;
        infinite for fewer than three.
    """
    (here, sure), (there, certain) = ((joints[BODY], scores[BODY]) for joints, scores in (one, other))
    if mirrored:
        here, sure = here[_MIRRORED], sure[_MIRRORED]
    both = (sure >= SEEN) & (certain >= SEEN)
    if both.sum() < 3:
        return float("inf")
    size = max(_size(one[0]), _size(other[0]))
    return float(np.median(np.linalg.norm(here - there, axis=-1)[both])) / max(size, 1e-6)


def same(one: tuple[Array, Array], other: tuple[Array, Array]) -> bool:
    """Whether two poses of a frame are one person's; a network that sees somebody twice may see them turned round."""
    return min(apart(one, other), apart(one, other, mirrored=True)) < SAME


def _size(joints: Array) -> float:
    """The longer side around the body, what is beyond the picture included."""
    body = joints[BODY][np.isfinite(joints[BODY]).all(-1)]
    return float(np.ptp(body, axis=0).max())
