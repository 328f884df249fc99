"""Rows that need not fit into memory: streamed to an Arrow file, then mapped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa

from catalogs.root import storage_errors


def spool(rows: pa.RecordBatchReader, file: Path) -> pa.Table:
    """Write a stream of rows to an Arrow IPC file, flush it to the disk and map it.

    Returns:
        Its rows; what is read of them comes from the file, which may be unlinked meanwhile.

    Raises:
        StorageError: The disk is full or read-only.
    """
    with storage_errors(file):
        sink = pa.OSFile(str(file), "wb")
        writer = pa.ipc.new_file(sink, rows.schema)
    for batch in rows:  # an error here is the reader's, not the disk's
        with storage_errors(file):
            writer.write_batch(batch)
    with storage_errors(file):
        writer.close()
        sink.close()
        with file.open("rb") as written:
            os.fsync(written.fileno())
    return mapped(file)


def set_aside(rows: pa.RecordBatchReader, folder: Path | None = None) -> pa.Table:
    """The same in a file without a name (in a folder of its disk), which goes when the table does."""
    with tempfile.TemporaryDirectory(prefix="avcontrol-", dir=folder) as own:
        return spool(rows, Path(own, "rows.arrow"))


def mapped(file: Path) -> pa.Table:
    """The rows of an Arrow IPC file, read where they are touched."""
    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
