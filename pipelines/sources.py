"""The sources of a build: what lies at ``--input``, with captions, licences and attribution.

A sidecar lies beside its source under the same name: ``clip.txt`` holds the caption, ``clip.json`` an object with
any of ``caption``, ``license``, ``attribution``. A Parquet input has a column ``video`` (or ``uri`` or ``path``) and
any of the same three. No caption is a caption too: empty, with ``caption_source`` "none".
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow import fs

from catalogs.errors import InputError, UnsafePath
from catalogs.root import checked
from pipelines.identity import digest

SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .mts .mxf .flv .wmv .ogv .3gp .y4m".split())
_PATH_COLUMNS = ("video", "uri", "path")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A media file that came from outside.

    Attributes:
        uri: Absolute path, or URI.
        size: Bytes.
        mtime_ns: Modification time; with URI and size it tells whether the file changed since it was last read.
        caption, caption_source: The prompt, and where it came from: "column", "sidecar" or "none".
        license, attribution: "" where unknown.
    """

    uri: str
    size: int
    mtime_ns: int
    caption: str = ""
    caption_source: str = "none"
    license: str = ""
    attribution: str = ""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(uri=self.uri, size=self.size, mtime_ns=self.mtime_ns))


def list_sources(inputs: str, *, limit: int | None = None, media_root: str | None = None) -> list[Source]:
    """The sources at ``inputs``, sorted by URI.

    Args:
        inputs: A folder (searched through), a glob, one file, a Parquet file, or a URI of a folder or file.
        limit: Keep the first so many.
        media_root: The folder that absolute paths in a Parquet input must lie in; its own folder if not given.

    Raises:
        InputError: Missing, or nothing usable there.
        UnsafePath: A path in a Parquet input leaves that folder.
    """
    filesystem, path = _open(inputs)
    info = filesystem.get_file_info(path) if not glob.has_magic(path) else None
    if info is not None and info.type == fs.FileType.NotFound:
        raise InputError(f"no file or folder at {inputs}", "Give --input a folder of clips, a glob, or a Parquet file.")
    if info is not None and info.type == fs.FileType.File and path.endswith(".parquet"):
        found = list(_from_parquet(filesystem, path, media_root))
    else:
        found = list(_from_files(filesystem, _listing(filesystem, path, info)))
    if not found:
        raise InputError(f"no video files at {inputs}", f"Files ending in {' '.join(sorted(SUFFIXES))} are looked for.")
    found.sort(key=lambda source: source.uri)
    return found[:limit]


def _open(inputs: str) -> tuple[fs.FileSystem, str]:
    if urlparse(inputs).scheme in ("", "file"):
        local = urlparse(inputs).path if inputs.startswith("file:") else inputs
        return fs.LocalFileSystem(), str(Path(local).expanduser().absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(inputs)
    except (ValueError, OSError) as error:
        raise InputError(f"cannot open {inputs}: {error}") from None
    return filesystem, path


def _listing(filesystem: fs.FileSystem, path: str, info: fs.FileInfo | None) -> list[fs.FileInfo]:
    """File infos of the media and of all their neighbours, among which sidecars are looked for."""
    if info is not None and info.type == fs.FileType.File:
        return [info, *(near for near in _files(filesystem, str(PurePosixPath(path).parent), recursive=False)
                        if _is_sidecar(near.path) and PurePosixPath(near.path).stem == PurePosixPath(path).stem)]
    if info is not None:
        return [near for near in _files(filesystem, path, recursive=True)
                if _is_media(near.path) or _is_sidecar(near.path)]
    matched = {str(Path(name)) for name in glob.glob(path, recursive=True)}
    near = [near for folder in sorted({str(Path(name).parent) for name in matched})
            for near in _files(filesystem, folder, recursive=False)]
    return [info for info in near if info.path in matched or _is_sidecar(info.path)]


def _files(filesystem: fs.FileSystem, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
    selector = fs.FileSelector(folder, recursive=recursive, allow_not_found=True)
    return [info for info in filesystem.get_file_info(selector) if info.type == fs.FileType.File]


def _from_files(filesystem: fs.FileSystem, infos: Iterable[fs.FileInfo]) -> Iterator[Source]:
    infos = list(infos)
    sidecars = {info.path for info in infos if _is_sidecar(info.path)}
    for info in infos:
        if info.path not in sidecars:
            yield _source(filesystem, info, **_sidecar(filesystem, info.path, sidecars))


def _sidecar(filesystem: fs.FileSystem, path: str, sidecars: set[str]) -> dict[str, str]:
    stem = str(PurePosixPath(path).with_suffix(""))
    known: dict[str, str] = {}
    if f"{stem}.json" in sidecars:
        try:
            said = json.loads(_read_text(filesystem, f"{stem}.json"))
            known = {key: str(said[key]) for key in ("caption", "license", "attribution") if said.get(key)}
        except (ValueError, AttributeError):
            raise InputError(f"sidecar {stem}.json is not a JSON object", "Mend it or take it away.") from None
    if f"{stem}.txt" in sidecars:
        known["caption"] = _read_text(filesystem, f"{stem}.txt").strip()
    return {**known, "caption_source": "sidecar"} if known.get("caption") else known


def _from_parquet(filesystem: fs.FileSystem, path: str, media_root: str | None) -> Iterator[Source]:
    try:
        table = pads.dataset(path, filesystem=filesystem, format="parquet").to_table()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from None
    column = next((name for name in _PATH_COLUMNS if name in table.schema.names), None)
    if column is None:
        raise InputError(f"{path} has no column {' or '.join(_PATH_COLUMNS)}",
                         f"It has: {', '.join(table.schema.names)}.")
    folder = PurePosixPath(path).parent
    for row in table.to_pylist():
        there, inner = _resolve(str(row[column]), filesystem, folder, media_root)
        info = there.get_file_info(inner)
        if info.type != fs.FileType.File:
            raise InputError(f"{path} names {row[column]}, which does not exist", "Mend the row or take it away.")
        caption = str(row.get("caption") or "")
        yield _source(there, info, caption=caption, caption_source="column" if caption else "none",
                      license=str(row.get("license") or ""), attribution=str(row.get("attribution") or ""))


def _resolve(named: str, filesystem: fs.FileSystem, folder: PurePosixPath, media_root: str | None
             ) -> tuple[fs.FileSystem, str]:
    """Where a path named in a table lies; it cannot leave the table's folder or ``media_root``."""
    if urlparse(named).scheme not in ("", "file"):
        return _open(named)
    local = urlparse(named).path if named.startswith("file:") else named
    if not PurePosixPath(local).is_absolute():
        local = str(folder / checked(local))
    allowed = Path(media_root or folder).expanduser().resolve()
    if isinstance(filesystem, fs.LocalFileSystem) and not Path(local).resolve().is_relative_to(allowed):
        raise UnsafePath(f"{named} lies outside {allowed}", "Name its folder with --media-root if that is meant.")
    return filesystem, local


def _source(filesystem: fs.FileSystem, info: fs.FileInfo, **known: Any) -> Source:
    uri = info.path if isinstance(filesystem, fs.LocalFileSystem) else f"{filesystem.type_name}://{info.path}"
    return Source(uri=uri, size=int(info.size), mtime_ns=int(info.mtime_ns or 0), **known)


def _read_text(filesystem: fs.FileSystem, path: str) -> str:
    with filesystem.open_input_stream(path) as stream:
        return str(stream.read().decode("utf-8", "replace"))


def _is_media(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def _is_sidecar(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in (".txt", ".json")
