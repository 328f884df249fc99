"""Does a pair that others made keep the contract of a sample? What does not becomes a reject that says why.

Width and height are multiples of 32, frames 8n+1 at exactly n / fps; the reference has the same times and 1/s of the
size; sound spans the frames to the sample. With ``fit``, a pair that does not hold is laid on the nearest timeline that
does: frames by presentation time, pictures cropped and resized, sound cut.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalogs.errors import UnusableClip
from catalogs.root import Root
from pipelines import fit_sound
from pipelines.films import FIT, Film, decoded, each_frame, film
from pipelines.refit import fitted as lay
from pipelines.sample import made_with
from pipelines.selection import measure
from pipelines.timeline import Timeline


def row_of(root: Root, media: Mapping[str, Path], *, fitted: bool) -> dict[str, Any]:
    """The columns that a pair's files fill; they are stored in the root.

    Args:
        root: Where the media go.
        media: Local files by column.
        fitted: Lay on the nearest timeline what does not keep the contract.

    Raises:
        SourceError: It does not keep it, or a file is damaged.
        StorageError: The root cannot be written.
    """
    if "video" in media and ("reference_video" in media or "reference_audio" in media):
        return _with_pictures(root, media, fitted)
    if "audio" in media and "reference_audio" in media and "reference_video" not in media:
        return fit_sound.alone(root, media, fitted)
    missing = "target" if not {"video", "audio"} & media.keys() else "reference"
    raise UnusableClip(f"no_{missing}", f"{next(iter(media.values())).name} has no {missing} beside it")


def _with_pictures(root: Root, media: Mapping[str, Path], fitted: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="avcontrol-") as scratch:
        try:
            held = {name: film(path) for name, path in media.items() if name.endswith("video")}
            timeline, scale = _aligned(held)
        except UnusableClip:
            if not fitted:
                raise
            held, timeline, scale = lay(media, Path(scratch))
        measures = measure(decoded(held["video"]))
        for name in held.keys() - {"video"}:
            for _ in each_frame(held[name].probe):  # to its end, so that a damaged one is found out
                pass
        sounds = fit_sound.beside_pictures(root, media, timeline, fitted)
        pictures = {name: fit_sound.stored_copy(root, each.probe.path) for name, each in held.items()}
    timeline = replace(timeline, sample_rate=sounds.get("sample_rate", timeline.sample_rate))
    streams = [name for name in ("video", "audio") if f"reference_{name}" in media]
    return {
        **pictures,
        **sounds,
        "streams": "joint" if len(streams) > 1 else streams[0],
        "width": timeline.width,
        "height": timeline.height,
        "frames": timeline.frames,
        "fps_num": timeline.fps.numerator,
        "fps_den": timeline.fps.denominator,
        "reference_downscale": scale,
        "span_start": 0,
        "span_end": timeline.ticks,
        "timeline": timeline.canonical(),
        "quality": measures.quality,
        "motion": measures.motion,
        "brightness": measures.brightness,
        "sharpness": measures.sharpness,
        "made_with": made_with(),
    }


def _aligned(held: Mapping[str, Film]) -> tuple[Timeline, int]:
    """The timeline of target and reference, and s, where the reference is drawn at 1/s.

    Raises:
        UnusableClip: reason ``off_grid``, ``unequal_times`` or ``unequal_sizes``.
    """
    target, reference = held["video"], held.get("reference_video")
    timeline = target.timeline
    if reference is None:
        return timeline, 1
    if (reference.frames, reference.fps) != (target.frames, target.fps):
        raise UnusableClip(
            "unequal_times",
            f"the reference has {reference.frames} frames at {reference.fps} a second, the target {target.frames} at "
            f"{target.fps}",
            FIT,
        )
    scale = target.width // reference.width
    if (reference.width * scale, reference.height * scale) != (target.width, target.height):
        raise UnusableClip(
            "unequal_sizes",
            f"the reference is {reference.width}x{reference.height}, no whole fraction of the target's "
            f"{target.width}x{target.height}",
            FIT,
        )
    reference.timeline  # noqa: B018 (its size is checked like any other)
    return timeline, scale
