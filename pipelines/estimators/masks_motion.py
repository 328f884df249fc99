"""What moves against its background: no weights, only OpenCV.

The camera's motion is taken out by homographies between neighbouring frames, from tracked corners by RANSAC. Around
every few frames the others are laid over each other and their median is the background there; what differs from it, and
was seen to move by optical flow, moves. A second round leaves what moves out of the median, so that less of it stays in
it. Where the background was never seen, the flow alone decides. Last, the guided filter (He et al., ECCV 2010) lets the
edges follow those of the picture, for 1 to 2 points of intersection over union (``tests/pipelines/moving.py``); GrabCut
gives 1 to 3 points more than that, for fifteen times its time.

It sees what moves by itself before one still surface or a far one. What hardly goes its own length in the clip is seen
in part, what stands still for half of it may leave a shadow, and a camera that moves among near things, or foliage in
the wind, gives false objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from catalogs.errors import UnusableClip

LONGEST = 384
"""Pixels of the longer side that it looks at; those below are of these pictures."""

REACH, LAID, EVERY = 24, 13, 8
"""Frames: a background is made from those up to so far away, so many of them, for every so many."""

GAP, MOVES, CLEARLY = 3, 0.6, 1.5
"""Frames that flow is found over; pixels over those that count as a motion beside other evidence, and alone."""

DIFFERENT = 10.0
"""Grey levels that a pixel differs by from the brightest and darkest background within a pixel's reach, at least."""

TARRIES = 8
"""Frames that a thing may stand still for between its motions."""

CORNERS, SPREAD, FEWEST, ALIKE = 400, 10, 12, 0.2
"""Corners to track and the pixels between them, so that no one thing has most of them; how many are too few to tell
anything by; and the least share that must move as one does."""

STILL, AS_WELL = 0.25, 0.8
"""A camera stands still where so many times as many corners as a homography moves right stay within so many pixels."""

EDGE, SOFT = 3, 1e-3
"""Radius in pixels and the square of the contrast (of 1) from which the guided filter keeps to an edge."""

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Maps = NDArray[np.float32]


def moving(frames: Sequence[Picture]) -> NDArray[np.float16]:
    """How surely every pixel shows something that moves by itself, in [0, 1], [F, H, W].

    Args:
        frames: RGB [H, W, 3] of one shot.

    Raises:
        UnusableClip: ``no_texture`` or ``cut_inside``.
    """
    height, width = frames[0].shape[:2]
    shrink = min(1.0, LONGEST / max(height, width))
    size = max(16, round(width * shrink)), max(16, round(height * shrink))
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    gray = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in small]
    places = _places(gray)
    speed = _speed(gray, places)
    soft = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8) for picture in small]
    apart = _apart(soft, places, np.ones(speed.shape, np.uint8))
    moved = (np.nan_to_num(apart, nan=np.inf) > DIFFERENT) & (speed > MOVES)
    apart = _apart(soft, places, 1 - ndimage.grey_dilation(moved.astype(np.uint8), (1, 7, 7)))
    known = np.isfinite(apart)
    sure = np.maximum(np.where(known, apart / DIFFERENT, speed / CLEARLY), 0)
    sure = _kept(sure / (1 + sure), moved)
    return np.stack([_sharpened(one, frame) for one, frame in zip(sure, frames, strict=True)])


def _places(gray: Sequence[Picture]) -> list[Matrix]:
    """From every frame's pixels to the first one's, as far as the background is concerned, F times [3, 3]."""
    places, seen = [np.eye(3)], len(gray) == 1
    for number, (one, two) in enumerate(pairwise(gray)):
        step = np.eye(3)
        corners = cv2.goodFeaturesToTrack(one, CORNERS, 0.001, SPREAD)
        if corners is not None and len(corners) >= FEWEST:
            seen = True
            step, alike = _step(one, two, corners)
            if alike < ALIKE:
                raise UnusableClip(
                    "cut_inside",
                    f"{alike:.0%} of the corners move alike from frame {number} to the next: a cut, or no background",
                )
        places.append(places[-1] @ step)
    if not seen:
        raise UnusableClip("no_texture", f"nowhere are there {FEWEST} corners to see the camera's motion by")
    return places


