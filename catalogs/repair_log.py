"""Mending the log of a Delta table, and finding the rows again that a damaged entry named.

A damaged entry is put back from a copy of the root. Without one it is set aside: the newest as if it had never been
written, an older one in favour of an entry with those of its lines that are whole, so that versions keep their
numbers. Data files that no entry names any more are read at last, and rows that the table lacks appended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow import fs

from catalogs import deltalog
from catalogs.root import Root, storage_errors
from catalogs.store import SETTINGS, Table, delta_table

RUN = {"program": "validate --fix"}
Rows = list[dict[str, str]]


def mend(root: Root, table: str, copies: Root | None) -> Rows:
    """Make a table's log readable.

    Args:
        root: Where it lies.
        table: Its relative path.
        copies: Another root that may have the same table.

    Returns:
        What was done; empty where nothing was wrong, or what is wrong cannot be mended.
    """
    done, checkpoint = list[dict[str, str]](), False
    while True:  # behind a damaged entry there may be another
        for fault in deltalog.faults(root, table, whole=True):
            copy = _copy(root, fault.path, copies)
            instead = copy or _salvaged(root, table, fault)
            if instead is not None or fault.mendable:
                break
        else:
            break
        checkpoint = checkpoint or fault.problem == "broken_checkpoint"
        if root.exists(fault.path):
            done.append(did("set aside", set_aside(root, fault.path), fault.what))
        if instead is not None:
            write(root, fault.path, instead)
            what = f"from {copies.uri}" if copies and copy else "what was left of it"
            done.append(did("put back", fault.path, what))
    if checkpoint and next(deltalog.faults(root, table), None) is None:
        delta = delta_table(root, table)
        delta.create_checkpoint()
        done.append(did("made again", f"{table}/_delta_log", f"checkpoint {delta.version()}"))
    return done


def find_rows(root: Root, table: Table) -> Rows:
    """Append the rows of data files that the log does not name: those that the table has not, and never had."""
    named, there = deltalog.named(root, table.name), set(_data_files(root, table.name))
    if not there - named:
        return []
    # A try that came second leaves a file, whose rows may have been taken out since.
    gone = set[tuple[Any, ...]]()
    for _, former in _read(root, table, sorted(there & named - set(table.files())), list(table.key)):
        gone.update(tuple(row.values()) for row in former)
    rows, schema = list[dict[str, Any]](), table.schema
    for columns, found in _read(root, table, sorted(there - named)):
        rows += [row for row in found if tuple(row[name] for name in table.key) not in gone]
        schema = pa.schema([*schema, *(field for field in columns if field.name not in schema.names)])
    if not (added := table.append_new(rows, RUN, schema)):
        return []
    table.refresh()
    what = f"version {table.version} with {added} rows of data files that the log did not name"
    return [did("found again", table.name, what)]


def _read(
    root: Root, table: Table, files: list[str], columns: list[str] | None = None
) -> Iterator[tuple[pa.Schema, list[dict[str, Any]]]]:
    for file in files:
        try:
            found = pq.read_table(
                root.path(f"{table.name}/{file}"), filesystem=root.filesystem, columns=columns
            )
        except (pa.ArrowInvalid, OSError):  # its writer was killed
            continue
        yield found.schema, found.to_pylist()


def set_aside(root: Root, path: str) -> str:
    """Move a file out of the way, under a name that nothing reads; returns it."""
    aside = f"set-aside/{path}.damaged"
    with storage_errors(root.uri):
        root.filesystem.create_dir(root.path(str(PurePosixPath(aside).parent)))
        here, there = root.path(path), root.path(aside)
        try:
            root.filesystem.move(here, there)
        except NotImplementedError:  # Azure without folders
            fs.copy_files(
                here, there, source_filesystem=root.filesystem, destination_filesystem=root.filesystem
            )
            root.filesystem.delete_file(here)
    return aside


def write(root: Root, path: str, content: bytes) -> None:
    """Write a small file whole."""
    with storage_errors(root.uri), root.filesystem.open_output_stream(root.path(path)) as sink:
        sink.write(content)


def did(done: str, where: str, what: str) -> dict[str, str]:
    """A line of the report."""
    return {"done": done, "where": where, "what": what}


def _copy(root: Root, path: str, copies: Root | None) -> bytes | None:
    """The entry as it stands in a copy of the root: one in which the entries around it are the same."""
    entry = PurePosixPath(path)
    if copies is None or entry.suffix != ".json" or not copies.exists(path):
        return None
    near = [entry.with_name(f"{int(entry.stem) + step:020}.json") for step in (-1, 1)]
    for one in map(str, near):
        if root.exists(one) and (
            not copies.exists(one) or deltalog.actions(root, one) != deltalog.actions(copies, one)
        ):
            return None
    said, whole = deltalog.actions(copies, path)
    return _joined(said) if whole else None


def _salvaged(root: Root, table: str, fault: deltalog.Fault) -> bytes | None:
    """An entry of the whole lines of a damaged one, which later ones build on.

    None for the first of all where no data file tells the columns.
    """
    if fault.problem not in ("broken_log_entry", "lost_log_entry"):
        return None
    said = deltalog.actions(root, fault.path)[0] if root.exists(fault.path) else []
    if not any("commitInfo" in action for action in said):
        now = int(time.time() * 1000)
        said = [{"commitInfo": {"timestamp": now, "operation": "WRITE", **RUN}}, *said]
    if int(PurePosixPath(fault.path).stem) == 0 and not {"protocol", "metaData"} <= set().union(*said):
        said = _first(root, table)
    return _joined(said) if said else None


def _first(root: Root, table: str) -> list[dict[str, Any]]:
    """The first entry of a table of the columns that its data files have; empty where there are none."""
    schemas = []
    for file in _data_files(root, table):
        try:
            schemas.append(pq.read_schema(root.path(f"{table}/{file}"), filesystem=root.filesystem))
        except (pa.ArrowInvalid, OSError):
            continue
    if not schemas:
        return []
    scratch = root.scratch("")
    made = Root.open(str(scratch), create=True)
    try:
        DeltaTable.create(
            str(scratch),
            pa.unify_schemas(schemas).remove_metadata(),
            configuration=SETTINGS,
            raise_if_key_not_exists=False,
        )
        return deltalog.actions(made, f"_delta_log/{0:020}.json")[0]
    finally:
        made.filesystem.delete_dir(made.base)


def _data_files(root: Root, table: str) -> list[str]:
    listing = root.filesystem.get_file_info(fs.FileSelector(root.path(table), allow_not_found=True))
    return [PurePosixPath(info.path).name for info in listing if info.path.endswith(".parquet")]


def _joined(actions: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(action) + "\n" for action in actions).encode()
