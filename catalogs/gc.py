"""Clearing up: content-addressed files that nothing refers to, and what old versions alone still need.

A file is kept while its hash stands in any Parquet file of the root's tables. Those are all versions that can still be
read, of every catalog, and also rows that a running build has written and not yet committed. Files younger than the
grace period are kept too: their rows may be still to come. Before each batch is removed, what the tables have got in
the meantime is looked at.

Which old versions can be read is Delta's own matter: its ``vacuum`` removes the data files that only versions let go
of need. The log is not cut (``cleanup_metadata``): it is small, and tags of old versions live in it.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError
from pyarrow import fs

from catalogs.errors import BrokenCatalog
from catalogs.referenced import HASH, KINDS, data_files, folders, hashes
from catalogs.rewrite import HOOKS
from catalogs.root import Root, storage_errors
from catalogs.store import Table, delta_table, repair_hint
from catalogs.tags import tags

DAY = 24 * 3600.0
_BATCH = 1000
_FILE = re.compile(rf"{HASH}(\.[a-z0-9]+)?")
_LISTED = pa.schema([("path", pa.string()), ("hash", pa.string()), ("size", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What could go.

    Attributes:
        history: Data files that only old versions need, by table; relative to its folder.
        keep: Versions of each table that stay whatever their age.
        retention_h: Hours since a data file was replaced before it may go.
        files: Columns ``path`` (in the root), ``hash``, ``size`` of the media, signals and latents.
        seen: The Parquet files that were looked into.
        grace_s: Seconds for which a file is safe once it is written.
    """

    history: dict[str, list[str]]
    keep: dict[str, list[int]]
    retention_h: float
    files: pa.Table
    seen: set[str]
    grace_s: float


def plan(
    root: Root, *, keep_versions: int | None = None, older_than: float | None = None, grace_s: float = DAY
) -> Plan:
    """Find what nothing needs; nothing is changed.

    Args:
        root: Where to look.
        keep_versions: Let go of all but the newest so many versions of each catalog; tagged ones stay.
        older_than: Let go of versions replaced more than so many days ago only. With neither, all stay.
        grace_s: Seconds for which a file is safe once it is written.

    Raises:
        BrokenCatalog: A table cannot be read, and hence not what it needs.
    """
    hours = max(grace_s / 3600, 24 * (older_than or 0))
    keep: dict[str, list[int]] = {}
    history: dict[str, list[str]] = {}
    if keep_versions is not None or older_than is not None:
        for name in _tables(root):
            if name.endswith("/reviews"):  # IDs are pinned to versions of them, too, and they are small
                continue
            keep[name] = _kept(root, name, keep_versions or 1)
            history[name] = _vacuum(root, name, hours, keep[name], dry_run=True)
    there = data_files(root)
    history = {name: [file for file in files if f"{name}/{file}" in there] for name, files in history.items()}
    seen = there - {f"{name}/{file}" for name, files in history.items() for file in files}
    return Plan(
        history={name: files for name, files in history.items() if files},
        keep=keep,
        retention_h=hours,
        files=_unneeded(root, hashes(root, seen), grace_s),
        seen=seen,
        grace_s=grace_s,
    )


def remove(root: Root, made: Plan) -> tuple[int, int]:
    """Remove what was planned, less what has come into use since; returns how many files went, and their bytes.

    Raises:
        StorageError: Something cannot be removed.
    """
    count = size = 0
    for name, planned in made.history.items():
        infos = root.filesystem.get_file_info([root.path(f"{name}/{file}") for file in planned])
        bytes_ = {PurePosixPath(info.path).name: info.size or 0 for info in infos}
        gone = _vacuum(root, name, made.retention_h, made.keep[name], dry_run=False)
        count, size = count + len(gone), size + sum(bytes_.get(PurePosixPath(file).name, 0) for file in gone)
    for batch in made.files.to_batches(max_chunksize=_BATCH):
        used = set(hashes(root, data_files(root) - made.seen)["hash"].to_pylist())
        for row in batch.to_pylist():
            info = root.filesystem.get_file_info(root.path(row["path"]))
            if row["hash"] in used or info.type != fs.FileType.File or _age(info) < made.grace_s:
                continue
            with storage_errors(row["path"]):
                root.filesystem.delete_file(info.path)
            count, size = count + 1, size + row["size"]
    return count, size


def _tables(root: Root) -> Iterator[str]:
    """Names of all Delta tables: the catalogs' own, then those that they share."""
    for folder in [*folders(root, "catalogs"), ""]:
        yield from (name for name in folders(root, folder) if root.exists(f"{name}/_delta_log"))


