"""Laying a pair that others made on the nearest timeline that keeps the contract of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.films import RATE, Film, each_frame, film
from pipelines.probe import Probe, probe
from pipelines.timeline import Timeline, fit, resample
from pipelines.writers import write_video
from training.backbone import FACTORS

_RATES = [Fraction(n, 1001) for n in (24000, 30000, 60000)] + [Fraction(n) for n in (24, 25, 30, 50, 60)]


def fitted(media: Mapping[str, Path], folder: Path) -> tuple[dict[str, Film], Timeline, int]:
    """Target and reference on the nearest timeline, written anew into a folder; the timeline, and the canvas scale.

    Raises:
        UnusableClip: reason ``too_small`` or ``too_short``: no clip fits into them.
    """
    found = {name: probe(path) for name, path in media.items() if name.endswith("video")}
    target = found["video"].video
    assert target is not None
    fps = min(_RATES, key=lambda rate: abs(rate / target.fps - 1) if target.fps else rate)
    seconds = min(each.duration for each in found.values())
    space, time = FACTORS.space, FACTORS.time
    frames = (int(seconds * fps + Fraction(1, 2)) - 1) // time * time + 1
    size = target.width // space * space, target.height // space * space
    if frames <= time or 0 in size:
        raise UnusableClip(
            "too_small", f"{float(seconds):.2f} s of {target.width}x{target.height} hold no clip"
        )
    timeline = Timeline(width=size[0], height=size[1], frames=frames, fps=fps, sample_rate=RATE)
    scale = _scale(found, timeline)
    small = replace(timeline, width=timeline.width // scale, height=timeline.height // scale)
    held = {}
    for name, each in found.items():
        file = folder / f"{name}.mp4"
        write_video(file, _on(timeline if name == "video" else small, each), fps)
        held[name] = film(file)
        if held[name].frames != frames:
            raise UnusableClip(
                "too_short", f"{each.path.name} has {held[name].frames} frames of {frames} at {fps} a second"
            )
    return held, timeline, scale


def _scale(found: Mapping[str, Probe], timeline: Timeline) -> int:
    """The whole s nearest to the pair's own ratio at which the reference lies on the grid too."""
    target, reference = found["video"].video, found.get("reference_video")
    if reference is None:
        return 1
    assert target is not None and reference.video is not None
    ratio = target.width / reference.video.width
    sides = timeline.width // FACTORS.space, timeline.height // FACTORS.space
    fits = [scale for scale in range(1, 9) if not any(side % scale for side in sides)]
    return min(fits, key=lambda scale: abs(scale - ratio))


def _on(timeline: Timeline, found: Probe) -> Iterator[NDArray[np.uint8]]:
    assert found.video is not None
    placed = resample(each_frame(found), timeline.fps, found.video.start)
    return (fit(pixels, timeline) for _, pixels in islice(placed, timeline.frames))
