"""The index of a run's samples: a file made once from a catalog and its encodings, and mapped afterwards.

Its rows lie in the order of their sample IDs, as the catalog's do; beside them lies the order that puts samples
of one bucket (equal shapes and frame rate, so they fit one batch) together. Only what is touched is in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.query import manifest_hash
from catalogs.root import storage_errors
from catalogs.spool import mapped, spool

_STALE_SECONDS = 30 * 24 * 3600
_ROWS, _GROUPED, _ABOUT = "rows.arrow", "grouped.npy", "about.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample, encoded.

    Attributes:
        sample_id: Of the catalog's row.
        caption: Its prompt.
        media: Media path by column, relative to the root, for the columns that are trained on.
        latents: Latents' path by column, for the same.
        shapes: Shape of the latents by column.
        prompt: Path of the prompt's embeddings.
        fps: Frames a second.
        scale: s, where the reference is drawn at 1/s.
    """

    sample_id: str
    caption: str
    media: Mapping[str, str]
    latents: Mapping[str, str]
    shapes: Mapping[str, Sequence[int]]
    prompt: str
    fps: float
    scale: int


class Examples(Sequence[Example]):
    """The samples of an index, in the order of their IDs; a row is read when it is asked for.

    Args:
        folder: What :func:`write` made.

    Attributes:
        about: What `write` was told of them all.
        manifest: Hash of their IDs.
        buckets: What the samples of each bucket share: shape by latents' column (and of `text`), and `fps`.
        sizes: Samples of each bucket.
    """

    def __init__(self, folder: Path) -> None:
        kept = json.loads((folder / _ABOUT).read_text())
        with contextlib.suppress(OSError):  # a cache of another user's serves too
            os.utime(folder)
        self.about: dict[str, Any] = kept["about"]
        self.manifest: str = kept["manifest"]
        self.buckets: list[dict[str, Any]] = [json.loads(bucket) for bucket in kept["buckets"]]
        self.sizes: list[int] = kept["sizes"]
        self._starts = [0, *np.cumsum(self.sizes).tolist()]
        self._rows = mapped(folder / _ROWS)
        self._grouped = np.load(folder / _GROUPED, mmap_mode="r")

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """A sample, or several of them."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        row = self._rows.slice(range(len(self))[index], 1).to_pylist()[0]
        columns, bucket = self.about["columns"], self.buckets[row["bucket"]]
        return Example(
            sample_id=row["sample_id"],
            caption=row["caption"],
            media={column: row[column] for column in columns},
            latents={column: row[f"{column}_latents"] for column in columns},
            shapes={column: bucket[column] for column in columns},
            prompt=row["prompt"],
            fps=bucket["fps"],
            scale=self.about["scale"],
        )

    def row(self, bucket: int, position: int) -> int:
        """Where the sample at a position of a bucket lies among all."""
        return int(self._grouped[self._starts[bucket] + position])


def folder_of(cache: Path, *key: str) -> Path:
    """Where the index of a key lies, or will."""
    return cache / "index" / hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]


def write(folder: Path, rows: pa.RecordBatchReader, about: Mapping[str, Any]) -> None:
    """Write an index; it is there whole or not at all, also where several processes make it at once.

    Args:
        folder: For it; nothing is there yet.
        rows: In the order of `sample_id`: `sample_id`, `caption`, `prompt`, and path and `…_latents` of every
            column in ``about["columns"]``; `bucket` is a JSON object, see `Examples.buckets`.
        about: `columns`, `scale`, and what else is to be kept.

    Raises:
        StorageError: The disk is full or read-only.
    """
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        buckets: dict[str, int] = {}
        table = spool(_numbered(rows, buckets), own / _ROWS)
        numbers = [chunk.to_numpy() for chunk in table["bucket"].chunks]
        number = np.concatenate([*numbers, np.zeros(0, np.int32)])
        ids = (one for chunk in table["sample_id"].chunks for one in chunk.to_pylist())
        kept = {
            "about": about,
            "manifest": manifest_hash(ids, ordered=True),
            "buckets": list(buckets),
            "sizes": np.bincount(number, minlength=len(buckets)).tolist(),
        }
        with storage_errors(own):
            np.save(own / _GROUPED, np.argsort(number, kind="stable").astype(np.int64))
            (own / _ABOUT).write_text(json.dumps(kept))
            own.chmod(0o755)
            try:
                own.rename(folder)
            except OSError:
                if not folder.is_dir():  # or another process was faster, with the same bytes
                    raise
        _sweep(folder.parent)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what was not opened for a month; who has it mapped keeps it."""
    for folder in cache.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder)


def _numbered(rows: pa.RecordBatchReader, buckets: dict[str, int]) -> pa.RecordBatchReader:
    """The rows with each bucket's number for its name; new names are added to ``buckets``."""
    place = rows.schema.get_field_index("bucket")
    schema = rows.schema.set(place, pa.field("bucket", pa.int32()))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            found = pc.dictionary_encode(batch.column(place))
            names = [buckets.setdefault(name, len(buckets)) for name in found.dictionary.to_pylist()]
            numbers = pa.array(np.array(names, np.int32)[found.indices.to_numpy()])
            yield batch.set_column(place, schema.field(place), numbers)

    return pa.RecordBatchReader.from_batches(schema, batches())
