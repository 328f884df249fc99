"""Training and validation: a cut by groups, never through one, that stays as the catalog grows.

A group (a source, a speaker) goes to validation when the hash of its key falls below the share asked for. Nothing
else is looked at, so no group changes sides when others come or go, and catalogs of the same sources are cut alike.
The cut is an SQL condition, and hence part of a catalog ID like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.query import condition, pin, run_sql, table_of
from catalogs.root import Root
from catalogs.scan import quoted

_DIGITS = 8
_KEYS = {"source": "source_sha256", "folder": "regexp_extract(source_uri, '^(.*)/', 1)"}


def split(
    root: Root, catalog: CatalogID, validation: float, by: str = "source"
) -> list[tuple[CatalogID, dict[str, Any]]]:
    """Both sides of a cut: pinned IDs, with how many samples and groups each has.

    Args:
        root: Where the catalog lies.
        catalog: Which rows.
        validation: Share of the groups that validate, between 0 and 1.
        by: What tells groups apart: "source" (its bytes), "folder" (where it lies), or a column.

    Raises:
        ConfigError: The share lies outside, there is no such column, or a side is empty.
    """
    pinned = pin(root, str(catalog))
    table = table_of(root, pinned.name, version=pinned.version)
    if by not in (*_KEYS, *table.schema.names):
        raise ConfigError(
            f"{pinned.name} has no column {by!r} to split by",
            "--by source and --by folder (a speaker's, a shoot's) always work; `avcontrol catalog show` lists columns.",
        )
    sides = []
    for name, where in conditions(by, validation).items():
        view = replace(pinned, where=f"({pinned.where}\n) AND {where}" if pinned.where else where)
        sql = f"SELECT count(*) AS samples, count(DISTINCT {_key(by)}) AS groups FROM rows{condition(view)}"
        sides.append((view, {"split": name, **run_sql(table, sql).to_pylist()[0]}))
    groups = sum(counts["groups"] for _, counts in sides)
    for _, counts in sides:
        if not counts["samples"]:
            raise ConfigError(
                f"no sample of {pinned} falls to {counts['split']}; groups by {by}: {groups}",
                "Give another --validation, or split by something finer.",
            )
    return sides


def conditions(by: str, validation: float) -> dict[str, str]:
    """The WHERE of each side.

    Raises:
        ConfigError: The share is not between 0 and 1.
    """
    bound = round(validation * 16**_DIGITS) if 0 < validation < 1 else 0
    if not 0 < bound < 16**_DIGITS:
        raise ConfigError(f"--validation must lie between 0 and 1, not {validation}", "Try 0.1.")
    return {
        "train": f"{_key(by)} >= '{bound:0{_DIGITS}x}'",
        "validation": f"{_key(by)} < '{bound:0{_DIGITS}x}'",
    }


def _key(by: str) -> str:
    """SQL of a group's hash. MD5 is the same everywhere, which DuckDB's hash() is not; hex orders as numbers do."""
    return f"md5(coalesce({_KEYS.get(by) or f'CAST({quoted(by)} AS VARCHAR)'}, ''))"
