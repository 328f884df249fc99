"""Who is talking: from how much each face looks like the speaker to turns, with a margin.

A sequence of speakers is the likeliest path through the evidence, at a price for each change (Viterbi 1967), so turns
may change without a pause too. The margin is by how much each turn's speaker beats the next best where it is least:
what is below a threshold is better left alone than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from pipelines.estimators.lips import MEMORY, SPAN, covered
from pipelines.rttm import Turn

Array = NDArray[np.float64]

CHANGE = 0.7
"""Nats that a change of speakers costs. It is little, for the evidence's windows hold turns together."""

STRETCH = 1.5
"""Seconds that a margin is averaged over."""

BREATH = 0.3
"""Seconds of a pause that is none, where speech may overlap."""


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """Who speaks in F frames.

    Attributes:
        turns: [N, 3]: first frame, end frame, face; they fill the clip, none has the speaker of the one before.
        margins: [N] by how much the turn's face beats the next best, or nobody; below 0 where these win. See
            :func:`margins`.
    """

    turns: NDArray[np.int64]
    margins: Array


def assign(scores: Array, heard: NDArray[np.bool_], fps: float) -> Assigned:
    """One speaker at a time, held through pauses until somebody else begins.

    Args:
        scores: [F, P]; see :func:`pipelines.estimators.lips.evidence`.
        heard: Whether there is speech in each frame, [F].
        fps: Frames a second.

    Raises:
        ValueError: There is no face, or no speech.
    """
    if not scores.shape[1] or not heard.any():
        raise ValueError("who speaks needs a face and a voice")
    path = _path(scores * heard[:, None] / (MEMORY * fps))
    turns = _held(_snapped(path, heard, fps), heard)
    return Assigned(turns=turns, margins=margins(scores, heard, turns, fps))


def margins(scores: Array, heard: NDArray[np.bool_], turns: NDArray[np.int64], fps: float) -> Array:
    """By how much each turn's speaker beats the next best, or nobody, where it is least: [N].

    Args:
        scores: [F, P]; see :func:`pipelines.estimators.lips.evidence`.
        heard: Whether there is speech in each frame, [F].
        turns: [N, 3]; see :class:`Assigned`.
        fps: Frames a second.

    Returns:
        The least average over :data:`STRETCH` of speech, nats per :data:`MEMORY` seconds of it; 0 without any. The
        ends of turns are left out, where the window of the evidence reaches into the next one.
    """
    speaker = np.repeat(turns[:, 2], turns[:, 1] - turns[:, 0])
    rows = np.arange(len(scores))
    others = np.maximum(scores, 0)  # nobody has 0
    others[rows, speaker] = 0
    ahead = (scores[rows, speaker] - others.max(axis=1)) * heard
    width = max(1, round(STRETCH * fps))
    speech = ndimage.uniform_filter1d(heard.astype(float), width, mode="constant")
    local = ndimage.uniform_filter1d(ahead, width, mode="constant") / np.maximum(speech, 0.5)
    made = []
    for begin, end, _ in turns:
        inside = slice(begin + round(SPAN * fps) * (begin > 0), end - round(SPAN * fps) * (end < len(scores)))
        if heard[inside].any():
            made.append(local[inside][heard[inside]].min())
        else:
            made.append(ahead[begin:end].sum() / max(1, heard[begin:end].sum()))
    return np.array(made)


def _snapped(path: NDArray[np.int64], heard: NDArray[np.bool_], fps: float) -> NDArray[np.int64]:
    """Changes near a pause are moved to its end: evidence is blurred in time, and pauses are not."""
    speaker = path.copy()
    begins: list[int] = (1 + np.flatnonzero(~heard[:-1] & heard[1:])).tolist()
    pauses = [(begin, 1 + int(np.flatnonzero(heard[:begin])[-1])) for begin in begins if heard[:begin].any()]
    for change in (1 + np.flatnonzero(np.diff(path))).tolist():
        near = sorted((max(end - change, change - begin, 0), begin) for begin, end in pauses)
        if near and near[0][0] <= SPAN * fps:
            begin = near[0][1]
            speaker[min(change, begin) : max(change, begin)] = path[change if begin < change else change - 1]
    return speaker


