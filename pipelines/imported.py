"""A pair that others made: which files it has, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.identity import digest
from pipelines.sources import Source

COLUMNS = {
    "video": ("video", "media_path", "video_path", "video_file_name", "file_name"),
    "reference_video": (
        *("reference_video", "ref_media_path", "reference_path", "reference", "control_video"),
        "reference_video_file_name",
    ),
    "audio": ("audio", "audio_path", "audio_file_name"),
    "reference_audio": ("reference_audio", "reference_audio_path", "reference_audio_file_name"),
    "caption": ("caption", "prompt", "text"),
    "license": ("source_license", "license", "licence"),
    "attribution": ("source_attribution", "attribution"),
}
"""What others call our columns, ours first."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A media file; or a member of a tar file, ``size`` bytes from ``start``, which then has a ``name``."""

    path: str
    size: int = 0
    mtime_ns: int = 0
    start: int = 0
    name: str = ""

    @classmethod
    def at(cls, path: Path) -> Piece:
        """A whole file; one that is not there has no size."""
        try:
            stat = path.stat()
        except OSError:
            return cls(path=str(path))
        return cls(path=str(path), size=stat.st_size, mtime_ns=stat.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Pair(Source):
    """A source whose reference is there already.

    Attributes:
        media: Its files by the column that they go into.
    """

    media: Mapping[str, Piece] = field(default_factory=dict)

    def __post_init__(self) -> None:
        files = {name: [each.path, each.size, each.mtime_ns, each.start] for name, each in self.media.items()}
        said = [self.caption, self.license, self.attribution]
        object.__setattr__(self, "id", digest(uri=self.uri, files=files, said=said))


def pair(
    media: Mapping[str, Piece], said: Mapping[str, Any], *, uri: str = "", source: str = "column"
) -> Pair:
    """A pair of at least one file.

    Args:
        media: Its files by column.
        said: ``caption``, ``license`` and ``attribution``, by any of their names.
        uri: Its own where the file's path is none.
        source: Where the caption comes from.
    """
    main = media.get("video") or media.get("audio") or next(iter(media.values()))
    caption = value(said, "caption")
    return Pair(
        uri=uri or main.path,
        size=main.size,
        mtime_ns=main.mtime_ns,
        media=dict(media),
        caption=caption,
        caption_source=source if caption else "none",
        license=value(said, "license"),
        attribution=value(said, "attribution"),
    )


def value(row: Mapping[str, Any], column: str) -> str:
    """What a row of theirs says for a column of ours; "" for nothing."""
    return next((str(row[name]) for name in COLUMNS[column] if row.get(name)), "")
