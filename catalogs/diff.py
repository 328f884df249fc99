"""What differs between two catalog IDs, and why: samples added, removed, and changed with the input that changed.

Rows are the same sample where their IDs are equal. What is left is paired by place: the same span of the same source
(and, for takes, the same cameras), on the same timeline first. Only hashes are compared; the values
are read for one example of each kind of change.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.query import asking, condition, pin, run_sql, table_of
from catalogs.root import Root
from catalogs.scan import quoted
from catalogs.store import Table

Rows = list[dict[str, Any]]

IDENTITY = (
    "modality",
    "source_sha256",
    "timeline",
    "estimator",
    "estimator_weights",
    "params",
    "code_version",
    "seed",
    "calibration",
    "caption",
)
"""The components of a sample's identity that are columns; the span is its place."""

_PLACE = ("source_uri", "span_start", "span_end", "camera", "reference_camera", "twin")
_BOOKS = ("sample_id", "unit_id", "run_id", "schema_version", "made_with")


def diff(root: Root, before: CatalogID, after: CatalogID) -> dict[str, Any]:
    """Compare the rows of two catalog IDs.

    Args:
        root: Where both lie.
        before: Seen as the old one.
        after: Seen as the new one.

    Returns:
        ``before`` and ``after`` (pinned), ``same``, ``added``, ``removed``, ``changed`` (counts), ``reasons`` (one dict
        for each set of columns that changed together: ``samples``, ``columns``, ``why``) and ``samples`` (an Arrow
        table: ``change``, ``before``, ``after`` (sample IDs), ``source_uri``, ``span_start``, ``columns``).

    Raises:
        ConfigError: The two IDs are one.
    """
    pinned = [pin(root, str(one)) for one in (before, after)]
    if pinned[0] == pinned[1]:
        raise ConfigError(f"{pinned[0]} is compared with itself", "Give another version, e.g. one before it.")
    tables = [table_of(root, one.name, version=one.version) for one in pinned]
    shared = [name for name in tables[1].schema.names if name in tables[0].schema.names]
    compared = [name for name in shared if name not in _BOOKS]
    both = [*zip(tables, pinned, strict=True)]
    same, differing = _differing([_row_hashes(table, one, compared) for table, one in both], tables[0])
    samples = _pairs(tables[0], [_hashes(table, one, compared, differing) for table, one in both], compared)
    counts = {"same": same, "added": 0, "removed": 0, "changed": 0}
    kinds: dict[str, dict[str, Any]] = {}
    with asking({"rows": tables[0], "pairs": samples}) as ask:
        example = "min(before) AS a, any_value(after ORDER BY before) AS b"
        sql = f"SELECT change, columns, count(*) AS n, {example} FROM pairs GROUP BY ALL ORDER BY n DESC, columns"
        for row in ask(sql).to_arrow_table().to_pylist():
            counts[row["change"]] += row["n"]
            if row["change"] == "changed":
                kinds[row["columns"]] = row
    reasons = [
        {"samples": row["n"], "columns": columns.split(","), "why": _why(tables, row, columns.split(","))}
        for columns, row in kinds.items()
    ]
    return {
        "before": str(pinned[0]),
        "after": str(pinned[1]),
        **counts,
        "reasons": reasons,
        "samples": samples.filter(pc.not_equal(samples["change"], "same")),
    }


def _row_hashes(table: Table, catalog: CatalogID, compared: list[str]) -> pa.Table:
    """The ID of every row, and a hash of all that is compared."""
    every = ", ".join(map(quoted, compared))
    return run_sql(table, f"SELECT sample_id, hash(row({every})) AS h FROM rows{condition(catalog)}")


def _differing(sides: list[pa.Table], table: Table) -> tuple[int, pa.Table]:
    """How many rows are equal on both sides, and the IDs of the others: they alone are looked at closely."""
    with asking({"rows": table, "olds": sides[0], "news": sides[1]}) as ask:
        one_way = "SELECT sample_id, h FROM {} EXCEPT ALL SELECT sample_id, h FROM {}"
        both_ways = f"({one_way.format('olds', 'news')}) UNION ALL ({one_way.format('news', 'olds')})"
        ids = ask(f"SELECT DISTINCT sample_id FROM ({both_ways})").to_arrow_table()
    with asking({"rows": table, "olds": sides[0], "ids": ids}) as ask:
        equal = ask("SELECT count(*) AS n FROM olds ANTI JOIN ids USING (sample_id)").to_arrow_table()
    return int(equal["n"][0].as_py()), ids


def _hashes(table: Table, catalog: CatalogID, compared: list[str], ids: pa.Table) -> pa.Table:
    """IDs, places, and a hash of every compared column, of the rows with these IDs."""
    place = ", ".join(quoted(name) if name in table.schema.names else f"NULL AS {name}" for name in _PLACE)
    hashed = ", ".join(f"hash({quoted(name)}) AS h{n}" for n, name in enumerate(compared))
    chosen = f"(SELECT * FROM rows{condition(catalog)}) SEMI JOIN ids USING (sample_id)"
    with asking({"rows": table, "ids": ids}) as ask:
        return ask(f"SELECT sample_id, unit_id, {place}, {hashed} FROM {chosen}").to_arrow_table()