def _held(path: NDArray[np.int64], heard: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Turns [N, 3] of a path in which nobody falls silent before another speaks; the first begins with the clip."""
    last = np.maximum.accumulate(np.where(heard, np.arange(len(heard)), -1))
    speaker = path[np.where(last < 0, np.flatnonzero(heard)[0], last)]
    edges = [0, *(1 + np.flatnonzero(np.diff(speaker))).tolist(), len(speaker)]
    return np.array([(begin, end, speaker[begin]) for begin, end in pairwise(edges)], np.int64)


def overlapping(scores: Array, heard: NDArray[np.bool_], fps: float) -> NDArray[np.bool_]:
    """Everybody who speaks, each judged alone against silence: [F, P]; pauses over :data:`BREATH` are silent.

    Args:
        scores: [F, P]; see :func:`pipelines.estimators.lips.evidence`.
        heard: Whether there is speech in each frame, [F].
        fps: Frames a second.
    """
    nats = scores * heard[:, None] / (MEMORY * fps)
    alone = [_path(np.stack([np.zeros(len(own)), own], axis=1)) == 1 for own in nats.T]
    breath = np.ones(2 * round(BREATH * fps / 2) + 1, bool)
    speech = heard | ndimage.binary_closing(np.pad(heard, len(breath)), breath)[len(breath) : -len(breath)]
    return np.asarray(np.stack(alone, axis=1) & speech[:, None])


def match(turns: Sequence[Turn], scores: Array, fps: float) -> tuple[dict[str, int], float]:
    """Which face a named speaker has: the assignment under which lips move most in their own turns.

    Args:
        turns: Who speaks when, seconds.
        scores: [F, P]; see :func:`pipelines.estimators.lips.evidence`.
        fps: Frames a second.

    Returns:
        Face by name, and the margin: what each speaker would lose, on average, under the next best assignment, nats per
        :data:`MEMORY` seconds; infinite where there is no other.

    Raises:
        ValueError: More speakers than faces, or no face.
    """
    names = sorted({turn.speaker for turn in turns})
    if not scores.shape[1] or len(names) > scores.shape[1]:
        raise ValueError(f"{len(names)} speakers and {scores.shape[1]} faces")
    agree = np.zeros((len(names), scores.shape[1]))
    for row, name in enumerate(names):
        spans = np.array([(turn.start, turn.end) for turn in turns if turn.speaker == name])
        own = covered(spans, fps, len(scores))
        agree[row] = scores[own].mean(axis=0) if own.any() else 0
    rows, faces = linear_sum_assignment(agree, maximize=True)
    margin = np.inf
    for row, face in zip(
        rows, faces, strict=True
    ):  # the next best differs from the best in one of its pairs at least
        without = agree.copy()
        without[row, face] = -1e6
        _, other = linear_sum_assignment(without, maximize=True)
        loss = agree[rows, faces].sum() - agree[rows, other].sum()
        if without[rows, other].min() > -1e6:
            margin = min(margin, loss / (faces != other).sum())
    return dict(zip(names, faces.tolist(), strict=True)), float(margin)


def given(turns: Sequence[Turn], faces: Mapping[str, int], count: int, fps: float) -> NDArray[np.int64]:
    """Turns that are known, as :class:`Assigned` has them: held through pauses; who began last has the word.

    Args:
        turns: Who speaks when, seconds, by when they begin.
        faces: Face by speaker; see :func:`match`.
        count: Frames.
        fps: Frames a second.

    Raises:
        ValueError: Nobody speaks.
    """
    path, heard = np.zeros(count, np.int64), np.zeros(count, bool)
    for turn in turns:
        own = covered(np.array([[turn.start, turn.end]]), fps, count)
        path[own], heard = faces[turn.speaker], heard | own
    if not heard.any():
        raise ValueError("nobody speaks")
    return _held(path, heard)


def _path(nats: Array) -> NDArray[np.int64]:
    """The states [F] that gather the most nats [F, P] less :data:`CHANGE` a change."""
    total = nats[0].copy()
    came = np.zeros(nats.shape, np.int64)
    for frame in range(1, len(nats)):
        best = int(total.argmax())
        moved = total[best] - CHANGE > total
        came[frame] = np.where(moved, best, np.arange(len(total)))
        total = np.where(moved, total[best] - CHANGE, total) + nats[frame]
    path = np.empty(len(nats), np.int64)
    path[-1] = total.argmax()
    for frame in range(len(nats) - 1, 0, -1):
        path[frame - 1] = came[frame, path[frame]]
    return path
