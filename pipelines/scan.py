"""Scanning: what a source is (hash, streams, length), found once and kept in the root's ``sources`` table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pyarrow import fs

from catalogs.errors import SourceError, UnreadableSource
from catalogs.root import file_sha256
from pipelines.probe import Probe, probe, probe_sound
from pipelines.timeline import TICKS_PER_SECOND


def scan_source(source: dict[str, Any]) -> dict[str, Any]:
    """Hash and probe one source; a source that cannot be used has a ``reason``.

    Returns:
        A row of :data:`catalogs.schema.SOURCES`, less the run.
    """
    row = source_row(source)
    try:
        with local_source(source["uri"]) as path:
            row["sha256"] = file_sha256(path)
            row["sound_ticks"] = sound_ticks(path)
            found = probe(path)
            return {**row, "probe": json.dumps(asdict(found), default=str), "ticks": video_ticks(found)}
    except SourceError as error:
        return {**row, "reason": error.reason, "message": str(error)}
    except OSError as error:
        return {**row, "reason": "unreadable", "message": f"{source['uri']}: {error.strerror or error}"}


def source_row(source: dict[str, Any]) -> dict[str, Any]:
    """The columns that are known before a source is opened."""
    return {
        "event": "source",
        "source_id": source["id"],
        "source_uri": source["uri"],
        "size": source["size"],
        "mtime_ns": source["mtime_ns"],
        "ticks": 0,
        "sound_ticks": 0,
    }


def video_ticks(found: Probe) -> int:
    """Length of the video in ticks from its first frame, rounded up."""
    return ceil(found.duration * TICKS_PER_SECOND)


def sound_ticks(path: Path) -> int:
    """Length of the first audio stream in ticks from its first sample; 0 for a file without one."""
    try:
        return int(probe_sound(path).duration * TICKS_PER_SECOND)
    except SourceError:
        return 0


@contextmanager
def local_source(uri: str) -> Iterator[Path]:
    """A local path to a source; one that lies in an object store is downloaded and removed afterwards."""
    if urlparse(uri).scheme == "":
        yield Path(uri)
        return
    filesystem, path = fs.FileSystem.from_uri(uri)
    with tempfile.TemporaryDirectory(prefix="avcontrol-") as folder:
        target = Path(folder) / Path(path).name
        try:
            fs.copy_files(
                path, str(target), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem()
            )
        except FileNotFoundError:
            raise UnreadableSource("missing", f"{uri} is gone") from None
        yield target
