"""Checking a catalog: is every row's every file there, whole, and what the row says?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import av
import pyarrow as pa
from pyarrow import fs

from catalogs import describe
from catalogs.console import progress
from catalogs.describe import Row
from catalogs.errors import AvcontrolError, BrokenCatalog, CatalogNotFound, UnsafePath
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.root import Root, checked, file_sha256
from catalogs.schema import SCHEMA_VERSION
from catalogs.store import Table

Problem = dict[str, str]
_OPENED = 16
_REMAKE = "restore the file from a copy, or delete it and build into a catalog of another name"


def validate(root: Root, catalog_id: str | CatalogID, *, deep: bool = False) -> list[Problem]:
    """Check a catalog and the files of its rows.

    That rows are readable, unique and of a known schema, and that their files exist within the root, is
    checked for all rows. Files are opened, hashed and compared with the row for a spread of 16 rows; for all
    with ``deep``.

    Args:
        root: Where the catalog lies.
        catalog_id: Which rows.
        deep: Open every file.

    Returns:
        One dict per problem: ``problem`` (a slug), ``where``, ``what`` and ``do``. Empty when all is well.

    Raises:
        CatalogNotFound: No such catalog or version.
    """
    catalog = catalog_id if isinstance(catalog_id, CatalogID) else CatalogID.parse(catalog_id)
    problems: list[Problem] = []
    rows = _rows(root, catalog, problems)
    problems += _row_problems(rows)
    problems += _path_problems(root, rows)
    step = 1 if deep else max(1, -(-len(rows) // _OPENED))
    opened = rows[::step]
    with progress("validate", len(opened), "samples") as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda row: list(_file_problems(root, row)), opened):
            problems += found
            advance(1)
    return problems


def _rows(root: Root, catalog: CatalogID, problems: list[Problem]) -> list[Row]:
    """The rows that can be read; what cannot be read becomes a problem."""
    rows: list[Row] = []
    for kind in ("samples", "rejects", "ledger"):
        place = f"catalogs/{catalog.name}/{kind}"
        try:
            table = table_of(root, catalog.name, kind, version=catalog.version if kind == "samples" else None)
        except CatalogNotFound:
            if kind == "samples":
                raise
            continue
        except BrokenCatalog as error:
            problems.append(
                _problem("unreadable_table", place, error.message, error.hint or "restore its _delta_log")
            )
            continue
        parts = list(_readable(table, problems))
        if kind == "samples":
            rows = [row for part in parts for row in part.to_pylist()]
    if catalog.where and not problems:
        chosen = set(select(root, catalog, ["sample_id"])["sample_id"].to_pylist())
        rows = [row for row in rows if row["sample_id"] in chosen]
    return sorted(rows, key=lambda row: (row.get("sample_id") or "", row.get("unit_id") or ""))


def _readable(table: Table, problems: list[Problem]) -> Iterator[pa.Table]:
    for fragment in table.dataset().get_fragments():
        try:
            yield fragment.to_table(schema=table.schema)
        except (pa.ArrowInvalid, OSError) as error:
            where = f"{table.name}/{PurePosixPath(fragment.path).name}"
            problems.append(
                _problem(
                    "unreadable_parquet",
                    where,
                    str(error).splitlines()[0],
                    "restore the file from a copy, or build into a catalog of another name",
                )
            )


def _row_problems(rows: list[Row]) -> Iterator[Problem]:
    keys = Counter((row["sample_id"], row["unit_id"]) for row in rows)
    for (sample_id, unit_id), count in keys.items():
        if count > 1:
            yield _problem(
                "duplicate",
                f"sample {sample_id}",
                f"{count} rows of unit {unit_id}",
                "use a version before the second (`avcontrol catalog show --versions`)",
            )
    for row in rows:
        if not 1 <= (row.get("schema_version") or SCHEMA_VERSION) <= SCHEMA_VERSION:
            said = f"schema version {row['schema_version']}; this release knows up to {SCHEMA_VERSION}"
            yield _problem("unknown_schema", f"sample {row['sample_id']}", said, "install a newer avcontrol")


def _path_problems(root: Root, rows: list[Row]) -> Iterator[Problem]:
    # One listing of a folder instead of a look-up per row: object stores answer a thousand names at a time.
    paths = {path for row in rows for path in describe.files(row).values() if _safe(path)}
    sizes: dict[str, int] = {}
    for folder in {PurePosixPath(path).parts[0] for path in paths}:
        selector = fs.FileSelector(root.path(folder), recursive=True, allow_not_found=True)
        listing = root.filesystem.get_file_info(selector)
        sizes |= {
            info.path.removeprefix(f"{root.base}/"): info.size
            for info in listing
            if info.type == fs.FileType.File
        }
    for row in rows:
        for what, path in describe.files(row).items():
            where = f"sample {row['sample_id']}, {what}"
            if not _safe(path):
                yield _problem(
                    "unsafe_path",
                    where,
                    f"{path!r} leaves the root",
                    "do not use this row: it was tampered with",
                )
            elif path not in sizes:
                yield _problem("missing_file", where, f"{path} does not exist", _REMAKE)
            elif sizes[path] == 0:
                yield _problem("empty_file", where, f"{path} has no bytes", _REMAKE)


def _file_problems(root: Root, row: Row) -> Iterator[Problem]:
    """What is wrong inside the files of one row; those that are missing were reported before."""
    for what, relative in describe.files(row).items():
        where = f"sample {row['sample_id']}, {what}"
        try:
            path = root.local(relative)
        except UnsafePath as error:
            if _safe(relative):  # a link within the root that leads out of it
                yield _problem("unsafe_path", where, error.message, "replace the link by the file itself")
            continue
        except AvcontrolError:
            continue
        if path.stat().st_size and file_sha256(path) != PurePosixPath(relative).stem:
            yield _problem("wrong_hash", where, f"the bytes of {relative} do not hash to its name", _REMAKE)
        elif path.stat().st_size and what in describe.MEDIA:
            said = _media_problem(path, what, row)
            if said:
                yield _problem("wrong_media", where, said, _REMAKE)


def _safe(path: str) -> bool:
    try:
        return checked(path) == path
    except UnsafePath:
        return False


def _media_problem(path: Path, what: str, row: Row) -> str | None:
    try:
        with av.open(str(path)) as container:
            return (_video_problem if what.endswith("video") else _audio_problem)(container, what, row)
    except (av.error.FFmpegError, IndexError) as error:
        return f"cannot be opened: {error}"


def _video_problem(container: Any, what: str, row: Row) -> str | None:
    stream = container.streams.video[0]
    packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    times = sorted(packet.pts * packet.time_base for packet in packets)
    if len(times) != row["frames"]:
        return f"{len(times)} frames, the row says {row['frames']}"
    fps = describe.fps(row)
    for n, time in enumerate(times):
        if time != Fraction(n) / fps:
            return f"frame {n} is at {float(time):.6f} s, not at {float(n / fps):.6f} s"
    shrunk = (row["reference_downscale"] or 1) if what == "reference_video" else 1
    if (stream.width * shrunk, stream.height * shrunk) != (row["width"], row["height"]):
        return (
            f"{stream.width}x{stream.height}, the row says {row['width']}x{row['height']} at 1/{shrunk} size"
        )
    return None


def _audio_problem(container: Any, what: str, row: Row) -> str | None:
    stream = container.streams.audio[0]
    seconds = sum((packet.duration or 0) * packet.time_base for packet in container.demux(stream))
    said: Mapping[str, Any] = {"rate": row["sample_rate"], "samples": row["audio_samples"]}
    if stream.rate != said["rate"] or round(seconds * stream.rate) != said["samples"]:
        return (
            f"{round(seconds * stream.rate)} samples at {stream.rate} Hz, "
            f"the row says {said['samples']} at {said['rate']} Hz"
        )
    return None


def _problem(problem: str, where: str, what: str, do: str) -> Problem:
    return {"problem": problem, "where": where, "what": what, "do": do}
