"""Mending a catalog: damage is set aside, what lies elsewhere is put back, the rest is listed to be made again.

In this order: the logs, so that the tables open; data files that cannot be read, whose rows a new version leaves out,
and those that no log names any more, whose rows it takes in; files of rows; at last the ledger, which forgets every
unit with fewer rows than it says. Killed in between, the next time goes on. Nothing is deleted: damaged files lie under
``set-aside/`` afterwards, and earlier versions stay as they were.
"""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from catalogs import describe, repair_log
from catalogs.errors import BrokenCatalog, CatalogNotFound, ConfigError
from catalogs.explain import command
from catalogs.ids import CatalogID
from catalogs.query import table_of
from catalogs.referenced import KINDS
from catalogs.repair_log import RUN, did, set_aside, write
from catalogs.root import Root, file_sha256, storage_errors
from catalogs.validate import Finding, broken_files, find, lost_units, open_table, tables

_LISTED = ("unit_id", "source_uri", "timeline")
Rows = list[dict[str, str]]


def repair(root: Root, catalog: CatalogID, *, deep: bool = False, copies: Root | None = None) -> Rows:
    """Mend what :func:`catalogs.validate.validate` finds in the newest version of a catalog.

    Args:
        root: Where it lies.
        catalog: Its name.
        deep: Open every file of every row, not of a few.
        copies: Another root, such as a backup, whose log entries, data files and media may be put back.

    Returns:
        What was done, in order: ``done``, ``where``, ``what``. Empty when there was nothing to mend.

    Raises:
        ConfigError: The ID names a version or a WHERE.
        CatalogNotFound: No such catalog.
    """
    if catalog.version is not None or catalog.where:
        raise ConfigError(f"--fix mends the newest version, not {catalog}", f"Write {catalog.name}.")
    done = _mend_tables(root, catalog.name, copies)
    found = find(root, catalog, deep=deep)
    for tag in [one for one in found if one.problem == "broken_tag"]:
        done.append(did("set aside", set_aside(root, tag.path), tag.what))
    done += _mend_rows(root, catalog.name, found, copies)
    return done + _forget_units(root, catalog.name)


def rebuild_list(root: Root, name: str) -> Rows:
    """The units that the next build has to make again: ``unit_id``, ``source_uri``, ``timeline``."""
    try:
        with root.filesystem.open_input_stream(root.path(_list_path(name))) as stream:
            listed = list(csv.DictReader(io.StringIO(stream.read().decode(errors="replace"))))
    except FileNotFoundError:
        return []
    try:
        done = set(table_of(root, name, "ledger").read(["unit_id"])["unit_id"].to_pylist())
    except CatalogNotFound:
        done = set()
    return [row for row in listed if row["unit_id"] not in done]


def rebuild_command(root: Root, name: str) -> str:
    """The newest build's command; "" where no build is in the log."""
    history = table_of(root, name).history()
    return next((command(one) for one in history if one.get("program") == "build" and one.get("config")), "")


def _mend_tables(root: Root, name: str, copies: Root | None) -> Rows:
    """The logs, then data files that cannot be read: put back, or a new version is without their rows."""
    done = []
    for place in tables(root, name):
        logged = repair_log.mend(root, place, copies)
        done += logged
        try:
            table = open_table(root, place)
        except BrokenCatalog:  # stays a problem
            continue
        for broken in list(broken_files(table)):
            gone = not root.exists(broken.path)
            where = broken.path if gone else set_aside(root, broken.path)
            done.append(did("missing" if gone else "set aside", where, broken.what))
            if came_from := _data_file(root, broken.path, copies):
                done.append(did("put back", broken.path, f"from {came_from}"))
        if dropped := table.drop_lost(RUN):
            table.refresh()
            what = f"version {table.version} without the rows of {len(dropped)} data files"
            done.append(did("left out", place, what))
        if logged:
            done += repair_log.find_rows(root, table)
    return done


def _data_file(root: Root, path: str, copies: Root | None) -> str:
    """Put a data file, whose name is its own alone, back; returns where it came from, "" for nowhere."""
    if copies is None or not copies.exists(path):
        return ""
    with storage_errors(path), copies.filesystem.open_input_stream(copies.path(path)) as source:
        content = source.read()
    try:
        pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError):
        return ""
    write(root, path, content)
    return f"{copies.uri}/{path}"


