"""What listings of catalogs say: catalogs, columns, versions, rejects."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from catalogs import describe
from catalogs.errors import CatalogError, CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import condition, names, run_sql, select, table_of
from catalogs.root import Root
from catalogs.scan import quoted

Rows = list[dict[str, Any]]


def catalogs(root: Root) -> Rows:
    """One row per catalog: name, version, samples, rejects, timelines, newest run; a broken one says so."""
    return [_catalog(root, name) for name in names(root)]


def columns(root: Root, catalog: CatalogID) -> Rows:
    """One row per column of a catalog ID: type, how many are null and distinct, least, mean and greatest."""
    table = table_of(root, catalog.name, version=catalog.version)
    asked = []
    for n, field in enumerate(table.schema):
        name = quoted(field.name)
        plain = not pa.types.is_nested(field.type)
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        distinct = f"count(DISTINCT {name})" if plain else "NULL"
        asked += [f"count({name}) AS c{n}", f"{distinct} AS d{n}"]
        for what in ("min", "avg", "max"):
            asked.append(f"{what}({name}) AS {what}{n}" if number else f"NULL AS {what}{n}")
    sql = f"SELECT count(*) AS rows, {', '.join(asked)} FROM rows{condition(catalog)}"
    told = run_sql(table, sql).to_pylist()[0]
    return [
        {
            "column": field.name,
            "type": "list" if pa.types.is_nested(field.type) else str(field.type),
            "null": told["rows"] - told[f"c{n}"],
            "distinct": told[f"d{n}"],
            "min": told[f"min{n}"],
            "mean": told[f"avg{n}"],
            "max": told[f"max{n}"],
        }
        for n, field in enumerate(table.schema)
    ]


def versions(root: Root, catalog: CatalogID) -> Rows:
    """One row per version of a catalog, newest first: ID, when, what, rows added and removed, run."""
    table = table_of(root, catalog.name, version=catalog.version)
    return [
        {
            "version": f"{catalog.name}@{commit['version']}",
            "when": _when(commit["timestamp"]),
            "operation": _operation(commit),
            "added": int((commit.get("operationMetrics") or {}).get("num_added_rows") or 0),
            "removed": int(commit.get("removed_rows") or 0),
            "run": commit.get("run_id", ""),
            "avcontrol": commit.get("avcontrol", ""),
        }
        for commit in table.history()
    ]


def rejects(root: Root, catalog: CatalogID, limit: int | None = None) -> Rows:
    """One row per reject: stage, reason, message, source and span in seconds.

    Raises:
        ConfigError: The ID names a version: rejects have versions of their own.
    """
    chosen = ["stage", "reason", "message", "source_uri", "span_start", "span_end"]
    table = _rejected(root, catalog, chosen, limit)
    return [
        {
            "stage": row["stage"],
            "reason": row["reason"],
            "message": row["message"],
            "source": row["source_uri"],
            "start_s": span and span[0],
            "end_s": span and span[1],
        }
        for row in table.to_pylist()
        for span in [describe.span(row)]
    ]


def reasons(root: Root, catalog: CatalogID) -> Rows:
    """One row per reason with the number of its rejects, most first; the same errors as :func:`rejects`."""
    table = _rejected(root, catalog, ["stage", "reason"], None)
    counts = Counter(zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True))
    return [
        {"stage": stage, "reason": reason, "rejects": count}
        for (stage, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def count(root: Root, catalog: CatalogID) -> int:
    """How many rows a catalog ID has."""
    table = table_of(root, catalog.name, version=catalog.version)
    known = None if catalog.where else table.count()  # the log says
    if known is not None:
        return known
    return int(run_sql(table, f"SELECT count(*) AS n FROM rows{condition(catalog)}")["n"][0].as_py())


def _catalog(root: Root, name: str) -> dict[str, Any]:
    try:
        table = table_of(root, name)
        rows = run_sql(
            table,
            "SELECT count(*) AS n, string_agg(DISTINCT timeline, ', ' ORDER BY timeline) AS t FROM rows",
        )
        newest = next((commit for commit in table.history() if commit.get("run_id")), {})
        return {
            "catalog": name,
            "version": table.version,
            "samples": rows["n"][0].as_py(),
            "rejects": _reject_count(root, name),
            "timelines": rows["t"][0].as_py() or "",
            "newest_run": newest.get("run_id", ""),
            "when": _when(newest["timestamp"]) if newest else "",
        }
    except CatalogError as error:
        return {"catalog": name, "timelines": f"broken: {error.message}"}


def _reject_count(root: Root, name: str) -> int:
    try:
        table = table_of(root, name, "rejects")
        known = table.count()
        return table.read(["reject_id"]).num_rows if known is None else known
    except CatalogNotFound:  # a catalog that was not made by a build
        return 0


def _rejected(root: Root, catalog: CatalogID, chosen: list[str], limit: int | None) -> pa.Table:
    if catalog.version is not None:
        raise ConfigError(
            f"{catalog} names a version of the samples; rejects have versions of their own",
            f"Write {catalog.name}.",
        )
    return select(root, catalog, chosen, kind="rejects", limit=limit)


def _operation(commit: dict[str, Any]) -> str:
    if commit.get("removed_rows"):
        return "delete"
    return "compact" if commit.get("program") == "compact" else str(commit["operation"]).lower()


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
