"""Many small data files made few, as one version more of the same rows; on any storage.

Delta's own compaction lets two of the same files through, even where it is told not to try again, and rows are double
then. This one commits exactly the version after the one it read: whoever comes second fails, and its files go.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from catalogs.root import Root

_SMALL, _MERGED = 4 * 2**20, 32 * 2**20  # bytes of a file that is merged, and of what files are merged to


def small(delta: DeltaTable) -> dict[str, int]:
    """The small data files of a table with their bytes, in the order of its log."""
    files = pa.table(delta.get_add_actions()).select(["path", "size_bytes"]).to_pylist()
    return {file["path"]: file["size_bytes"] for file in files if file["size_bytes"] < _SMALL}


def compact(
    root: Root,
    name: str,
    delta: DeltaTable,
    schema: pa.Schema,
    how: CommitProperties,
    hooks: PostCommitHookProperties,
) -> None:
    """Commit a version in which the small files of ``delta`` are merged to some of 32 MB; the old files stay.

    Args:
        root: Where the table lies.
        name: Its relative path.
        delta: The table at its newest version, as this process knows it; afterwards at the one that is.
        schema: Its columns, in Arrow.
        how: Metadata of the commit, which may not be tried again.
        hooks: What follows it.

    Raises:
        DeltaError: Another commit came first. Nothing has changed.
        ArrowInvalid, OSError: A file could not be read or written; likewise.
    """
    now, added, actions = int(time.time() * 1000), list[str](), list[AddAction | RemoveAction]()
    files, group, weight = small(delta), list[str](), 0
    try:
        for number, (file, size) in enumerate(files.items(), 1):
            actions.append(RemoveAction(file, False, now, size, {}))
            group.append(file)
            weight += size
            if weight >= _MERGED or number == len(files):
                added.append(f"part-{uuid.uuid4()}.zstd.parquet")
                rows = _merge(root, name, group, added[-1], schema)
                bytes_ = root.filesystem.get_file_info(root.path(f"{name}/{added[-1]}")).size
                stats = json.dumps({"numRecords": rows})
                actions.append(AddAction(added[-1], bytes_, {}, now, False, stats))
                group, weight = [], 0
        delta.create_write_transaction(
            actions, "append", delta.schema(), commit_properties=how, post_commithook_properties=hooks
        )
    except (DeltaError, pa.ArrowException, OSError):
        delta.update_incremental()
        named = pa.table(delta.get_add_actions())["path"].to_pylist()
        for file in set(added).difference(named):  # a commit may stand although its answer was lost
            if root.exists(f"{name}/{file}"):
                root.filesystem.delete_file(root.path(f"{name}/{file}"))
        raise
    delta.update_incremental()


def _merge(root: Root, name: str, files: list[str], into: str, schema: pa.Schema) -> int:
    """Write the rows of some files into one; returns how many. Columns that a file lacks are null."""
    paths = [root.path(str(PurePosixPath(name) / file)) for file in files]
    rows = pads.dataset(paths, schema=schema, filesystem=root.filesystem, format="parquet")
    written = 0
    with pq.ParquetWriter(
        root.path(f"{name}/{into}"), schema, filesystem=root.filesystem, compression="zstd"
    ) as writer:
        for batch in rows.to_batches():
            writer.write_batch(batch)
            written += batch.num_rows
    return written
