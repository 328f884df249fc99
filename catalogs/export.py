"""Exporting: the samples of a catalog ID in a format that others read, with media, licences and attribution.

    ltx-trainer   CSV and JSONL with the columns that Lightricks' trainer looks for    (catalogs.export_ltx)
    webdataset    tar shards                                                           (catalogs.export_webdataset)
    huggingface   Parquet beside media files, and a dataset card                       (catalogs.export_huggingface)

Files appear whole or not at all, under names that hang on their content or their order, and what lists them comes
last: an export that was interrupted goes on where it was, and the same catalog ID gives the same bytes.
"""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from catalogs.carry import How, carry
from catalogs.console import progress
from catalogs.describe import MEDIA, Row
from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import asking, condition, pin, run_sql, table_of
from catalogs.review import COLUMNS as REVIEW
from catalogs.root import Root, storage_errors
from catalogs.split import split

Format = Literal["ltx-trainer", "webdataset", "huggingface"]
LICENCES = ("source_license", "source_attribution", "estimator_license", "commercial_ok")

_AT_HOME = ("signals", "unit_id", "run_id")  # columns that mean something in the catalog alone
_CLAIM, _DONE = ".export.json", "export.json"
_BATCH, _THREADS = 256, 8


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of an export.

    Attributes:
        name: ``train`` or ``validation``, or ``all`` where nothing is split off.
        root: Where the catalog lies.
        view: The samples, pinned.
        schema: Their columns: the catalog's, and the reviews' where the ID reads those.
        media: The media columns that samples have.
        count: How many samples.
        out: Folder of the export.
        how: What becomes of the media.
        shard_bytes: Of a shard, about.
        advance: To be called for every sample that is through.
    """

    name: str
    root: Root
    view: CatalogID
    schema: pa.Schema
    media: tuple[str, ...]
    count: int
    out: Path
    how: How
    shard_bytes: int
    advance: Callable[..., None]

    def rows(self) -> Iterator[Row]:
        """The samples by ID, each once; read as they are taken, so that a catalog may be of any size.

        Of a source's place only the name is told, unless it is a URI: paths of this machine are nobody's business.
        """
        columns = ", ".join(f'"{name}"' for name in self.schema.names)
        table = table_of(self.root, self.view.name, version=self.view.version)
        where = condition(self.view, self.schema.names)
        sql = f"SELECT {columns} FROM rows{where} ORDER BY sample_id, unit_id"
        last, left = None, self.count
        with asking({"rows": table}, memory="1GB") as ask:
            for batch in ask(sql).to_arrow_reader(_BATCH):
                for row in batch.to_pylist():
                    if row["sample_id"] == last:  # equal sources at two places give rows of one ID
                        continue
                    if not left:
                        return
                    last, left = row["sample_id"], left - 1
                    uri = row["source_uri"] or ""
                    yield {**row, "source_uri": uri if "://" in uri else PurePosixPath(uri).name}

    def carried(self, folder: Path) -> Iterator[tuple[Row, dict[str, str]]]:
        """The samples, with their media by column as they are found from ``folder``."""

        def carry_one(row: Row) -> dict[str, str]:
            return {name: carry(self.root, row[name], folder, self.how) for name in self.media if row[name]}

        rows = self.rows()
        with ThreadPoolExecutor(_THREADS) as pool:  # object stores answer slowly, but many at once
            while batch := list(itertools.islice(rows, _BATCH)):
                for row, files in zip(batch, pool.map(carry_one, batch), strict=True):
                    yield row, files
                    self.advance(1)


def export(
    root: Root,
    catalog: CatalogID,
    form: Format,
    out: Path,
    *,
    media: How = "copy",
    validation: float | None = None,
    by: str = "source",
    limit: int | None = None,
    shard_mb: int = 1000,
) -> list[dict[str, Any]]:
    """Write the samples of a catalog ID to a folder; returns what was written, a dict per split.

    Args:
        root: Where the catalog lies.
        catalog: Which samples.
        form: The format.
        out: Folder; new, empty, or what an export of the same was writing.
        media: Copy the files, hard-link them, or name them where they are.
        validation: Share that goes into a split of its own (:mod:`catalogs.split`).
        by: What the split keeps together.
        limit: At most so many samples of each split.
        shard_mb: Megabytes of a WebDataset shard.

    Raises:
        ConfigError: The folder holds something else, the format cannot do that with media, or no such split.
        CatalogNotFound: No such catalog, or no samples.
        BrokenCatalog: A media file is missing.
        StorageError: The folder cannot be written.
    """
    module = importlib.import_module(f"catalogs.export_{form.partition('-')[0]}")
    if media not in module.CAN:
        raise ConfigError(f"{form} cannot {media} media", f"It can {' or '.join(module.CAN)} them.")
    if media != "copy" and root.folder is None:
        raise ConfigError(f"--media {media}, and the media lie in an object store", "Use --media copy.")
    pinned = pin(root, str(catalog))
    views = {"all": pinned}
    if validation is not None:
        views = {counts["split"]: view for view, counts in split(root, pinned, validation, by)}
    schema = table_of(root, pinned.name, version=pinned.version).schema
    used = _used(root, pinned, schema)
    counts = {name: min(_used(root, view, schema)["n"], limit or 2**62) for name, view in views.items()}
    if not any(counts.values()):
        raise CatalogNotFound(f"{pinned} has no samples", "Is the WHERE too narrow?")
    asked = {"format": form, "media": media, "limit": limit, "shard_mb": shard_mb}
    _claim(
        out, {"catalog": str(pinned), **asked, "splits": {name: str(view) for name, view in views.items()}}
    )
    with progress("export", sum(counts.values()), "samples") as advance:
        parts = [
            Part(
                name=name,
                root=root,
                view=view,
                schema=_travelling(schema, pinned),
                media=tuple(column for column in MEDIA if used.get(column)),
                count=counts[name],
                out=out,
                how=media,
                shard_bytes=shard_mb * 1_000_000,
                advance=advance,
            )
            for name, view in views.items()
        ]
        told: list[dict[str, Any]] = module.write(parts)
    (out / _CLAIM).replace(out / _DONE)
    return told


def row_of(row: Row) -> dict[str, Any]:
    """A sample as JSON has it: what is null is left out."""
    return {name: value for name, value in row.items() if value is not None}


def _used(root: Root, view: CatalogID, schema: pa.Schema) -> dict[str, int]:
    """How many samples, ``n``, and how many have each of the media columns."""
    counts = ", ".join(f"count({name}) AS {name}" for name in MEDIA if name in schema.names)
    sql = f"SELECT count(DISTINCT sample_id) AS n, {counts} FROM rows{condition(view)}"
    told: dict[str, int] = run_sql(table_of(root, view.name, version=view.version), sql).to_pylist()[0]
    return told


def _travelling(schema: pa.Schema, pinned: CatalogID) -> pa.Schema:
    """The columns that are handed over."""
    said = REVIEW if pinned.reviews is not None else ()
    kept = [field for field in schema if field.name not in _AT_HOME]
    return pa.schema([*kept, *(pa.field(name, pa.string()) for name in said if name not in schema.names)])


def _claim(out: Path, asked: dict[str, Any]) -> None:
    """Say in the folder what it is for; go on if it says so already."""
    text = json.dumps(asked, indent=2) + "\n"
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        said = next((file.read_text() for name in (_DONE, _CLAIM) if (file := out / name).exists()), None)
        if said is None and any(out.iterdir()):
            raise ConfigError(f"{out} is not empty and holds no export", "Give --out a new folder.")
        if said not in (None, text):
            raise ConfigError(
                f"{out} holds another export",
                f"Give --out a new folder; {out / _DONE} says what this one is.",
            )
        (out / _CLAIM).write_text(text)
