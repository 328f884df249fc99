"""Pairs in tables and in tar shards, as the trainers and loaders of others have them."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from catalogs.describe import MEDIA
from catalogs.errors import InputError, UnsafePath
from pipelines.imported import Pair, Piece, pair, value
from pipelines.sources import SOUND_SUFFIXES, SUFFIXES

_REFERENCE = ("reference", "ref", "control")


def in_table(table: Path, media_root: Path | None = None) -> Iterator[Pair]:
    """The pairs of a CSV, JSON, JSONL or Parquet file; paths lie below its folder, or below ``media_root``.

    Raises:
        InputError: It cannot be read.
        UnsafePath: It names a file elsewhere.
    """
    for row in _rows(table):
        named = {column: value(row, column) for column in MEDIA}
        media = {column: Piece.at(_within(table, name, media_root)) for column, name in named.items() if name}
        if media:
            yield pair(media, row)


def in_shard(shard: Path) -> Iterator[Pair]:
    """The pairs of a WebDataset shard: members share a key, which is their name up to the first dot.

    Raises:
        InputError: It is no tar file, or cut short.
    """
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for entry in tar:
                folder, slash, name = entry.name.rpartition("/")
                key, _, kind = name.partition(".")
                if entry.isfile() and kind:
                    samples.setdefault(folder + slash + key, {})[kind.lower()] = entry
            for key, members in samples.items():
                named = {column: entry for kind, entry in members.items() if (column := _column(kind))}
                media = {column: _member(shard, entry) for column, entry in named.items()}
                if media:
                    yield pair(media, _said(tar, members), uri=f"{shard}#{key}")
    except tarfile.TarError as error:
        raise InputError(f"{shard} is no whole tar file: {error}") from None


def _rows(table: Path) -> list[dict[str, Any]]:
    try:
        if table.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
            return rows
        # Neither read_text nor splitlines: captions keep their \r\n, and are not cut at U+2028 and its like.
        text = table.read_bytes().decode("utf-8-sig")
        if table.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        if table.suffix == ".json":
            return [dict(row) for row in json.loads(text)]
        return [dict(json.loads(line)) for line in text.split("\n") if line.strip()]
    except (ValueError, TypeError, OSError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as {table.suffix[1:] or 'a table'}: {error}") from None


def _within(table: Path, named: str, media_root: Path | None) -> Path:
    path = (table.parent / named).resolve()
    allowed = [folder.resolve() for folder in (table.parent, media_root) if folder is not None]
    if not any(path.is_relative_to(folder) for folder in allowed):
        raise UnsafePath(
            f"{table} names {named}, which lies outside {' and '.join(map(str, allowed))}",
            "Name its folder with --media-root if that is meant.",
        )
    return path


def _column(kind: str) -> str | None:
    """Which column a member is: ``video.mp4``, ``reference_video.mp4``, ``reference.mp4``; ``mp4`` is the target."""
    name, _, suffix = kind.rpartition(".")
    if name in MEDIA:
        return name
    what = "video" if f".{suffix}" in SUFFIXES else "audio" if f".{suffix}" in SOUND_SUFFIXES else None
    if what is None or name not in ("", "target", *_REFERENCE):
        return None
    return f"reference_{what}" if name in _REFERENCE else what


def _member(shard: Path, entry: tarfile.TarInfo) -> Piece:
    name = PurePosixPath(entry.name).name
    mtime_ns = shard.stat().st_mtime_ns
    return Piece(path=str(shard), size=entry.size, mtime_ns=mtime_ns, start=entry.offset_data, name=name)


def _said(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> dict[str, Any]:
    """What a sample's ``json`` and ``txt`` say."""
    said: dict[str, Any] = {}
    texts = {kind: tar.extractfile(members[kind]) for kind in ("json", "txt") if kind in members}
    if file := texts.get("json"):
        try:
            said = dict(json.loads(file.read()))
        except (ValueError, TypeError):
            raise InputError(f"{members['json'].name} in {tar.name!s} is not a JSON object") from None
    if file := texts.get("txt"):
        said["caption"] = file.read().decode("utf-8", "replace").strip()
    return said
