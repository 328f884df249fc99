"""Media over HTTP: whole, or the range that a player asks for (RFC 9110, section 14)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from typing import Any

from catalogs.errors import BrokenCatalog, UnsafePath
from catalogs.root import Root, checked, storage_errors

KINDS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
}
"""What a browser is told of a file; of others, that they are bytes."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_PIECE = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is sent of a file: ``status`` 200, 206, 304 or 416, the headers, and the bytes from ``start`` to ``end``."""

    status: int
    headers: dict[str, str]
    start: int
    end: int


def span(asked: str | None, size: int) -> tuple[int, int] | None:
    """The first byte that a Range header asks for, and the one after the last; None for the whole file.

    A header of another form, or of several ranges, asks for nothing in particular, as the RFC allows.

    Raises:
        ValueError: No byte of it lies in the file.
    """
    match = _RANGE.fullmatch((asked or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise ValueError(f"{asked} is beyond the {size} bytes")
    return start, end


def part(relative: str, size: int, asked: Message) -> Part:
    """What to send of the file at ``relative``, ``size`` bytes long, for a request with the headers ``asked``."""
    path = PurePosixPath(relative)
    tag = f'"{path.stem}-{size}"'  # files are named by their content
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Type": KINDS.get(path.suffix.lower(), "application/octet-stream"),
        "ETag": tag,
    }
    if asked.get("If-None-Match") == tag:
        return Part(status=304, headers=headers, start=0, end=0)
    try:
        found = span(asked.get("Range"), size) if asked.get("If-Range", tag) == tag else None
    except ValueError:
        return Part(status=416, headers={**headers, "Content-Range": f"bytes */{size}"}, start=0, end=0)
    if found is None:
        return Part(status=200, headers=headers, start=0, end=size)
    headers["Content-Range"] = f"bytes {found[0]}-{found[1] - 1}/{size}"
    return Part(status=206, headers=headers, start=found[0], end=found[1])


@contextlib.contextmanager
def media(root: Root, relative: str) -> Iterator[tuple[Any, int]]:
    """A media file of a root, open to be read, and its size; also from object storage, where it lies.

    Raises:
        UnsafePath: It is not under ``media/``, or leads out of the root, also through a symbolic link.
        BrokenCatalog: No such file.
    """
    if PurePosixPath(checked(relative)).parts[:1] != ("media",):
        raise UnsafePath(f"{relative} is no media file")
    if root.folder is not None:
        file = root.local(relative)
        with storage_errors(file), file.open("rb") as source:
            yield source, file.stat().st_size
        return
    try:
        source = root.filesystem.open_input_file(root.path(relative))
    except FileNotFoundError:
        raise BrokenCatalog(f"missing file {relative} under {root.uri}") from None
    with source:
        yield source, source.size()


def pieces(source: Any, start: int, end: int) -> Iterator[bytes]:
    """The bytes from ``start`` to ``end`` of an open file, a quarter of a megabyte at a time."""
    source.seek(start)
    while start < end and (piece := source.read(min(_PIECE, end - start))):
        start += len(piece)
        yield piece
