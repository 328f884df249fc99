"""Everything a page shows of one sample, JSON-able; how its media are linked is the caller's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catalogs import describe, media
from catalogs.describe import Row
from catalogs.errors import AvcontrolError
from catalogs.root import Root
from catalogs.web import motion

_SAID = {"caption", "signals", "extrinsics", "intrinsics", "fov", *describe.MEDIA}  # elsewhere, or too long

VideoLink = Callable[[str], str]
"""From the path of a video to its URL."""
SoundLink = Callable[[Row, str, str], dict[str, str]]
"""From a row, a column and its side to the ``url`` or ``script``, the ``picture`` and ``what`` it is."""


def detail(root: Root, row: Row, video: VideoLink, sound: SoundLink) -> dict[str, Any]:
    """A sample for the player.

    Returns:
        ``id``, ``caption``, ``where``, ``frames``, ``fps``, ``seconds``, ``width``, ``height``; ``videos`` and
        ``sounds`` by side; ``missing``, a line by column for each file that is not there or does not decode;
        ``points`` and ``cameras`` as :mod:`catalogs.web.motion` has them; ``figures`` and ``provenance`` in words.
    """
    videos: dict[str, str] = {}
    sounds: dict[str, dict[str, str]] = {}
    missing: dict[str, str] = {}
    for column in describe.MEDIA:
        if not row.get(column):
            continue
        side = "reference" if column.startswith("reference") else "target"
        try:
            if column.endswith("video"):
                videos[side] = video(row[column])
            else:
                sounds[side] = sound(row, column, side)
        except AvcontrolError as error:
            missing[column] = error.message
    signals = motion.arrays(root, row)
    figures = describe.figures(row)
    return {
        "id": row["sample_id"],
        "caption": row.get("caption") or "",
        "where": describe.where(row),
        "videos": videos,
        "sounds": sounds,
        "missing": missing,
        "frames": describe.frame_count(row),
        "fps": float(describe.fps(row)),
        "seconds": media.seconds(row),
        "width": row.get("width") or 16,
        "height": row.get("height") or 9,
        "points": motion.points(signals),
        "cameras": motion.cameras(row, signals),
        "figures": [[name, describe.figure(value)] for name, value in figures.items()],
        "provenance": _provenance(row, figures),
    }


def _provenance(row: Row, figures: dict[str, Any]) -> list[list[str]]:
    told = [
        [name, str(value)]
        for name, value in row.items()
        if name not in _SAID and name not in figures and value not in (None, "")
    ]
    return told + [[what, path] for what, path in describe.files(row).items()]
