"""Objects from a clip's foreground: parts of each frame, linked over time where they touch.

Specks go, holes of a frame or two close. Where several objects meet in one part, each pixel goes to the one that was
nearest had it gone on as before, so that they are told apart when they leave; those that hardly ever part are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

SPECK = 2e-4
"""Share of the picture below which a part of a frame is a speck."""

SMALL, BRIEF, MOST = 1e-3, 5, 16
"""Least mean share of the picture, least frames, and number of the largest objects that are kept."""

GAP, NEAR = 2, 0.01
"""Frames that an object may be out of sight for, and how far it may move in one, of the picture's longer side."""

ENOUGH = 0.15
"""Share of a part, or of an object if that is smaller, that must lie near the other for being it."""

LEAVES = 0.3
"""Share of an object's largest part that another needs, for being something that has left it."""

TOGETHER = 0.7
"""Share of the briefer one's frames that two objects meet in and are one."""


Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class _Near:
    """Of every pixel of a frame, the object of the nearest one that has one.

    Attributes:
        owner: The object, [H, W]; 0 where there is none at all.
        close: Whether it is near, [H, W].
        sizes: Pixels of every object.
    """

    owner: Labels
    close: NDArray[np.bool_]
    sizes: NDArray[np.intp]

    def voted(self, at: tuple[slice, slice], inside: NDArray[np.bool_], area: int) -> list[int]:
        """The objects that a part of the next frame shows."""
        votes = np.bincount(self.owner[at][inside & self.close[at]], None, len(self.sizes))[: len(self.sizes)]
        enough = votes > ENOUGH * np.minimum(area, self.sizes)
        return [one for one in np.flatnonzero(enough).tolist() if one]


def link(sure: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The objects of a clip, the largest first.

    Args:
        sure: How surely a pixel belongs to any, in [0, 1], [F, H, W].

    Returns:
        Labels [F, H, W], 0 for none, and of each object how sure its pixels are on average, [K] in [0, 1].
    """
    found = np.zeros(sure.shape, np.int32)
    meetings: list[list[int]] = []
    count = 0
    for number, frame in enumerate(_closed(sure > 0.5)):
        past = found[max(0, number - 1 - GAP) : number][::-1]
        count = _continued(frame, past, found[number], count, meetings)
    return numbered(found, sure, meetings)


def numbered(
    found: Labels, sure: NDArray[np.floating[Any]], meetings: Sequence[Sequence[int]] = ()
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Number objects by size, without those that are small or brief.

    Args:
        found: Objects [F, H, W], 0 for none.
        sure: How surely a pixel belongs to its own, in [0, 1], [F, H, W].
        meetings: For every part of a frame that shows several, which.

    Returns:
        As :func:`link`.
    """
    count = int(found.max()) + 1
    sizes = np.stack([np.bincount(frame.ravel(), None, count) for frame in found])  # [F, objects]
    total = np.sum(
        [np.bincount(one.ravel(), how.ravel(), count) for one, how in zip(found, sure, strict=True)], axis=0
    )
    groups = _united(sizes > 0, meetings)
    members = np.eye(groups.max() + 1)[groups]
    areas, total = sizes @ members, total @ members
    kept = _largest(areas, found[0].size)
    numbers = np.zeros(len(total), np.uint8)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[groups][found], (total / np.maximum(areas.sum(axis=0), 1))[kept].astype(np.float32)


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask [F, H, W] without holes in time of one frame or two."""
    closed = mask.copy()
    closed[1:-1] |= mask[:-2] & mask[2:]
    around = mask[:-3] & mask[3:]
    closed[1:-2] |= around
    closed[2:-1] |= around
    return closed.view(np.uint8)


def _continued(
    frame: NDArray[np.uint8], past: Labels, here: Labels, count: int, meetings: list[list[int]]
) -> int:
    """Label one frame's parts after the objects of those before it; returns how many objects there are now."""
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(frame)
    last = [_nearest(before, count) for before in past[:1]]
    taken = dict[int, list[int]]()  # the largest part of every object
    for part in (np.argsort(-boxes[1:, cv2.CC_STAT_AREA], kind="stable") + 1).tolist():
        box = boxes[part].tolist()
        x, y, width, height, area = box
        if area < SPECK * frame.size:
            break
        at = slice(y, y + height), slice(x, x + width)
        inside = parts[at] == part
        there = list[int]()
        for number, before in enumerate(past):
            if number == len(last):
                last.append(_nearest(before, count))
            there = last[number].voted(at, inside, area)
            if there:
                break
        if len(there) > 1:
            mine = _nearest(_expected(past, there), count).owner
            here[at][inside] = mine[at][inside]
            meetings.append(there)
            continue
        if not there or (there[0] in taken and _left(taken[there[0]], box, frame.shape)):
            count += 1
            there = [count]
        here[at][inside] = there[0]
        taken.setdefault(there[0], box)
    return count


def _expected(past: Labels, objects: Sequence[int]) -> Labels:
    """Where objects will be, if each goes on as between the last two frames."""
    there: Labels = np.zeros_like(past[0])
    for one in objects:
        y, x = np.nonzero(past[0] == one)
        step = [0, 0]
        if len(past) > 1 and (past[1] == one).any() and len(y):
            step = [
                round(now.mean() - was.mean())
                for now, was in zip((y, x), np.nonzero(past[1] == one), strict=True)
            ]
        down, right = y + step[0], x + step[1]
        inside = (down >= 0) & (right >= 0) & (down < there.shape[0]) & (right < there.shape[1])
        there[down[inside], right[inside]] = one
    return there


def _left(largest: Sequence[int], box: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a part is large and far enough, beside its object's largest one, to be something that has left it."""
    gaps = [
        max(one, two) - min(one + a, two + b)
        for one, two, a, b in zip(largest[:2], box[:2], largest[2:4], box[2:4], strict=True)
    ]
    return box[4] > LEAVES * largest[4] and max(gaps) > NEAR * max(shape)


def _nearest(labels: Labels, count: int) -> _Near:
    sizes = np.bincount(labels.ravel(), None, count + 1)
    if not labels.any():
        return _Near(owner=labels, close=np.zeros(labels.shape, np.bool_), sizes=sizes)
    away, index = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(index.max() + 1, np.int32)
    table[index[labels > 0]] = labels[labels > 0]
    return _Near(owner=table[index], close=away <= max(2.0, NEAR * max(labels.shape)), sizes=sizes)


def _united(seen: NDArray[np.bool_], meetings: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Of every object the number of its group: those that are together for most of the briefer one's frames."""
    met = np.zeros((seen.shape[1],) * 2)
    for these in meetings:
        met[np.ix_(these, these)] += 1
    frames = seen.sum(axis=0)
    one = met > TOGETHER * np.minimum(frames[:, None], frames)
    return np.asarray(connected_components(one, directed=False)[1], np.int32)


def _largest(sizes: NDArray[np.float64], pixels: int) -> list[int]:
    """Objects by size [F, objects], the largest first, without the background and those that are small or brief."""
    frames = (sizes > 0).sum(axis=0)
    share = sizes.sum(axis=0) / np.maximum(frames, 1) / pixels
    order = np.argsort(-sizes.sum(axis=0), kind="stable").tolist()
    return [n for n in order if n and share[n] >= SMALL and frames[n] >= min(BRIEF, len(sizes))][:MOST]
