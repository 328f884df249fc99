"""A sample in words: what every picture of a catalog writes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from catalogs.schema import SAMPLES, TICKS_PER_SECOND

Row = Mapping[str, Any]
MEDIA = ("reference_video", "reference_audio", "video", "audio")
_FIGURES = ("quality", "motion", "brightness", "sharpness", "av_offset_ms", "expected_error")


def figures(row: Row) -> dict[str, int | float | str]:
    """The figures to select by: the common ones, then the modality's own columns."""
    own = [name for name in row if name not in SAMPLES.names]
    return {name: row[name] for name in (*_FIGURES, *own) if isinstance(row.get(name), int | float | str)}


def figure(value: Any) -> str:
    """A figure in a few digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def span(row: Row) -> tuple[float, float] | None:
    """Start and end in the source, in seconds; None where the row has no span."""
    start, end = row.get("span_start"), row.get("span_end")
    return None if start is None or end is None else (start / TICKS_PER_SECOND, end / TICKS_PER_SECOND)


def where(row: Row) -> str:
    """Which part of which source, e.g. ``0.00 to 2.04 s of clip.mp4``."""
    seconds = span(row)
    name = PurePosixPath(row.get("source_uri") or "").name or "an unnamed source"
    return name if seconds is None else f"{seconds[0]:.2f} to {seconds[1]:.2f} s of {name}"


def fps(row: Row) -> Fraction:
    """Frames per second; 24 for a row without pictures, whose time is only shown in frames."""
    if row.get("fps_num") and row.get("fps_den"):
        return Fraction(row["fps_num"], row["fps_den"])
    return Fraction(24)


def frame_count(row: Row) -> int:
    """Frames of the clip; for sound alone how many frames it would fill, at least 1."""
    if row.get("frames"):
        return int(row["frames"])
    if row.get("audio_samples") and row.get("sample_rate"):
        return max(1, round(Fraction(row["audio_samples"], row["sample_rate"]) * fps(row)))
    return 1


def files(row: Row) -> dict[str, str]:
    """Every file of a row by what it is: media columns, then ``signal NAME``; paths relative to the root."""
    found = {column: row[column] for column in MEDIA if row.get(column)}
    return found | {
        f"signal {signal['name']}": signal["path"]
        for signal in row.get("signals") or []
        if signal and signal.get("path")
    }
