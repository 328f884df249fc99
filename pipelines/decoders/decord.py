"""Frames through decord2, the maintained fork of decord (both import as ``decord``)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction

from pipelines.decoders import Frame
from pipelines.decoders.pyav import packet_times
from pipelines.probe import Probe


def objection(probe: Probe) -> str:
    """Why decord would be wrong for this file, or nothing. Each case was seen with decord2 3.4."""
    if not probe.container.startswith(("mov", "matroska")):
        return "it loses the first frames of some containers, and this is neither MP4 nor Matroska"
    if probe.video.rotation:
        return "it returns garbage for a rotated video"
    if probe.video.sample_aspect != 1:
        return "it does not square the pixels"
    if probe.video.start:
        return "it drops the video's start offset"
    if packet_times(probe) is None:
        return "it cannot place frames of a file with an edit list"
    return ""


def read(probe: Probe, start: Fraction | None, end: Fraction | None, problems: list[str]) -> Iterator[Frame]:
    """See ``pipelines.decoders.frames``. Times come from the packets: decord's own are float32."""
    from decord import VideoReader, cpu

    times = packet_times(probe) or []
    reader = VideoReader(str(probe.path), ctx=cpu(0), num_threads=1)
    if len(reader) != len(times):
        problems.append(f"decord counts {len(reader)} frames where the file has {len(times)}")
    first = 0 if start is None else max(0, bisect_right(times, start) - 1)
    last = min(len(times), len(reader))
    reader.seek_accurate(first)
    for n in range(first, last):
        if end is not None and times[n] >= end:
            return
        pixels = reader.next().asnumpy()
        duration = times[n + 1] - times[n] if n + 1 < len(times) else Fraction(0)
        yield Frame(times[n], pixels, duration)
