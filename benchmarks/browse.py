"""Browsing a million rows: first page, pages, sort and memory, beside DuckDB alone over the same Parquet files.

python -m benchmarks.browse [--rows 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.million import make
from catalogs.root import Root

WORK = Path("bench/million")
SIZE = 64
WHERE = "quality > 0.9 AND motion < 0.05"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["app", "pages"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    root = WORK / str(given.rows)
    if given.only:
        print({"app": app, "pages": pages}[given.only](Root.open(str(root))))
        return
    if not root.is_dir():
        make(Root.open(str(root), create=True), given.rows)
    for part in ("app", "pages"):  # each in a process of its own, for its memory
        line = [sys.executable, "-m", "benchmarks.browse", "--rows", str(given.rows), "--only", part]
        print(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def app(root: Root) -> str:
    """The application, headless at 80x24."""
    began = time.perf_counter()
    from catalogs.browse.app import Browse
    from catalogs.browse.grid import Grid
    from catalogs.ids import CatalogID

    imports = time.perf_counter() - began
    told = {}

    async def until(ready: Callable[[], Any]) -> float:
        start = time.perf_counter()
        while not ready():
            await asyncio.sleep(0.001)
        return time.perf_counter() - start

    async def play() -> None:
        browse = Browse(root, CatalogID(name="canny"))
        start = time.perf_counter()
        async with browse.run_test(size=(80, 24)) as pilot:
            await until(lambda: browse.screen.query(Grid) and browse.screen.query_one(Grid).row)
            grid = browse.screen.query_one(Grid)
            _lines(grid)
            told["first page"] = time.perf_counter() - start
            await until(lambda: grid.pages.ready)
            told["every page at hand"] = time.perf_counter() - start
            for name, jump in (("page after page", None), ("far jumps", random.Random(0))):
                times = []
                for _ in range(200):
                    at = time.perf_counter()
                    grid._to(jump.randrange(grid.count)) if jump else grid.action_page(1)
                    _lines(grid)
                    times.append(time.perf_counter() - at)
                    await pilot.pause()
                told[f"{name}, median"], told[f"{name}, worst"] = statistics.median(times), max(times)
            for column in ("quality", "caption", "sharpness"):
                browse.screen._resort(column, True)
                waited = await until(lambda column=column: grid.pages.sort == column)
                told[f"sorted by {column}"] = waited

    asyncio.run(play())
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    lines = [f"{name}: {seconds * 1000:.1f} ms" for name, seconds in {"imports": imports, **told}.items()]
    return "\n".join(["browse canny, 80x24", *lines, f"peak memory: {int(peak.split()[1]) / 1024:.0f} MiB"])


def _lines(grid: Any) -> None:
    for y in range(grid.size.height):
        grid.render_line(y)


def pages(root: Root) -> str:
    """Pages against DuckDB's own reader in one run, turn by turn."""
    import duckdb

    from catalogs.browse.pages import LISTED, Pages
    from catalogs.ids import CatalogID
    from catalogs.query import table_of
    from catalogs.summary import count

    files = [root.path(f"catalogs/canny/samples/{file}") for file in table_of(root, "canny").dataset().files]
    rows, columns = f"read_parquet({files!r})", ", ".join(LISTED)
    total = count(root, CatalogID(name="canny"))

    def alone(sql: str) -> Any:
        with duckdb.connect() as connection:
            return connection.sql(sql).fetchall()

    ready = Pages(root, "canny")
    ready.prepare()
    ordered = ready.sorted_by("quality")
    ordered.prepare()
    far = total // 2
    cases: list[tuple[str, Callable[[], Any], str]] = [
        (
            "open and first page",
            lambda: Pages(root, "canny").page(0, SIZE),
            f"SELECT {columns} FROM {rows} LIMIT {SIZE}",
        ),
        (
            "open and first page, filtered",
            lambda: Pages(root, f"canny?{WHERE}").page(0, SIZE),
            f"SELECT {columns} FROM {rows} WHERE {WHERE} LIMIT {SIZE}",
        ),
        ("count", lambda: Pages(root, "canny").count(), f"SELECT count(*) FROM {rows}"),
        (
            "count, filtered",
            lambda: Pages(root, f"canny?{WHERE}").count(),
            f"SELECT count(*) FROM {rows} WHERE {WHERE}",
        ),
        (
            "open, sort, first page",
            lambda: Pages(root, "canny", "quality").page(0, SIZE),
            f"SELECT {columns} FROM {rows} ORDER BY quality LIMIT {SIZE}",
        ),
        (
            "sort again, a page in the middle",
            lambda: ready.sorted_by("quality").page(far, SIZE),
            f"SELECT {columns} FROM {rows} ORDER BY quality LIMIT {SIZE} OFFSET {far}",
        ),
        (
            "a page in the middle, as stored",
            lambda: ready.page(far, SIZE),
            f"SELECT {columns} FROM {rows} LIMIT {SIZE} OFFSET {far}",
        ),
        (
            "a page in the middle, sorted",
            lambda: ordered.page(far, SIZE),
            f"SELECT {columns} FROM {rows} ORDER BY quality LIMIT {SIZE} OFFSET {far}",
        ),
    ]
    lines = [f"{'':34}{'ours':>10}{'DuckDB':>10}{'ratio':>8}"]
    for name, ours, sql in cases:
        times: list[list[float]] = [[], []]
        for _ in range(7):
            for kept, act in zip(times, (ours, lambda sql=sql: alone(sql)), strict=True):
                at = time.perf_counter()
                act()
                kept.append(time.perf_counter() - at)
        here, there = (statistics.median(kept) * 1000 for kept in times)
        lines.append(f"{name:34}{here:7.1f} ms{there:7.1f} ms{here / there:8.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