def _pairs(table: Table, sides: list[pa.Table], compared: list[str]) -> pa.Table:
    """Both sides put together: which row became which, and the columns in which they differ."""
    place, timeline = ", ".join(_PLACE), f"h{compared.index('timeline')}"
    names = ", ".join(f"CASE WHEN a.h{n} <> b.h{n} THEN '{name}' END" for n, name in enumerate(compared))
    # Equal keys (a source at two places) are paired in the order of their units.
    numbered = "SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY sample_id, unit_id) AS n FROM {rows}"
    rests = ["olds", "news"]
    steps = []
    found = []
    for step, key in enumerate(("sample_id", f"{place}, {timeline}", place)):
        for side, rows in enumerate(rests):
            steps.append(f"s{step}{'ab'[side]} AS MATERIALIZED ({numbered.format(key=key, rows=rows)})")
        on = " AND ".join(
            f"a.{name.strip()} IS NOT DISTINCT FROM b.{name.strip()}" for name in [*key.split(","), "n"]
        )
        steps.append(
            f"p{step} AS MATERIALIZED (SELECT a.sample_id AS before, b.sample_id AS after, a.unit_id AS ua, "
            f"b.unit_id AS ub, b.source_uri, b.span_start, concat_ws(',', {names}) AS columns "
            f"FROM s{step}a a JOIN s{step}b b ON {on})"
        )
        found.append(f"p{step}")
        rests = [f"r{step}a", f"r{step}b"]
        for side, (key_of, unit) in enumerate((("before", "ua"), ("after", "ub"))):
            steps.append(
                f"{rests[side]} AS MATERIALIZED (SELECT * EXCLUDE (n) FROM s{step}{'ab'[side]} s ANTI JOIN p{step} p "
                f"ON s.sample_id = p.{key_of} AND s.unit_id = p.{unit})"
            )
    paired = " UNION ALL ".join(
        f"SELECT CASE WHEN before = after AND columns = '' THEN 'same' ELSE 'changed' END AS change, "
        f"before, after, source_uri, span_start, columns FROM {each}"
        for each in found
    )
    single = [
        f"SELECT '{change}', {ids}, source_uri, span_start, '' FROM {rest}"
        for change, ids, rest in (
            ("removed", "sample_id, NULL", rests[0]),
            ("added", "NULL, sample_id", rests[1]),
        )
    ]
    every = " UNION ALL ".join([paired, *single])
    sql = f"WITH {', '.join(steps)} {every} ORDER BY change, source_uri, span_start, after"
    with asking({"rows": table, "olds": sides[0], "news": sides[1]}) as ask:
        return ask(sql).to_arrow_table()


def _why(tables: list[Table], row: dict[str, Any], columns: list[str]) -> str:
    """The change in words, of the one example: what is part of the identity, else what else changed."""
    causes = [name for name in columns if name in IDENTITY]
    if row["a"] != row["b"] and not causes:
        return "an input that is no column (speaker turns beside the source)"
    shown = causes or [name for name in columns if name]
    values = []
    for table, sample_id in zip(tables, (row["a"], row["b"]), strict=True):
        chosen = ", ".join(quoted(name) for name in shown)
        found = run_sql(table, f"SELECT {chosen} FROM rows WHERE sample_id = '{sample_id}' LIMIT 1")
        values.append(found.to_pylist()[0])
    return "; ".join(changes(name, values[0][name], values[1][name]) for name in shown)


def changes(name: str, before: Any, after: Any) -> str:
    """One component's change in words: ``params.low 100 -> 50``, ``code_version of the stages 1 -> 2``."""
    if name == "params":
        old, new = _options(before), _options(after)
        keys = [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
        said = [
            (key, *(_said(side[key]) if key in side else "absent" for side in (old, new))) for key in keys
        ]
        return ", ".join(f"params.{key} {was} -> {now}" for key, was, now in said)
    if name == "calibration":
        return "calibration: the estimator was graded" + (" again" if before and after else "")
    if name == "code_version" and str(before).count(".") == str(after).count(".") == 1:
        parts = zip(("stages", "modality"), str(before).split("."), str(after).split("."), strict=True)
        return ", ".join(
            f"code_version of the {what} {old} -> {new}" for what, old, new in parts if old != new
        )
    return f"{name} {_said(before)} -> {_said(after)}"


def _options(text: str | None) -> dict[str, Any]:
    try:
        return dict(json.loads(text or "{}"))
    except ValueError:
        return {"": text}


def _said(value: Any) -> str:
    if value is None or value == "":
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    hashed = len(text) > 32 and " " not in text and "/" not in text
    most = 12 if hashed else 60  # a hash is known by its beginning
    return text if len(text) <= most else f"{text[:most]}…"
