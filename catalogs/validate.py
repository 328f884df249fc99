"""Checking a catalog: is every row's every file there, whole, and what the row says?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from catalogs import deltalog, describe, tags
from catalogs.console import progress
from catalogs.describe import Row
from catalogs.errors import AvcontrolError, BrokenCatalog, CatalogNotFound, DamagedFile, UnsafePath
from catalogs.ids import CatalogID
from catalogs.mediacheck import media_problem
from catalogs.query import select, table_of
from catalogs.root import Root, checked, file_sha256
from catalogs.schema import SCHEMA_VERSION
from catalogs.store import Table

Problem = dict[str, str]
_OPENED = 16
_BATCH = 8192
_FIX = "--fix removes the row and lists its unit: the next `avcontrol build` makes it again"
_SHARED = {"sources": "source_id", "encodings": "encoding_id", "fingerprints": "path"}
_COLUMNS = (
    *("sample_id", "unit_id", "schema_version", "signals", *describe.MEDIA),
    *(
        "frames",
        "fps_num",
        "fps_den",
        "width",
        "height",
        "reference_downscale",
        "sample_rate",
        "audio_samples",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem.

    Attributes:
        problem: What kind, a slug.
        where: The row, file or table.
        what: In words.
        do: What to do about it.
        path: The file that is damaged or missing, in the root; "" where none is.
        sample_id: The row's; "" where it is no row's.
    """

    problem: str
    where: str
    what: str
    do: str
    path: str = ""
    sample_id: str = ""


def validate(root: Root, catalog_id: str | CatalogID, *, deep: bool = False) -> list[Problem]:
    """Check a catalog and the files of its rows.

    That logs and rows are readable, rows unique, of a known schema and as many as the ledger says, and that their
    files exist within the root, is checked for all rows. Files are opened, hashed and compared with the row for a
    spread of 16 rows; for all with ``deep``.

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
    shown = ("problem", "where", "what", "do")
    return [{name: asdict(found)[name] for name in shown} for found in find(root, catalog, deep=deep)]


def find(root: Root, catalog: CatalogID, *, deep: bool = False) -> list[Finding]:
    """What :func:`validate` tells, with the files and rows that it is about."""
    found = [*_log_problems(root, catalog.name), *_tag_problems(root, catalog.name)]
    rows = _rows(root, catalog, found)
    if catalog.version is None and not catalog.where:
        lost = lost_units(root, catalog.name)
        if len(lost):
            found.append(
                Finding(
                    problem="lost_rows",
                    where=f"catalogs/{catalog.name}/ledger",
                    what=f"{len(lost)} finished units have fewer rows than the ledger says: {lost['unit_id'][0]}, …",
                    do="--fix lists them and takes them out of the ledger: the next `avcontrol build` makes them again",
                )
            )
    found += [*_row_problems(rows), *_path_problems(root, rows)]
    step = 1 if deep else max(1, -(-len(rows) // _OPENED))
    opened = rows.take(pa.array(range(0, len(rows), step), pa.int64()))
    with progress("validate", len(opened), "samples") as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        for wrong in pool.map(lambda row: list(_file_problems(root, row, deep)), _each(opened)):
            found += wrong
            advance(1)
    return found


def tables(root: Root, name: str) -> list[str]:
    """The tables that a catalog is read with: its own, then those that all catalogs share."""
    places = [f"catalogs/{name}/{kind}" for kind in ("samples", "rejects", "ledger", "reviews")]
    return [place for place in (*places, *_SHARED) if root.exists(f"{place}/_delta_log")]


def open_table(root: Root, place: str) -> Table:
    """One of :func:`tables`.

    Raises:
        BrokenCatalog: It does not open.
    """
    parts = place.split("/")
    if parts[-1] in ("samples", "rejects", "ledger"):
        return table_of(root, parts[1], parts[-1])
    return Table.open(root, place, key=(_SHARED.get(place, "review_id"),))


def _log_problems(root: Root, name: str) -> Iterator[Finding]:
    """Damaged entries and checkpoints of the tables' logs."""
    for place in tables(root, name):
        for fault in deltalog.faults(root, place, whole=True):
            do = (
                "--fix sets it aside"
                if fault.mendable
                else "--fix puts back what is left of it, --copies all of it"
            )
            yield Finding(problem=fault.problem, where=place, what=fault.what, do=do, path=fault.path)


