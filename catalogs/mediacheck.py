"""Comparing a media file with what its row says: frames and their times, size, samples of sound."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from catalogs import describe
from catalogs.describe import Row


def media_problem(path: Path, what: str, row: Row) -> str | None:
    """What is wrong with a media file, in words; None where it is as the row says.

    Args:
        path: The file.
        what: The media column that names it.
        row: The sample: its size, rate and length.
    """
    try:
        with av.open(str(path)) as container:
            return (_video_problem if what.endswith("video") else _audio_problem)(container, what, row)
    except (av.error.FFmpegError, IndexError) as error:
        return f"cannot be opened: {error}"


def _video_problem(container: Any, what: str, row: Row) -> str | None:
    stream = container.streams.video[0]
    packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    times = sorted(packet.pts * packet.time_base for packet in packets)
    if len(times) != row["frames"]:
        return f"{len(times)} frames, the row says {row['frames']}"
    fps = describe.fps(row)
    for n, time in enumerate(times):
        if time != Fraction(n) / fps:
            return f"frame {n} is at {float(time):.6f} s, not at {float(n / fps):.6f} s"
    shrunk = (row["reference_downscale"] or 1) if what == "reference_video" else 1
    if (stream.width * shrunk, stream.height * shrunk) != (row["width"], row["height"]):
        return (
            f"{stream.width}x{stream.height}, the row says {row['width']}x{row['height']} at 1/{shrunk} size"
        )
    return None


def _audio_problem(container: Any, what: str, row: Row) -> str | None:
    stream = container.streams.audio[0]
    seconds = sum((packet.duration or 0) * packet.time_base for packet in container.demux(stream))
    said: Mapping[str, Any] = {"rate": row["sample_rate"], "samples": row["audio_samples"]}
    if stream.rate != said["rate"] or round(seconds * stream.rate) != said["samples"]:
        return (
            f"{round(seconds * stream.rate)} samples at {stream.rate} Hz, "
            f"the row says {said['samples']} at {said['rate']} Hz"
        )
    return None