def _kept(root: Root, table: str, newest: int) -> list[int]:
    """The newest version, the newest so many that a build or a person made, and tagged ones."""
    with _told(table):
        commits = Table.open(root, table, key=()).history()
    made = [commit["version"] for commit in commits if not _upkeep(commit)]
    parts = table.split("/")
    tagged = tags(root, parts[1]).values() if parts[-1] == "samples" else []
    return sorted({commits[0]["version"], *made[:newest], *(tag["version"] for tag in tagged)})


def _upkeep(commit: dict[str, Any]) -> bool:
    """Whether a version has the rows of the one before: Delta's vacuum makes two, and small files made one."""
    return str(commit["operation"]).startswith("VACUUM") or commit.get("program") == "compact"


def _vacuum(root: Root, table: str, hours: float, keep: list[int], *, dry_run: bool) -> list[str]:
    with _told(table):
        found: list[str] = delta_table(root, table).vacuum(
            retention_hours=math.ceil(hours),
            enforce_retention_duration=False,
            keep_versions=keep,
            full=True,
            dry_run=dry_run,
            post_commithook_properties=HOOKS,
        )
        return found


@contextlib.contextmanager
def _told(table: str) -> Iterator[None]:
    try:
        yield
    except DeltaError as error:
        said = str(error).strip().splitlines()[0]
        raise BrokenCatalog(f"the log of {table} cannot be read: {said}", repair_hint(table)) from None


def _unneeded(root: Root, needed: pa.Table, grace_s: float) -> pa.Table:
    """The files of the content-addressed folders that are old enough and whose hashes nothing states."""
    pieces, manifests = [_LISTED.empty_table()], list[str]()
    with duckdb.connect() as connection:
        connection.register("needed", needed)
        for folder in [folder for kind in KINDS for folder in folders(root, kind)]:
            old, every = _listed(root, folder, grace_s)
            connection.register("old", old)
            connection.register("every", every)
            pieces.append(connection.sql("SELECT * FROM old ANTI JOIN needed USING (hash)").to_arrow_table())
            lists = "SELECT path FROM every SEMI JOIN needed USING (hash) WHERE path LIKE '%.json'"
            manifests += [row[0] for row in connection.sql(lists).fetchall()]
    # A file that is needed may itself list others (the beds of a build).
    listed = {one for path in manifests for one in re.findall(HASH, _read(root, path))}
    found = pa.concat_tables(pieces)
    kept = pa.array([one not in listed for one in found["hash"].to_pylist()], pa.bool_())
    return found.filter(kept)


def _listed(root: Root, folder: str, grace_s: float) -> tuple[pa.Table, pa.Table]:
    """The content-addressed files of a folder: those beyond the grace period, and all."""
    if root.folder is not None and Path(root.path(folder)).resolve() != root.folder / folder:
        return _LISTED.empty_table(), _LISTED.empty_table()  # a link: what it leads to is not ours
    rows: list[tuple[str, str, int, bool]] = []
    for info in root.filesystem.get_file_info(fs.FileSelector(root.path(folder))):
        name = PurePosixPath(info.path).name
        ours = (
            info.type == fs.FileType.File and _FILE.fullmatch(name) and name[:2] == PurePosixPath(folder).name
        )
        if ours:
            rows.append((f"{folder}/{name}", name[:64], int(info.size), _age(info) >= grace_s))
    every = (
        [pa.array(column) for column in zip(*rows, strict=True)]
        if rows
        else [*_LISTED.empty_table(), pa.array([], pa.bool_())]
    )
    table = pa.table(dict(zip([*_LISTED.names, "old"], every, strict=True)))
    return table.filter(table["old"]).drop_columns("old"), table.drop_columns("old")


def _age(info: fs.FileInfo) -> float:
    """Seconds since a file was written."""
    return time.time() - float(info.mtime_ns or 0) / 1e9


def _read(root: Root, path: str) -> str:
    with root.filesystem.open_input_stream(root.path(path)) as stream:
        return str(stream.read().decode("utf-8", "replace"))


def summary(made: Plan) -> list[dict[str, object]]:
    """What could go, one row per kind: how many files, their bytes, and one of them."""
    rows: list[dict[str, object]] = []
    for kind in KINDS:
        chosen = made.files.filter(pc.starts_with(made.files["path"], f"{kind}/"))
        if len(chosen):
            size = int(pc.sum(chosen["size"]).as_py())
            rows.append(
                {"what": kind, "files": len(chosen), "bytes": size, "example": chosen["path"][0].as_py()}
            )
    rows += [
        {"what": f"history of {name}", "files": len(files), "bytes": None, "example": files[0]}
        for name, files in made.history.items()
    ]
    return rows
