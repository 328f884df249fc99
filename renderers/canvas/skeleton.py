"""Whole-body poses: the COCO-WholeBody layout of 133 joints, and drawing them as OpenPose does.

Layout: Jin et al., Whole-Body Human Pose Estimation in the Wild (2020). Limbs and colours: OpenPose's body of 18
joints, whose neck is the middle of the shoulders; feet have a place in the layout and are not drawn.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.canvas import subpixel

BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND = ("hand_root", *(f"{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)))
NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    *(f"face_{index}" for index in range(68)),
    *(f"left_{joint}" for joint in _HAND),
    *(f"right_{joint}" for joint in _HAND),
)
"""Of the 133 joints, in order; left and right are the person's."""

NECK = len(NAMES)
"""Where the drawing appends the neck to the 133."""

OPENPOSE = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""The joints of OpenPose's body, in its order: nose, neck, right arm, left arm, right leg, left leg, eyes, ears."""

LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of places in :data:`OPENPOSE`, in the order of their colours."""

HAND_BONES = tuple(
    (0 if step == 1 else finger + step - 1, finger + step)
    for finger in range(0, 20, 4)
    for step in range(1, 5)
)
"""Pairs of a hand's 21 joints: from the root along each finger."""

Colour = tuple[int, ...]
"""RGB, 0 to 255."""


def _rainbow(count: int, shade: float = 1.0) -> tuple[Colour, ...]:
    hues = (colorsys.hsv_to_rgb(index / count, 1, 1) for index in range(count))
    return tuple(tuple(round(255 * part * shade) for part in hue) for hue in hues)


@dataclass(frozen=True, kw_only=True)
class Part:
    """How a part of the body looks.

    Attributes:
        joints: Which of the 134, the neck included.
        dots: Each joint's colour.
        radius: Of the dots, in pixels of a picture 512 high.
        bones: Pairs of places in ``joints``, [N, 2].
        colours: Each bone's.
        half: Half a bone's width, in pixels of a picture 512 high.
        outline: A bone's: :func:`renderers.canvas.subpixel.ellipses` or ``capsules``.
    """

    joints: tuple[int, ...]
    dots: tuple[Colour, ...]
    radius: float
    bones: NDArray[np.intp]
    colours: tuple[Colour, ...]
    half: float
    outline: Callable[..., NDArray[np.float64]]


def _hand(joints: slice) -> Part:
    return Part(
        joints=_indices(joints),
        dots=((0, 0, 255),) * 21,
        radius=2.0,
        bones=np.array(HAND_BONES),
        colours=_rainbow(20),
        half=1.0,
        outline=subpixel.capsules,
    )


def _indices(part: slice) -> tuple[int, ...]:
    return tuple(range(part.start, part.stop))


_BODY = Part(
    joints=OPENPOSE,
    dots=_rainbow(18),
    radius=4.0,
    bones=np.array(LIMBS),
    colours=_rainbow(18, shade=0.6)[:17],
    half=4.0,
    outline=subpixel.ellipses,
)
_FACE = Part(
    joints=_indices(FACE),
    dots=((255, 255, 255),) * 68,
    radius=2.0,
    bones=np.zeros((0, 2), np.intp),
    colours=(),
    half=0.0,
    outline=subpixel.capsules,
)
PARTS = (_BODY, _hand(LEFT_HAND), _hand(RIGHT_HAND), _FACE)
"""What is drawn, in this order."""

LEAST = 0.6
"""Pixels that a dot's radius and half a bone's width have at least, on small pictures."""


def joints_seen(scores: NDArray[np.floating[Any]]) -> float:
    """How many of the best-seen person's 17 joints score above 0, averaged over frames [F, P, 133]; 0 for nobody."""
    return float((scores[:, :, BODY] > 0).sum(axis=2).mean(axis=0).max(initial=0))


def draw(
    joints: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    width: int,
    height: int,
    *,
    threshold: float = 0.3,
) -> NDArray[np.uint8]:
    """The people on black, uint8 [H, W, 3]; see :func:`paint`."""
    return paint(np.zeros((height, width, 3), np.uint8), joints, scores, threshold=threshold)


def paint(
    picture: NDArray[np.uint8],
    joints: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    *,
    threshold: float = 0.3,
) -> NDArray[np.uint8]:
    """People over a picture: all bodies, then all hands, then all faces.

    Args:
        picture: uint8 [H, W, 3], RGB. Sizes go with its height.
        joints: [P, 133, 2], pixels, pixel centres at +0.5; may be off the picture.
        scores: [P, 133] in [0, 1]. The neck has the lower one of the shoulders.
        threshold: A joint with a lower score, or one that is NaN, is not drawn, nor are its bones.

    Returns:
        uint8 [H, W, 3], a new picture.
    """
    shoulders = [NAMES.index("left_shoulder"), NAMES.index("right_shoulder")]
    with np.errstate(invalid="ignore"):
        neck = joints[:, shoulders].mean(1, keepdims=True)
    at = np.concatenate([joints, neck], 1).astype(np.float64)
    score = np.concatenate([scores, scores[:, shoulders].min(1, keepdims=True)], 1)
    shown = (score >= threshold) & (np.abs(at) < subpixel.FARTHEST).all(-1)
    height, width = picture.shape[:2]
    times = subpixel.factor(width, height)
    canvas = subpixel.enlarge(picture, times)
    for part in PARTS:
        radius, half = (max(size * height / 512, LEAST) for size in (part.radius, part.half))
        for place, seen in zip(at[:, part.joints], shown[:, part.joints], strict=True):
            whole = np.flatnonzero(seen[part.bones].all(1))
            a, b = place[part.bones[whole]].swapaxes(0, 1)
            outlines = part.outline(a, b, half, times)
            subpixel.polygons(canvas, outlines, [part.colours[bone] for bone in whole], times)
            dots = np.flatnonzero(seen)
            outlines = subpixel.capsules(place[dots], place[dots], radius, times)
            subpixel.polygons(canvas, outlines, [part.dots[dot] for dot in dots], times)
    return subpixel.shrink(canvas, times)