def _step(one: Picture, two: Picture, corners: Maps) -> tuple[Matrix, float]:
    """From a frame's pixels to those of the one before, and the share of the corners that move so."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(one, two, corners, None, winSize=(15, 15), maxLevel=3)
    before, after = (points[status[:, 0] > 0] for points in (corners, found))
    step, inliers = cv2.findHomography(after, before, cv2.RANSAC, 1.0) if len(after) >= 4 else (None, None)
    if step is None:
        return np.eye(3), 0.0
    off = [np.linalg.norm(back - before, axis=-1) for back in (after, cv2.perspectiveTransform(after, step))]
    stays, goes = ((one < STILL).sum() for one in off)
    return np.eye(3) if stays >= AS_WELL * goes else step, float(inliers.sum() / len(corners))


def _speed(gray: Sequence[Picture], places: Sequence[Matrix]) -> Maps:
    """Pixels that a pixel moves in :data:`GAP` frames against the background, the lesser of onwards and back."""
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    speeds = np.zeros((len(gray), *gray[0].shape), np.float32)
    for number, here in enumerate(gray):
        others = [other for other in (number - GAP, number + GAP) if 0 <= other < len(gray)]
        there = [_warped(gray[other], places[other], places[number]) for other in others]
        flows = [np.linalg.norm(search.calc(here, other, None), axis=-1) for other in there]
        if flows:
            speeds[number] = np.minimum.reduce(flows)
    return speeds


def _apart(soft: Sequence[Picture], places: Sequence[Matrix], usable: NDArray[np.uint8]) -> Maps:
    """Grey levels that every pixel is outside of what the background has around it; NaN where none is known."""
    apart = np.full((len(soft), *soft[0].shape[:2]), np.nan, np.float32)
    square = np.ones((3, 3), np.uint8)
    for first in range(0, len(soft), EVERY):
        key = min(first + EVERY // 2, len(soft) - 1)
        ends = max(key - REACH, 0), min(key + REACH, len(soft) - 1)
        near = np.linspace(*ends, min(LAID, 1 + ends[1] - ends[0])).round().astype(int).tolist()
        background, known = _median(soft, places, usable, near, key)
        for number in range(first, min(first + EVERY, len(soft))):
            behind = _warped(background, places[key], places[number]).astype(np.float32)
            there = cv2.erode(_warped(known, places[key], places[number], border=cv2.BORDER_CONSTANT), square)
            here = soft[number].astype(np.float32)
            off = np.maximum(here - cv2.dilate(behind, square), cv2.erode(behind, square) - here).max(axis=-1)
            apart[number] = np.where(there > 0, off, np.nan)
    return apart


def _median(
    soft: Sequence[Picture],
    places: Sequence[Matrix],
    usable: NDArray[np.uint8],
    near: Sequence[int],
    key: int,
) -> tuple[Picture, NDArray[np.uint8]]:
    """Of what usable pixels of near frames show at those of the key frame, and where there are any."""
    pictures = np.stack([_warped(soft[other], places[other], places[key]) for other in near])
    use = np.stack(
        [_warped(usable[other], places[other], places[key], border=cv2.BORDER_CONSTANT) for other in near]
    )
    count = use.sum(axis=0, dtype=np.intp)
    ordered = np.sort(np.where(use[..., None] > 0, pictures, np.uint8(255)), axis=0)  # unusable ones last
    middle = np.maximum(count - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]
    return median, (count > 0).astype(np.uint8)


def _kept(sure: Maps, moved: NDArray[np.bool_]) -> Maps:
    """Without the parts in which nothing moves for a while: what is left of the background's own changes."""
    recent = ndimage.maximum_filter1d(moved.astype(np.uint8), 2 * TARRIES + 1, axis=0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for here, was in zip(sure, recent, strict=True):
        whole = cv2.morphologyEx((here > 0.5).astype(np.uint8), cv2.MORPH_CLOSE, disc)
        whole = cv2.morphologyEx(whole, cv2.MORPH_OPEN, disc)
        count, parts = cv2.connectedComponents(whole)
        moves = np.bincount(parts.ravel(), was.ravel(), count) > 0.1 * np.bincount(parts.ravel(), None, count)
        moves[0] = False
        here *= moves[parts]
        np.maximum(here, np.float32(0.51) * moves[parts], out=here)  # holes were closed
    return sure


def _sharpened(sure: Maps, frame: Picture) -> NDArray[np.float16]:
    """A small map at the frame's size, its edges along the frame's: a local linear function of its brightness."""
    guide = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    small = cv2.resize(guide, sure.shape[::-1], interpolation=cv2.INTER_AREA)

    def mean(values: Maps) -> Maps:
        return np.asarray(cv2.blur(values, (2 * EDGE + 1, 2 * EDGE + 1)), np.float32)

    centre, level = mean(small), mean(sure)
    slope = (mean(small * sure) - centre * level) / (mean(small * small) - centre**2 + np.float32(SOFT))
    shift = level - slope * centre
    slope, shift = (cv2.resize(mean(part), frame.shape[1::-1]) for part in (slope, shift))
    return np.asarray(np.clip(slope * guide + shift, 0, 1), np.float16)


def _warped(picture: Picture, place: Matrix, wanted: Matrix, border: int = cv2.BORDER_REPLICATE) -> Picture:
    """A picture as seen from another's place; masks, which have a border, by nearest neighbour."""
    how = cv2.INTER_LINEAR if border == cv2.BORDER_REPLICATE else cv2.INTER_NEAREST
    size = picture.shape[1::-1]
    return np.asarray(
        cv2.warpPerspective(picture, np.linalg.inv(wanted) @ place, size, flags=how, borderMode=border),
        np.uint8,
    )
