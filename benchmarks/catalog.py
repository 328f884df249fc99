"""A catalog of a million rows: open, count, by ID, filter, statistics, each beside DuckDB alone over the same Parquet
files; and what a thousand versions cost.

python -m benchmarks.catalog [--rows 1000000] [--versions 1 100 1000]

Turn by turn in one process. Ours is asked first and again, when this process has its database already; DuckDB with a
connection for the question, and with one that is kept. It gets the list of files for nothing: ours reads Delta's log
for it, every time.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.million import make
from catalogs import scan, store
from catalogs.ids import CatalogID
from catalogs.query import run_sql, sample, select, table_of
from catalogs.root import Root
from catalogs.schema import ENCODINGS, SAMPLES
from catalogs.stats import stats
from catalogs.store import Table
from catalogs.summary import count

WORK = Path("bench/million")
SIZE, TIMES = 64, 9
WHERE = "quality > 0.9 AND motion < 0.05"
LISTED = ("sample_id", "caption", "quality", "motion", "timeline", "source_uri")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--versions", type=int, nargs="*", default=[1, 100, 1000])
    parser.add_argument("--only", choices=["rows", "memory", "versions"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only == "versions":
        versions(given.versions)
        return
    root = Root.open(str(WORK / str(given.rows)), create=True)
    if not root.exists("catalogs/canny/samples/_delta_log"):
        make(root, given.rows)
    if given.only:
        {"rows": rows, "memory": memory}[given.only](root)
        return
    for part in ("rows", "memory", "versions"):  # each in a process of its own
        line = [sys.executable, "-m", "benchmarks.catalog", "--rows", str(given.rows), "--only", part]
        subprocess.run([*line, "--versions", *map(str, given.versions)], check=True)


def ours(root: Root) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    view, filtered = CatalogID(name="canny"), CatalogID.parse(f"canny?{WHERE}")
    return {
        "open": lambda: table_of(root, "canny").schema,
        "count": lambda: count(root, view),
        "count, filtered": lambda: count(root, filtered),
        "by ID": lambda: sample(root, _first(root.uri), "canny"),
        "filtered first page": lambda: select(root, filtered, LISTED, limit=SIZE),
        "statistics": lambda: stats(root, view, sizes=False),
    }


def rows(root: Root) -> None:
    """The table of times and ratios."""
    import duckdb

    from benchmarks.serve import _statistics

    files = [root.path(f"catalogs/canny/samples/{file}") for file in table_of(root, "canny").files()]
    source, acts = f"read_parquet({files!r})", ours(root)
    one = sample(root, table_of(root, "canny").dataset().head(1)["sample_id"][0].as_py(), "canny")[1][
        "sample_id"
    ]
    theirs = {
        "open": [f"DESCRIBE SELECT * FROM {source}"],
        "count": [f"SELECT count(*) FROM {source}"],
        "count, filtered": [f"SELECT count(*) FROM {source} WHERE {WHERE}"],
        "by ID": [f"SELECT * FROM {source} WHERE sample_id = '{one}'"],
        "filtered first page": [
            f"SELECT {', '.join(LISTED)} FROM {source} WHERE {WHERE} ORDER BY sample_id, unit_id LIMIT {SIZE}"
        ],
        "statistics": _statistics(source),
    }

    def ask(name: str, connection: duckdb.DuckDBPyConnection) -> None:
        for sql in theirs[name]:
            connection.sql(sql).fetchall()

    def alone(name: str) -> None:
        with duckdb.connect() as connection:
            ask(name, connection)

    print(f"{count(root, CatalogID(name='canny')):,} rows in {len(files)} files; ms, and ratios")
    heads = ("first", "again", "DuckDB", "kept", "first/DuckDB", "again/DuckDB", "again/kept")
    print(" " * 20 + "".join(f"{head:>14}" for head in heads))
    with duckdb.connect() as held:
        held.execute("SET parquet_metadata_cache = true")
        for name, act in acts.items():
            times = []
            for _ in range(TIMES):
                scan._kept.clear()
                turns = (act, act, functools.partial(alone, name), functools.partial(ask, name, held))
                times.append([_seconds(turn) * 1000 for turn in turns])
            first, again, fresh, kept = (statistics.median(side) for side in zip(*times, strict=True))
            ratios = (first / fresh, again / fresh, again / kept)
            told = [f"{each:14.1f}" for each in (first, again, fresh, kept)]
            print(f"{name:20}" + "".join([*told, *(f"{each:14.2f}" for each in ratios)]))


def memory(root: Root) -> None:
    """The peak of a process that does one of them once, imports included."""
    for name in ours(root):
        line = (
            "import sys; from pathlib import Path; from catalogs.root import Root; from benchmarks import catalog; "
            "catalog.ours(Root.open(sys.argv[1]))[sys.argv[2]](); "
            "print(next(l for l in Path('/proc/self/status').read_text().splitlines() if l.startswith('VmHWM')))"
        )
        told = subprocess.run(
            [sys.executable, "-c", line, root.uri, name], check=True, capture_output=True, text=True
        )
        print(f"{name:22}{int(told.stdout.split()[1]) / 1024:7.0f} MiB at most")


@functools.cache
def _first(uri: str) -> str:
    """Some sample's ID."""
    root = Root.open(uri)
    return str(run_sql(table_of(root, "canny"), "SELECT sample_id FROM rows LIMIT 1")["sample_id"][0].as_py())


def versions(counts: list[int]) -> None:
    """Tables of so many commits of one row: with small files made one, and without."""
    for name, schema, key in (
        ("samples", SAMPLES, ("sample_id", "unit_id")),
        ("encodings", ENCODINGS, ("encoding_id",)),
    ):
        head = f"{name + ': versions':22}{'files':>7}{'open':>9}{'count':>9}{'by ID':>9}{'keys':>9}{'an append':>11}"
        print(head)
        for merged in (True, False):
            store._SMALL_FILES = 64 if merged else 10**9
            for number in counts:
                _versions(name, schema, key, number, "made one" if merged else "as committed")


def _versions(name: str, schema: pa.Schema, key: tuple[str, ...], number: int, how: str) -> None:
    place = WORK / "versions"
    shutil.rmtree(place, ignore_errors=True)
    root = Root.open(str(place), create=True)
    table = Table.open(root, f"catalogs/many/{name}", key=key, create=schema)

    def append(n: int) -> float:
        return _seconds(lambda: table.append_new([dict.fromkeys(key, f"{n:040}")], {"run_id": "r"}))

    each = [append(n) for n in range(number)]

    def opened() -> Table:
        return Table.open(root, f"catalogs/many/{name}", key=key, known=schema)

    def by_id() -> None:
        assert run_sql(opened(), f"SELECT * FROM rows WHERE {key[0]} = '{0:040}'").num_rows == 1

    asked = [opened, lambda: opened().count(), by_id, lambda: opened().keys()]
    told = [statistics.median(_seconds(act) for _ in range(TIMES)) * 1000 for act in asked]
    last = statistics.median(each[-20:]) * 1000
    shown = "".join(f"{each:6.1f} ms" for each in told)
    print(f"{f'{number} {how}':22}{len(opened().files()):7}{shown}{last:8.1f} ms")
    shutil.rmtree(place)


def _seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
