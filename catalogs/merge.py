"""Merging: the rows of several catalog IDs in one catalog, each once, with where it came from.

Rows keep their IDs and all their columns; ``merged_from`` is the pinned catalog that a row was taken from. Media are
shared, so nothing is copied. Run again, it adds what has come since. The ledger stays behind: a merged catalog is for
training, not for building.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs.console import progress
from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import pin, select, table_of
from catalogs.root import Root
from catalogs.store import Table

_BATCH = 20_000
_ALIKE = {
    "modality": "a catalog trains one control",
    "streams": "an adapter trains one set of streams",
    "reference_downscale": "a batch has one canvas scale",
}
"""Columns that must hold one value in all of a catalog, and why."""


def merge(root: Root, catalogs: Sequence[CatalogID], into: str) -> tuple[CatalogID, list[dict[str, Any]]]:
    """Append the rows of catalog IDs to a catalog, which is made if there is none.

    Args:
        root: Where all of them lie.
        catalogs: Which rows; of equal ones the first counts.
        into: Name of the catalog.

    Returns:
        The result, pinned, and for each of ``catalogs`` its pinned ID, its rows and how many were ``added``.

    Raises:
        ConfigError: Columns of one name differ in type, or rows in modality, streams or canvas scale.
    """
    pinned = [pin(root, str(catalog)) for catalog in catalogs]
    if any(catalog.name == into for catalog in pinned):
        raise ConfigError(f"{into} would be merged into itself", "Give --into another name.")
    target = _existing(root, into)
    _check_alike(root, [*target, *pinned])
    schema = _united(root, [*target, *pinned])
    run = {
        "run_id": uuid.uuid4().hex[:12],
        "program": "merge",
        "avcontrol": version("avcontrol"),
        "config": json.dumps({"from": [str(catalog) for catalog in pinned], "into": into}),
        "command": " ".join(sys.argv[1:])[:500],
    }
    # By sample, whatever unit it came from: that differs where two builds made the same sample.
    place = table_of(root, into, create=schema).name
    table, told = Table.open(root, place, key=("sample_id",)), []
    for catalog in pinned:
        rows = select(root, catalog)
        origin = f"{catalog.name}@{catalog.version}"
        added = 0
        with progress(f"merge {catalog.name}", rows.num_rows, "rows") as advance:
            for batch in rows.to_batches(max_chunksize=_BATCH):
                dicts = batch.to_pylist()
                # Rows that were merged before keep their first origin.
                given = [{**row, "merged_from": row.get("merged_from") or origin} for row in dicts]
                added += table.append_new(given, run, schema)
                advance(len(dicts))
        told.append({"catalog": str(catalog), "samples": rows.num_rows, "added": added})
    table.refresh()
    return CatalogID(name=into, version=table.version), told


def _existing(root: Root, name: str) -> list[CatalogID]:
    try:
        return [replace(pin(root, name), where=None)]
    except CatalogNotFound:
        return []


def _check_alike(root: Root, catalogs: Sequence[CatalogID]) -> None:
    """All rows must agree in what a catalog has one of; null is taken for unknown."""
    seen: dict[str, dict[Any, CatalogID]] = {column: {} for column in _ALIKE}
    for catalog in catalogs:
        present = table_of(root, catalog.name, version=catalog.version).schema.names
        columns = [column for column in _ALIKE if column in present]
        rows = select(root, catalog, columns)
        for column in columns:
            for value in pc.unique(rows[column]).to_pylist():
                if value is not None:
                    seen[column].setdefault(value, catalog)
    for column, values in seen.items():
        if len(values) > 1:
            (one, first), (other, second) = list(values.items())[:2]
            raise ConfigError(
                f"{first} has {column} {one} and {second} has {other}: {_ALIKE[column]}",
                f"Select alike rows, e.g. '{second.name}?{column}={one!r}', or merge them apart.",
            )


def _united(root: Root, catalogs: Sequence[CatalogID]) -> pa.Schema:
    """All columns of all catalogs, the first one's first, and ``merged_from``."""
    fields: dict[str, tuple[pa.Field, CatalogID]] = {}
    for catalog in catalogs:
        for field in table_of(root, catalog.name, version=catalog.version).schema:
            first, owner = fields.setdefault(field.name, (field, catalog))
            if first.type != field.type:
                raise ConfigError(
                    f"column {field.name} is {first.type} in {owner.name} and {field.type} in {catalog.name}",
                    "Build one of them anew: a column of a catalog has one type.",
                )
    origin = pa.field("merged_from", pa.string())
    return pa.schema([*(field for field, _ in fields.values() if field.name != origin.name), origin])
