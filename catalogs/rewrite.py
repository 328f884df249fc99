"""Data files written anew as one version more: many small ones made few, or rows taken out; on any storage.

Delta can do both, but not as needed. Its compaction lets two of the same files through, even where it is told not to
try again, and rows are double then. Its deletion leaves text as Arrow's string_view, which Arrow cannot filter. Here a
commit has to be exactly the version after the one that was read: whoever comes second fails, and its files go.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from catalogs.root import Root

HOOKS = PostCommitHookProperties(cleanup_expired_logs=False)
"""Of every commit: by default Delta cuts log entries older than 30 days, and with them the versions that IDs name."""
_SMALL, _MERGED = 4 * 2**20, 32 * 2**20  # bytes of a file that is merged, and of what files are merged to


def once(run: Mapping[str, str]) -> CommitProperties:
    """A commit that fails when another one came first."""
    return CommitProperties(custom_metadata=dict(run), max_commit_retries=0)


def files(delta: DeltaTable) -> list[str]:
    """The data files of a table, by their names within it."""
    return [uri.rpartition("/")[2] for uri in delta.file_uris()]  # no partitions, so no folders


def small(delta: DeltaTable) -> dict[str, int]:
    """The small data files of a table with their bytes, in the order of its log."""
    return {file: size for file, size in _sizes(delta).items() if size < _SMALL}


def compact(root: Root, name: str, delta: DeltaTable) -> None:
    """Commit a version in which the small files of ``delta`` are merged to some of 32 MB; the old files stay.

    Args:
        root: Where the table lies.
        name: Its relative path.
        delta: The table at its newest version, as this process knows it; afterwards at the one that is.

    Raises:
        DeltaError: Another commit came first. Nothing has changed.
        ArrowInvalid, OSError: A file could not be read or written; likewise.
    """
    groups, weight = [list[str]()], 0
    for file, size in small(delta).items():
        if weight >= _MERGED:
            groups.append([])
            weight = 0
        groups[-1].append(file)
        weight += size
    _rewrite(root, name, delta, groups, lambda batch: batch, {"program": "compact"}, changed=False)


def delete(
    root: Root, name: str, delta: DeltaTable, column: str, values: Iterable[str], run: Mapping[str, str]
) -> int:
    """Commit a version without the rows whose ``column`` is one of ``values``; earlier versions keep them.

    Args:
        root: Where the table lies.
        name: Its relative path.
        delta: As in :func:`compact`.
        column: A column of text.
        values: What the rows have there that are taken out.
        run: Metadata of the commit, which says ``removed_rows`` besides.

    Returns:
        How many rows; without any there is no version.

    Raises:
        As :func:`compact`.
    """
    wanted = pa.array(sorted(values), pa.string())
    touched, removed = list[str](), 0
    for file in files(delta):
        found = pc.sum(pc.is_in(_rows(root, name, delta, [file]).to_table([column])[column], wanted)).as_py()
        if found:
            touched.append(file)
            removed += found
    if removed:

        def left(batch: pa.RecordBatch) -> pa.RecordBatch:
            return batch.filter(pc.invert(pc.is_in(batch[column], wanted)))

        said = {**run, "removed_rows": str(removed)}
        _rewrite(root, name, delta, [[file] for file in touched], left, said, changed=True)
    return removed


def _rewrite(
    root: Root,
    name: str,
    delta: DeltaTable,
    groups: list[list[str]],
    change: Callable[[pa.RecordBatch], pa.RecordBatch],
    run: Mapping[str, str],
    *,
    changed: bool,
) -> None:
    """Put one file in the place of each group of files."""
    now, sizes, added = int(time.time() * 1000), _sizes(delta), list[str]()
    actions = [RemoveAction(file, changed, now, sizes[file], {}) for group in groups for file in group]
    try:
        for group in groups:
            added.append(f"part-{uuid.uuid4()}.zstd.parquet")
            path = root.path(f"{name}/{added[-1]}")
            if rows := _write(root, path, _rows(root, name, delta, group), change):
                size, stats = root.filesystem.get_file_info(path).size, json.dumps({"numRecords": rows})
                actions.append(AddAction(added[-1], size, {}, now, changed, stats))
            else:
                root.filesystem.delete_file(path)
        delta.create_write_transaction(
            actions,
            "append",
            delta.schema(),
            commit_properties=once(run),
            post_commithook_properties=HOOKS,
        )
    except (DeltaError, pa.ArrowException, OSError):
        delta.update_incremental()
        for file in set(added).difference(files(delta)):  # a commit may stand although its answer was lost
            if root.exists(f"{name}/{file}"):
                root.filesystem.delete_file(root.path(f"{name}/{file}"))
        raise
    delta.update_incremental()


def _sizes(delta: DeltaTable) -> dict[str, int]:
    listed = pa.table(delta.get_add_actions()).select(["path", "size_bytes"]).to_pylist()
    return {file["path"]: file["size_bytes"] for file in listed}


def _rows(root: Root, name: str, delta: DeltaTable, chosen: list[str]) -> pads.Dataset:
    """The rows of some files; columns that a file lacks are null."""
    schema = pa.schema(delta.schema().to_arrow())
    paths = [root.path(f"{name}/{file}") for file in chosen]
    return pads.dataset(paths, schema=schema, filesystem=root.filesystem, format="parquet")


def _write(
    root: Root, path: str, rows: pads.Dataset, change: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> int:
    written = 0
    with pq.ParquetWriter(path, rows.schema, filesystem=root.filesystem, compression="zstd") as writer:
        for batch in map(change, rows.to_batches()):
            writer.write_batch(batch)
            written += batch.num_rows
    return written
