"""Clips out of a stream with cuts, gaps and held frames."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clips import clips, segments
from pipelines.timeline import Timeline

LINE = Timeline(width=32, height=32, frames=9, fps=Fraction(24))


def _frame(n: int) -> np.ndarray:
    """A frame that says its number, of the timeline's size so that fitting keeps it."""
    return np.full((32, 32, 3), (n % 256, n // 256, 7), np.uint8)


def _number(picture: np.ndarray) -> int:
    return int(picture[0, 0, 0]) + 256 * int(picture[0, 0, 1])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, np.ndarray]], set[int]]:
    """(n, pixels) with gaps and held frames, and the n before which a cut lies; never before a held frame."""
    stream: list[tuple[int, np.ndarray]] = []
    cuts: set[int] = set()
    n = draw(st.integers(0, 5))
    for length in draw(st.lists(st.integers(1, 40), max_size=8)):
        if draw(st.booleans()):
            cuts.add(n)
        held = draw(st.sampled_from([1, 1, 2, 5]))
        for at in range(n, n + length):
            hold = stream and (at - n) % held and at != n
            stream.append((at, stream[-1][1] if hold else _frame(at)))
        n += length + draw(st.sampled_from([0, 0, 1, 20]))
    return stream, cuts


def _expected(stream: list[tuple[int, np.ndarray]], cuts: set[int]) -> list[int]:
    """The same by a longer way: runs without cut or gap, each divided into whole clips."""
    runs: list[list[int]] = []
    for n, _ in stream:
        if not runs or n in cuts or runs[-1][-1] != n - 1:
            runs.append([])
        runs[-1].append(n)
    return [run[at] for run in runs for at in range(0, len(run) - 8, 9)]


@settings(max_examples=60, deadline=None)
@given(streams())
def test_clips_are_whole_in_order_apart_and_never_cross_a_cut(
    made: tuple[list[tuple[int, np.ndarray]], set[int]],
) -> None:
    stream, cuts = made
    asked: list[int] = []

    def is_cut(n: int, pixels: np.ndarray) -> bool:
        asked.append(n)
        assert _number(pixels) == n
        return n in cuts

    found = list(clips(iter(stream), LINE, is_cut))
    shown = {n: _number(pixels) for n, pixels in stream}
    for first, pictures in found:
        assert [_number(picture) for picture in pictures] == [shown[first + k] for k in range(9)]
        assert not cuts & set(range(first + 1, first + 9))
    assert all(later - first >= 9 for (first, _), (later, _) in itertools.pairwise(found))
    assert [first for first, _ in found] == _expected(stream, cuts)
    assert asked == [
        n for n, pixels in stream if _number(pixels) == n
    ]  # once each, in order, but for held frames


def test_a_held_frame_is_fitted_once_and_shown_as_the_same_array() -> None:
    big = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    other = big[::-1].copy()
    stream = [(n, big if n < 5 else other) for n in range(20)]
    (_, one), (_, two) = clips(stream, LINE, lambda n, pixels: False)
    assert all(picture is one[0] for picture in one[:5]) and all(picture is one[5] for picture in one[5:])
    assert all(picture is two[0] for picture in two) and (two[0] == one[5]).all()
    assert one[0].shape == (32, 32, 3)


def test_a_clip_is_handed_over_as_soon_as_it_is_whole() -> None:
    taken = 0

    def stream():
        nonlocal taken
        for n in range(100):
            taken = n + 1
            yield n, _frame(n)

    found = clips(stream(), LINE, lambda n, pixels: False)
    assert next(found)[0] == 0 and taken == 9
    assert next(found)[0] == 9 and taken == 18


@settings(max_examples=60, deadline=None)
@given(ticks=st.integers(0, 40 * LINE.ticks), per_segment=st.integers(1, 6))
def test_segments_cover_a_source_once(ticks: int, per_segment: int) -> None:
    spans = segments(ticks, LINE, per_segment)
    length = per_segment * LINE.ticks
    assert spans[0][0] == 0 and spans[-1][1] == max(ticks, 1)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all(end - start == length for start, end in spans[:-1])
    # The last one absorbs the rest, so that no segment is shorter than a clip where the source is not.
    last = spans[-1][1] - spans[-1][0]
    assert last < 2 * length and (last >= length or len(spans) == 1)