def broken_files(table: Table, kept: list[pa.Table] | None = None) -> Iterator[Finding]:
    """The data files of a table that cannot be read; rows that can, go to ``kept``."""
    columns = [name for name in _COLUMNS if name in table.schema.names] if kept is not None else None
    for fragment in table.dataset().get_fragments():
        file = PurePosixPath(fragment.path).name
        try:
            for batch in fragment.to_batches(schema=table.schema):
                if kept is not None:
                    kept.append(pa.Table.from_batches([batch]).select(columns))
        except (pa.ArrowInvalid, OSError) as error:
            yield Finding(
                problem="unreadable_parquet",
                where=f"{table.name}/{file}",
                what=str(error).splitlines()[0],
                do="restore the file from a copy; or --fix removes its rows, and the next `avcontrol build` makes them",
                path=f"{table.name}/{file}",
            )


def lost_units(root: Root, name: str) -> pa.Table:
    """Ledger rows (``ledger_id``, ``unit_id``, ``source_uri``, ``timeline``) of units with fewer rows than it says.

    Rows in files that cannot be read are not counted; without a ledger that can be read nothing is known.
    """
    try:
        ledger = table_of(root, name, "ledger").read()
    except (BrokenCatalog, CatalogNotFound):
        return pa.table(
            {column: pa.array([], pa.string()) for column in ("ledger_id", "unit_id", "source_uri")}
        )
    short = pa.repeat(False, len(ledger))
    for kind in ("samples", "rejects"):
        try:
            counted = _counts(table_of(root, name, kind))
        except BrokenCatalog:  # reported as such
            continue
        except CatalogNotFound:
            counted = pa.table(
                {"unit_id": pa.array([], pa.string()), "unit_id_count": pa.array([], pa.int64())}
            )
        at = pc.index_in(ledger["unit_id"], value_set=counted["unit_id"])
        there = pc.fill_null(pc.take(counted["unit_id_count"], at), 0)
        short = pc.or_(short, pc.less(there, pc.fill_null(ledger[kind], 0)))
    return ledger.filter(short).select(["ledger_id", "unit_id", "source_uri", "timeline"])


def _counts(table: Table) -> pa.Table:
    """How many readable rows each unit has."""
    units = [pa.array([], pa.string())]
    for fragment in table.dataset().get_fragments():
        try:
            units += fragment.to_table(schema=table.schema, columns=["unit_id"])["unit_id"].chunks
        except (pa.ArrowInvalid, OSError):
            continue
    one = pa.table({"unit_id": pa.chunked_array(units)})
    return one.group_by("unit_id").aggregate([("unit_id", "count")])


def _rows(root: Root, catalog: CatalogID, found: list[Finding]) -> pa.Table:
    """The rows that can be read, ordered; what cannot be read becomes a problem."""
    rows, known = [pa.table({"sample_id": pa.array([], pa.string())})], {problem.where for problem in found}
    table_of_samples = f"catalogs/{catalog.name}/samples"
    for place in {table_of_samples: None, **dict.fromkeys(tables(root, catalog.name))}:
        samples, broken = place == table_of_samples, len(found)
        try:
            table = (
                table_of(root, catalog.name, version=catalog.version) if samples else open_table(root, place)
            )
        except BrokenCatalog as error:
            if place not in known:  # else its log was looked at
                what, do = error.message, error.hint or "restore its _delta_log"
                found.append(Finding(problem="unreadable_table", where=place, what=what, do=do))
            continue
        found += broken_files(table, rows if samples and not catalog.where else None)
        if samples and len(found) > broken:
            cleared = table.unreadable(OSError())
            if isinstance(cleared, CatalogNotFound):
                raise cleared
        elif samples and catalog.where:
            chosen = [name for name in _COLUMNS if name in table.schema.names]
            rows.append(select(root, catalog, chosen))
    every = pa.concat_tables(rows, promote_options="default")
    return every.sort_by(
        [(key, "ascending") for key in ("sample_id", "unit_id") if key in every.column_names]
    )


