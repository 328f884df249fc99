"""Frames through torchcodec in its exact seek mode (approximate is wrong on a variable rate)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction

from pipelines.decoders import Frame
from pipelines.decoders.pyav import packet_times
from pipelines.probe import Probe


def objection(probe: Probe) -> str:
    """Why torchcodec would be wrong for this file, or nothing. Each case was seen with 0.13 on FFmpeg 5.1."""
    if not probe.container.startswith(("mov", "matroska")):
        return "it loses the first frames of some containers, and this is neither MP4 nor Matroska"
    if probe.video.codec == "av1":
        return "it fails on AV1 after a seek"
    if probe.video.sample_aspect != 1:
        return "it does not square the pixels"
    if packet_times(probe) is None:
        return "it cannot place frames of a file with an edit list"
    return ""


def read(probe: Probe, start: Fraction | None, end: Fraction | None, problems: list[str]) -> Iterator[Frame]:
    """See ``pipelines.decoders.frames``. Times come from the packets: torchcodec's own are floats."""
    from torchcodec.decoders import VideoDecoder

    times = packet_times(probe) or []
    decoder = VideoDecoder(
        str(probe.path),
        stream_index=probe.video.index,
        dimension_order="NHWC",
        num_ffmpeg_threads=1,
        seek_mode="exact",
    )
    if len(decoder) != len(times):
        problems.append(f"torchcodec counts {len(decoder)} frames where the file has {len(times)}")
    first = 0 if start is None else max(0, bisect_right(times, start) - 1)
    for n in range(first, min(len(times), len(decoder))):
        if end is not None and times[n] >= end:
            return
        duration = times[n + 1] - times[n] if n + 1 < len(times) else Fraction(0)
        yield Frame(times[n], decoder.get_frame_at(n).data.numpy(), duration)
