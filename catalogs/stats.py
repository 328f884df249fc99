"""What a catalog holds, in numbers: how much, and how each figure is distributed. DuckDB does the counting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from catalogs.describe import MEDIA
from catalogs.errors import UnsafePath
from catalogs.ids import CatalogID
from catalogs.query import asking, condition, pin, run_sql, table_of
from catalogs.root import Root
from catalogs.scan import quoted
from catalogs.schema import SAMPLES
from catalogs.store import Table

BINS = 24
_MEMORY = "300MB"  # with what the process has already, below 500 for a million rows
_FEW = 12
"""A text column with more values than this is not counted value by value."""
_MEASURED = 2000
"""So many files are asked for their size; of more files, a spread of so many."""

_SECONDS = (
    "CASE WHEN frames > 0 AND fps_num > 0 THEN frames * fps_den / fps_num "
    "WHEN sample_rate > 0 THEN audio_samples / sample_rate END"
)
_FIGURES = ("quality", "motion", "brightness", "sharpness", "av_offset_ms", "expected_error")
_WORDS = ("modality", "streams", "timeline", "caption_source", "estimator", "source_license", "decoder")


def stats(root: Root, catalog: CatalogID, *, bins: int = BINS, sizes: bool = True) -> dict[str, Any]:
    """Counts, hours, bytes, the distribution of every figure and the values of columns that have few.

    Args:
        root: Where the catalog lies.
        catalog: Which rows.
        bins: Of each histogram, equally wide from the least to the greatest value.
        sizes: Count the files and their bytes, which takes as long as the rest; else they are left out.

    Returns:
        ``catalog``, ``samples``, ``sources``, ``hours``, ``files``, ``bytes`` (an estimate where ``bytes_of`` is less
        than ``files``), ``figures`` (one dict each: ``column``, ``rows``, ``null``, ``min``, ``median``, ``mean``,
        ``max``, ``edges`` [bins + 1] and ``counts`` [bins]; NaN and infinity count as null) and ``values`` (``column``,
        ``null`` and ``counts`` by value, most first).
    """
    pinned = pin(root, str(catalog))
    table = table_of(root, pinned.name, version=pinned.version)
    where = condition(pinned)
    figures, words = _columns(table.schema)
    with asking({"rows": table}, _MEMORY) as ask:
        told = ask(_summary_sql(figures, words, where)).to_arrow_table().to_pylist()[0]
        # Apart: beside it DuckDB sets the rows of all columns aside, which takes twice as long.
        sources = ask(f"SELECT count(DISTINCT source_sha256) FROM rows{where}").fetchall()[0][0]
        ranges = {name: (told[f"min{n}"], told[f"max{n}"]) for n, name in enumerate(figures) if told[f"c{n}"]}
        few = [
            name for n, name in enumerate(words) if 0 < told[f"d{n}"] <= _FEW * 1.2
        ]  # the count is approximate
        spread = ask(_spread_sql(figures, ranges, few, where, bins)).to_arrow_table().to_pylist()[0]
    return {
        "catalog": str(pinned),
        "samples": told["samples"],
        "sources": sources,
        "hours": (told["avg0"] or 0.0) * told["c0"] / 3600,
        **(_sizes(root, table, where) if sizes else {}),
        "figures": [
            {
                "column": name,
                "rows": told[f"c{n}"],
                "null": told["samples"] - told[f"c{n}"],
                "min": told[f"min{n}"],
                "median": told[f"med{n}"],
                "mean": told[f"avg{n}"],
                "max": told[f"max{n}"],
                "edges": _edges(*ranges[name], bins),
                "counts": _counts(spread[name], bins),
            }
            for n, name in enumerate(figures)
            if name in ranges
        ],
        "values": [
            {"column": name, "null": told["samples"] - sum(counts.values()), "counts": counts}
            for name in few
            if len(counts := _values(spread[name])) <= _FEW
        ],
    }


def _columns(schema: pa.Schema) -> tuple[dict[str, str], list[str]]:
    """SQL of each figure by name, and the text columns whose values are worth counting: common ones, then its own."""
    figures = {"seconds": _SECONDS, **{name: name for name in _FIGURES if name in schema.names}}
    words = [name for name in _WORDS if name in schema.names]
    for field in schema:
        if field.name in SAMPLES.names:
            continue
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            figures[field.name] = quoted(field.name)
        elif pa.types.is_string(field.type):
            words.append(field.name)
    return figures, words


def _summary_sql(figures: dict[str, str], words: Sequence[str], where: str) -> str:
    asked = ["count(*) AS samples"]
    finite = [f"CASE WHEN isfinite(CAST({sql} AS DOUBLE)) THEN {sql} END" for sql in figures.values()]
    named = "".join(f", {sql} AS figure{n}" for n, sql in enumerate(finite))
    for n in range(len(finite)):
        asked += [f"count(figure{n}) AS c{n}", f"approx_quantile(figure{n}, 0.5) AS med{n}"]
        asked += [f"{what}(figure{n}) AS {what}{n}" for what in ("min", "avg", "max")]
    asked += [f"approx_count_distinct({quoted(name)}) AS d{n}" for n, name in enumerate(words)]
    return f"SELECT {', '.join(asked)} FROM (SELECT *{named} FROM rows{where})"


def _spread_sql(
    figures: dict[str, str],
    ranges: dict[str, tuple[float, float]],
    few: Sequence[str],
    where: str,
    bins: int,
) -> str:
    """How many rows fall into each bin or have each value: a list of (bin or value, rows) per column."""
    asked = ["count(*) AS rows"]
    for name, (low, high) in ranges.items():
        sql = f"CAST({figures[name]} AS DOUBLE)"
        # The greatest value falls into the last bin, NaN and infinity into none.
        number = f"TRY_CAST(floor(({sql} - {low!r}) * {_scale(low, high, bins)!r}) AS INTEGER)"
        place = f"CASE WHEN isfinite({sql}) THEN least({bins - 1}, {number}) END"
        asked.append(f"map_entries(histogram({place})) AS {quoted(name)}")
    asked += [f"map_entries(histogram({quoted(name)})) AS {quoted(name)}" for name in few]
    return f"SELECT {', '.join(asked)} FROM rows{where}"


def _scale(low: float, high: float, bins: int) -> float:
    width = high - low
    return bins / width if width > 0 and math.isfinite(bins / width) else 0.0


def _edges(low: float, high: float, bins: int) -> list[float]:
    return [low + (high - low) * n / bins for n in range(bins + 1)]


def _counts(entries: Sequence[dict[str, int]], bins: int) -> list[int]:
    counts = [0] * bins
    for entry in entries:
        counts[entry["key"]] += entry["value"]
    return counts


def _values(entries: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Most first."""
    counts = {entry["key"]: entry["value"] for entry in entries}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _sizes(root: Root, table: Table, where: str) -> dict[str, Any]:
    """How many files the rows have and their bytes; of very many files the bytes are told from a spread of them."""
    named = " UNION ALL ".join(f"SELECT {column} AS path FROM chosen" for column in MEDIA)
    chosen = f"WITH chosen AS (SELECT {', '.join(MEDIA)}, signals FROM rows{where}), files AS (" + (
        f"SELECT DISTINCT path FROM ({named} UNION ALL "
        "SELECT unnest([s.path for s in signals]) FROM chosen) WHERE path IS NOT NULL)"
    )
    # The least hashes are an even spread of the files, and the same ones every time.
    sql = f"{chosen} SELECT count(*) AS n, min_by(path, md5(path), {_MEASURED}) AS few FROM files"
    found = run_sql(table, sql).to_pylist()[0]
    with ThreadPoolExecutor(32) as pool:
        sizes = [size for size in pool.map(lambda path: _size(root, path), found["few"] or [])]
    mean = sum(sizes) / len(sizes) if sizes else 0.0
    return {"files": found["n"], "bytes": round(mean * found["n"]), "bytes_of": len(sizes)}


def _size(root: Root, path: str) -> int:
    """Bytes of a file; 0 where there is none, which `validate` tells."""
    try:
        return int(root.filesystem.get_file_info(root.path(path)).size or 0)
    except UnsafePath:
        return 0