def _each(rows: pa.Table) -> Iterator[Row]:
    for batch in rows.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _tag_problems(root: Root, name: str) -> Iterator[Finding]:
    listing = fs.FileSelector(root.path(f"catalogs/{name}/tags"), allow_not_found=True)
    for info in root.filesystem.get_file_info(listing):
        path = PurePosixPath(info.path)
        try:
            if path.suffix == ".json":
                tags.version_of(root, name, path.stem)
        except BrokenCatalog as error:
            place = f"catalogs/{name}/tags/{path.name}"
            do = f"--fix sets it aside; then tag again: `avcontrol catalog tag {name}@N {path.stem}`"
            yield Finding(problem="broken_tag", where=place, what=error.message, do=do, path=place)


def _row_problems(rows: pa.Table) -> Iterator[Finding]:
    if not len(rows):
        return
    counts = rows.group_by(["sample_id", "unit_id"]).aggregate([([], "count_all")])
    for twice in counts.filter(pc.greater(counts["count_all"], 1)).to_pylist():
        yield Finding(
            problem="duplicate",
            where=f"sample {twice['sample_id']}",
            what=f"{twice['count_all']} rows of unit {twice['unit_id']}",
            do="use a version before the second (`avcontrol catalog show --versions`)",
        )
    if "schema_version" in rows.column_names:
        newer = pc.fill_null(pc.greater(rows["schema_version"], SCHEMA_VERSION), False)
        for row in _each(rows.filter(newer)):
            yield Finding(
                problem="unknown_schema",
                where=f"sample {row['sample_id']}",
                what=f"schema version {row['schema_version']}; this release knows up to {SCHEMA_VERSION}",
                do="install a newer avcontrol",
            )


def _path_problems(root: Root, rows: pa.Table) -> Iterator[Finding]:
    # One listing of a folder instead of a look-up per row: object stores answer a thousand names at a time.
    folders = {
        PurePosixPath(path).parts[0]
        for row in _each(rows)
        for path in describe.files(row).values()
        if _safe(path)
    }
    sizes: dict[str, int] = {}
    for folder in folders:
        selector = fs.FileSelector(root.path(folder), recursive=True, allow_not_found=True)
        for info in root.filesystem.get_file_info(selector):
            if info.type == fs.FileType.File:
                sizes[info.path.removeprefix(f"{root.base}/")] = info.size
    for row in _each(rows):
        for what, path in describe.files(row).items():
            if not _safe(path):
                said = f"{path!r} leaves the root"
                yield _of(row, what, "unsafe_path", said, do="do not use this row: it was tampered with")
            elif path not in sizes:
                yield _of(row, what, "missing_file", f"{path} does not exist", path)
            elif sizes[path] == 0:
                yield _of(row, what, "empty_file", f"{path} has no bytes", path)


def _file_problems(root: Root, row: Row, again: bool) -> Iterator[Finding]:
    """What is wrong inside the files of one row, downloaded ``again``; those that are missing were reported before."""
    for what, relative in describe.files(row).items():
        try:
            path = root.local(relative, again=again)
        except UnsafePath as error:
            if _safe(relative):  # a link within the root that leads out of it
                yield _of(row, what, "unsafe_path", error.message, do="replace the link by the file itself")
            continue
        except DamagedFile as error:
            if root.filesystem.get_file_info(root.path(relative)).size:
                yield _of(row, what, "wrong_hash", error.message, relative)
            continue
        except AvcontrolError:
            continue
        if path.stat().st_size and file_sha256(path) != PurePosixPath(relative).stem:
            said = f"the bytes of {relative} do not hash to its name"
            yield _of(row, what, "wrong_hash", said, relative)
        elif path.stat().st_size and what in describe.MEDIA:
            wrong = media_problem(path, what, row)
            if wrong:
                do = "report it: the file is as it was made, and not what the row says"
                yield _of(row, what, "wrong_media", wrong, do=do)


def _of(row: Row, what: str, problem: str, said: str, path: str = "", do: str = _FIX) -> Finding:
    where = f"sample {row['sample_id']}, {what}"
    return Finding(problem=problem, where=where, what=said, do=do, path=path, sample_id=row["sample_id"])


def _safe(path: str) -> bool:
    try:
        return checked(path) == path
    except UnsafePath:
        return False