def _mend_rows(root: Root, name: str, found: list[Finding], copies: Root | None) -> Rows:
    """Put the files of rows back; remove the rows whose files are nowhere."""
    damaged = list(dict.fromkeys(one.path for one in found if one.sample_id and one.path))
    elsewhere = _elsewhere(root, {PurePosixPath(path).name for path in damaged})
    done, lost = [], set[str]()
    for path in damaged:
        if root.exists(path):
            done.append(did("set aside", set_aside(root, path), f"{path} is damaged"))
        came_from = _put_back(root, path, elsewhere.get(PurePosixPath(path).name, []), copies)
        if came_from:
            done.append(did("put back", path, f"from {came_from}"))
        else:
            lost.add(path)
    if lost:
        rows = _rows_with(root, name, lost)
        _list_units(root, name, [{column: row[column] for column in _LISTED} for row in rows])
        table = table_of(root, name)
        removed = table.delete("sample_id", [row["sample_id"] for row in rows], RUN)
        what = f"version {table.version} without {removed} rows whose files are lost"
        done.append(did("left out", table.name, what))
    return done


def _rows_with(root: Root, name: str, paths: set[str]) -> list[dict[str, Any]]:
    """All rows that name any of these files, also those that were not looked at."""
    table = table_of(root, name)
    named = {*describe.MEDIA, "signals", "sample_id", *_LISTED}
    columns = [column for column in table.schema.names if column in named]
    return [
        row
        for batch in table.dataset().to_batches(columns=columns)
        for row in batch.to_pylist()
        if not paths.isdisjoint(describe.files(row).values())
    ]


def _forget_units(root: Root, name: str) -> Rows:
    """Take the units that lack rows out of the ledger, and list them."""
    lost = lost_units(root, name)
    if not len(lost):
        return []
    # The list first: what is in it and still in the ledger does not count.
    _list_units(root, name, lost.select(list(_LISTED)).to_pylist())
    table_of(root, name, "ledger").delete("ledger_id", lost["ledger_id"].to_pylist(), RUN)
    return [did("to be made again", _list_path(name), f"{len(lost)} units")]


def _list_units(root: Root, name: str, units: list[dict[str, Any]]) -> None:
    every = {(row["unit_id"], row["source_uri"]): row for row in [*rebuild_list(root, name), *units]}
    text = io.StringIO()
    writer = csv.DictWriter(text, _LISTED, lineterminator="\n")
    writer.writeheader()
    writer.writerows(every.values())
    write(root, _list_path(name), text.getvalue().encode())


def _list_path(name: str) -> str:
    return f"catalogs/{name}/rebuild.csv"


def _elsewhere(root: Root, names: set[str]) -> dict[str, list[str]]:
    """Files of these names wherever they lie in the root's folders of content-addressed files."""
    found: dict[str, list[str]] = {}
    for kind in KINDS if names else ():
        selector = fs.FileSelector(root.path(kind), recursive=True, allow_not_found=True)
        for info in root.filesystem.get_file_info(selector):
            path = PurePosixPath(info.path.removeprefix(f"{root.base}/"))
            if info.type == fs.FileType.File and path.name in names:
                found.setdefault(path.name, []).append(str(path))
    return found


def _put_back(root: Root, path: str, here: list[str], copies: Root | None) -> str:
    """Copy a file whose bytes hash to its name back to its place; returns where it came from, "" for nowhere."""
    kind, name = PurePosixPath(path).parts[0], PurePosixPath(path)
    places = [(root, one) for one in here if one != path] + ([(copies, path)] if copies else [])
    for where, one in places:
        if not where.exists(one):
            continue
        part = root.scratch(name.suffix)
        with (
            storage_errors(path),
            where.filesystem.open_input_stream(where.path(one)) as source,
            part.open("wb") as sink,
        ):
            while chunk := source.read(2**20):
                sink.write(chunk)
        if file_sha256(part) == name.stem and root.put(part, kind) == path:
            return one if where is root else f"{where.uri}/{one}"
        part.unlink(missing_ok=True)
    return ""
