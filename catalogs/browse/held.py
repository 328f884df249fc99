"""Rows held in a file, read where they are asked for: next to no memory, however many there are."""

from __future__ import annotations

import bisect
import itertools
import mmap
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalogs.spool import spool


class Held:
    """A stream of rows, written to a temporary file that goes when this does.

    Args:
        rows: Read to their end.

    Raises:
        StorageError: No room in the folder for temporary files.
    """

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        with tempfile.TemporaryDirectory(prefix="avcontrol-") as folder:  # what is mapped outlives its name
            file = Path(folder) / "rows.arrow"
            spool(rows, file)
            with file.open("rb") as source:
                self._map = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        self._table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map))).read_all()
        self._batches = self._table.to_batches()
        self._starts = [0, *itertools.accumulate(batch.num_rows for batch in self._batches)]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column."""
        return self._table[name]

    def slice(self, start: int, size: int) -> list[dict[str, Any]]:
        """Consecutive rows."""
        return list(self._table.slice(start, size).to_pylist())

    def row(self, number: int) -> dict[str, Any]:
        """One row; Arrow's own take would first copy all chunks of a text column into one."""
        at = bisect.bisect_right(self._starts, number) - 1
        return dict(self._batches[at].slice(number - self._starts[at], 1).to_pylist()[0])

    def release(self) -> None:
        """Let go of the memory of what was touched; the system's cache has it."""
        self._map.madvise(mmap.MADV_DONTNEED)
