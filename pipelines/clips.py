"""From a stream of frames to clips: full-length spans that never cross a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.timeline import Timeline, fit

CutTest = Callable[[int, NDArray[np.uint8]], bool]


def clips(
    frames: Iterable[tuple[int, NDArray[np.uint8]]], timeline: Timeline, is_cut: CutTest
) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
    """Cut a resampled stream into clips, in one pass and with one clip in memory.

    Clips follow each other without overlap. At a cut, or where frame numbers jump, what was gathered is
    dropped and the next clip begins with the new scene.

    Args:
        frames: (n, pixels [H, W, 3]) on the constant-rate timeline, n increasing.
        timeline: Gives the clip's length and size.
        is_cut: Told every frame that is not held, once and in order; True when a cut lies immediately before
            it.

    Yields:
        (n of the first frame, ``timeline.frames`` pictures of the timeline's size).
    """
    first, gathered = 0, list[NDArray[np.uint8]]()
    before: NDArray[np.uint8] | None = None
    for n, pixels in frames:
        repeated = pixels is before  # a held frame is the same array: it is neither a cut nor fitted again
        cut = not repeated and is_cut(n, pixels)
        if cut or n != first + len(gathered):
            gathered = []
        if not gathered:
            first = n
        gathered.append(gathered[-1] if repeated and gathered else fit(pixels, timeline))
        before = pixels
        if len(gathered) == timeline.frames:
            yield first, gathered
            gathered = []


def segments(ticks: int, timeline: Timeline, clips_per_segment: int) -> list[tuple[int, int]]:
    """Divide a source of ``ticks`` into the spans that are worked on separately.

    Each is a whole number of clips long but for the last, which takes what is left. A source shorter than one
    clip is one segment.
    """
    length = clips_per_segment * timeline.ticks
    count = max(1, ticks // length)
    ends = [*((index + 1) * length for index in range(count - 1)), max(ticks, 1)]
    return [(index * length, end) for index, end in enumerate(ends)]
