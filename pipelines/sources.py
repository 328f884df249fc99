"""The sources of a build: what lies at ``--input``, with captions, licences and attribution.

A sidecar lies beside its source under the same name: ``clip.txt`` holds the caption, ``clip.json`` an object
with any of ``caption``, ``license``, ``attribution``, and ``clip.rttm`` who speaks when. A Parquet input has a column
``video`` (or ``uri`` or ``path``) and any of the same three. No caption is a caption too: empty, with
``caption_source`` "none". For controls of sound, :mod:`pipelines.corpora` knows where speech corpora keep the words.
"""

from __future__ import annotations

import functools
import glob
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow import fs

from catalogs.errors import InputError, UnsafePath
from catalogs.root import checked
from pipelines import corpora
from pipelines.identity import digest

SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".mxf",
        ".flv",
        ".wmv",
        ".ogv",
        ".3gp",
        ".y4m",
    }
)
SOUND_SUFFIXES = frozenset(
    {
        ".wav",
        ".flac",
        ".mp3",
        ".m4a",
        ".aac",
        ".ogg",
        ".oga",
        ".opus",
        ".wma",
        ".aif",
        ".aiff",
        ".g722",
        ".au",
    }
)
_PATH_COLUMNS = ("video", "uri", "path")
_OURS = frozenset(
    {"catalogs", "encodings", "fingerprints", "latents", "media", "memo", "signals", "sources", ".tmp"}
)
log = logging.getLogger("avcontrol")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A media file that came from outside.

    Attributes:
        uri: Absolute path, or URI.
        size: Bytes.
        mtime_ns: Modification time; with URI and size it tells whether the file changed since it was last
            read.
        caption, caption_source: The prompt, and where it came from: "column", "sidecar" or "none".
        license, attribution: "" where unknown.
        turns: Who speaks when: the text of ``clip.rttm`` beside it, "" without one.
    """

    uri: str
    size: int
    mtime_ns: int
    caption: str = ""
    caption_source: str = "none"
    license: str = ""
    attribution: str = ""
    turns: str = ""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(uri=self.uri, size=self.size, mtime_ns=self.mtime_ns))


def list_sources(
    inputs: str, *, limit: int | None = None, media_root: str | None = None, sound: bool = False
) -> list[Source]:
    """The sources at ``inputs``, sorted by URI.

    Args:
        inputs: A folder (searched through, but for catalog roots in it), a local glob, one file, a Parquet
            file, or a URI of a folder or file. What exists is no glob, whatever characters its name has.
        limit: Keep the first so many.
        media_root: A folder that paths in a Parquet input may lie in besides the table's own.
        sound: Sound files are sources too.

    Raises:
        InputError: Missing, or nothing usable there.
        UnsafePath: A path in a Parquet input leaves these folders.
    """
    suffixes = SUFFIXES | SOUND_SUFFIXES if sound else SUFFIXES
    filesystem, path = _open(inputs)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File and path.endswith(".parquet"):
        found = _from_parquet(filesystem, path, media_root)
    elif info.type == fs.FileType.File:
        found = _from_files(filesystem, _with_sidecars(filesystem, info), sound)
    elif info.type == fs.FileType.Directory:
        found = _from_files(filesystem, _listed(_files(filesystem, path, recursive=True), suffixes), sound)
    elif glob.has_magic(inputs) and isinstance(filesystem, fs.LocalFileSystem):
        found = _from_files(filesystem, _matching(filesystem, inputs, suffixes), sound)
    else:
        raise InputError(
            f"no file or folder at {inputs}",
            "Give --input a folder of clips, a local glob, or a Parquet file.",
        )
    sources = sorted(dict.fromkeys(found), key=lambda source: source.uri)
    if not sources:
        raise InputError(
            f"no {'video or sound' if sound else 'video'} files at {inputs}",
            f"Files ending in {' '.join(sorted(suffixes))} are looked for.",
        )
    return sources[:limit]


def _open(inputs: str) -> tuple[fs.FileSystem, str]:
    local = _local(inputs)
    if local is not None:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(local))
    try:
        filesystem, path = fs.FileSystem.from_uri(inputs)
    except (ValueError, OSError) as error:
        raise InputError(f"cannot open {inputs}: {error}") from None
    return filesystem, path


def _local(named: str) -> str | None:
    """The local path meant, None for one elsewhere. A colon makes no URI: ``take:2.mp4`` is a file."""
    if named.startswith("file:"):
        return unquote(urlsplit(named).path)
    return None if "://" in named else named


def _with_sidecars(filesystem: fs.FileSystem, info: fs.FileInfo) -> list[fs.FileInfo]:
    near = _files(filesystem, str(PurePosixPath(info.path).parent), recursive=False)
    return [info, *(one for one in near if _is_sidecar(one.path) and _key(one.path)[0] == _key(info.path)[0])]


def _matching(filesystem: fs.FileSystem, pattern: str, suffixes: Collection[str]) -> list[fs.FileInfo]:
    """Media that the glob matches, and all the sidecars in their folders."""
    named = glob.glob(os.path.expanduser(_local(pattern) or pattern), recursive=True)
    matched = {os.path.abspath(name) for name in named}
    near = [
        info
        for folder in sorted({os.path.dirname(name) for name in matched})
        for info in _files(filesystem, folder, recursive=False)
    ]
    return [
        info
        for info in near
        if _is_sidecar(info.path) or (info.path in matched and _is_media(info.path, suffixes))
    ]


def _files(filesystem: fs.FileSystem, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
    try:
        if isinstance(filesystem, fs.LocalFileSystem):
            found = filesystem.get_file_info(list(_walk(folder, recursive)))
        else:
            found = filesystem.get_file_info(fs.FileSelector(folder, recursive=recursive))
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error}") from None
    return [info for info in found if info.type == fs.FileType.File]


def _walk(top: str, recursive: bool) -> Iterator[str]:
    """Files below a local folder. Links are followed; no folder is entered twice, nor those of a root."""
    entered = set()
    tell = functools.partial(log.warning, "%s")
    for folder, inner, files in os.walk(top, followlinks=True, onerror=tell):
        if os.path.realpath(folder) in entered:
            inner.clear()
            continue
        entered.add(os.path.realpath(folder))
        if os.path.isdir(os.path.join(folder, "sources", "_delta_log")):  # a root's media are made, not shot
            inner[:] = [name for name in inner if name not in _OURS]
        inner[:] = sorted(inner) if recursive else []
        for path in (os.path.join(folder, name) for name in files):
            try:
                path.encode()
                yield path
            except UnicodeEncodeError:
                log.warning("passed over %r: its name is not UTF-8", path)


def _from_files(filesystem: fs.FileSystem, infos: Iterable[fs.FileInfo], sound: bool) -> Iterator[Source]:
    infos = list(infos)
    sidecars = {_key(info.path): info.path for info in infos if _is_sidecar(info.path)}
    said: dict[str, str] = {}
    if sound:
        said = corpora.transcripts(sidecars.values(), lambda path: _read_text(filesystem, path))
    for info in infos:
        if not _is_sidecar(info.path):
            known = _sidecar(filesystem, info.path, sidecars)
            if words := said.get(_key(info.path)[0]):
                known = {"caption": words, "caption_source": "corpus", **known}
            yield _source(filesystem, info, **known)


def _key(path: str) -> tuple[str, str]:
    """What a sidecar is found by: its path without the suffix, and the suffix, which may be in capitals."""
    return str(PurePosixPath(path).with_suffix("")), PurePosixPath(path).suffix.lower()


def _sidecar(filesystem: fs.FileSystem, path: str, sidecars: dict[tuple[str, str], str]) -> dict[str, str]:
    stem, _ = _key(path)
    known: dict[str, str] = {}
    if beside := sidecars.get((stem, ".json")):
        try:
            said = json.loads(_read_text(filesystem, beside))
            known = {key: str(said[key]) for key in ("caption", "license", "attribution") if said.get(key)}
        except (ValueError, AttributeError):
            raise InputError(f"sidecar {beside} is not a JSON object", "Mend it or take it away.") from None
    if beside := sidecars.get((stem, ".txt")):
        known["caption"] = _read_text(filesystem, beside).strip()
    if beside := sidecars.get((stem, ".rttm")):
        known["turns"] = _read_text(filesystem, beside)
    return {**known, "caption_source": "sidecar"} if known.get("caption") else known


def _from_parquet(filesystem: fs.FileSystem, path: str, media_root: str | None) -> Iterator[Source]:
    try:
        table = pads.dataset(path, filesystem=filesystem, format="parquet").to_table()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from None
    column = next((name for name in _PATH_COLUMNS if name in table.schema.names), None)
    if column is None:
        raise InputError(
            f"{path} has no column {' or '.join(_PATH_COLUMNS)}", f"It has: {', '.join(table.schema.names)}."
        )
    folder = PurePosixPath(path).parent
    for row in table.to_pylist():
        there, inner = _resolve(str(row[column]), filesystem, folder, media_root)
        info = there.get_file_info(inner)
        if info.type != fs.FileType.File:
            raise InputError(
                f"{path} names {row[column]}, which does not exist", "Mend the row or take it away."
            )
        caption = str(row.get("caption") or "")
        yield _source(
            there,
            info,
            caption=caption,
            caption_source="column" if caption else "none",
            license=str(row.get("license") or ""),
            attribution=str(row.get("attribution") or ""),
        )


def _resolve(
    named: str, filesystem: fs.FileSystem, folder: PurePosixPath, media_root: str | None
) -> tuple[fs.FileSystem, str]:
    """Where a path named in a table lies; it cannot leave the table's folder or ``media_root``."""
    local = _local(named)
    if local is None:
        return _open(named)
    here = isinstance(filesystem, fs.LocalFileSystem)
    if not here or (media_root is None and not PurePosixPath(local).is_absolute()):
        local = checked(local)
    local = os.path.normpath(folder / local)
    if here:
        allowed = [Path(place).expanduser().resolve() for place in (folder, media_root) if place is not None]
        if not any(Path(local).resolve().is_relative_to(place) for place in allowed):
            raise UnsafePath(
                f"{named} lies outside {' and '.join(map(str, allowed))}",
                "Name its folder with --media-root if that is meant.",
            )
    return filesystem, local


def _source(filesystem: fs.FileSystem, info: fs.FileInfo, **known: Any) -> Source:
    uri = info.path if isinstance(filesystem, fs.LocalFileSystem) else f"{filesystem.type_name}://{info.path}"
    return Source(uri=uri, size=int(info.size), mtime_ns=int(info.mtime_ns or 0), **known)


def _read_text(filesystem: fs.FileSystem, path: str) -> str:
    with filesystem.open_input_stream(path) as stream:
        return str(stream.read().decode("utf-8-sig", "replace"))


def _listed(infos: Iterable[fs.FileInfo], suffixes: Collection[str]) -> list[fs.FileInfo]:
    return [info for info in infos if _is_media(info.path, suffixes) or _is_sidecar(info.path)]


def _is_media(path: str, suffixes: Collection[str]) -> bool:
    name = PurePosixPath(path)  # "._x.mp4" is what macOS leaves beside x.mp4 on foreign disks
    return name.suffix.lower() in suffixes and not name.name.startswith("._")


def _is_sidecar(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in (".txt", ".json", ".rttm") or corpora.is_table(path)
