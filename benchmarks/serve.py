"""`avcontrol catalog serve` at a million rows: what its page asks for over HTTP, against DuckDB over the same files.

python benchmarks/million.py ROOT && python benchmarks/serve.py ROOT
"""

from __future__ import annotations

import http.client
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.web.server import Server
from catalogs.web.site import LISTED

SIZE, WHERE, TIMES = 60, "quality > 0.9 AND source_license = 'CC0-1.0'", 5
# What the statistics panel shows, asked in one go.
_FIGURES = ("quality", "motion", "brightness", "sharpness", "av_offset_ms", "expected_error", "edge_density")
_WORDS = ("modality", "streams", "timeline", "caption_source", "estimator", "source_license", "decoder")


def main() -> None:
    root = Root.open(sys.argv[1])
    table = table_of(root, "canny")
    rows = f"read_parquet({[root.path(f'{table.name}/{file}') for file in table.files()]!r})"
    listed = ", ".join(name for name in LISTED if name in table.schema.names)
    middle = (table.count() or 0) // 2
    one = duckdb.sql(f"SELECT sample_id FROM {rows} LIMIT 1 OFFSET {middle}").fetchall()[0][0]
    page = f"SELECT {listed} FROM {rows}"
    cases: list[tuple[str, str, dict[str, Any], list[str]]] = [
        (
            "first page",
            "page",
            {"start": 0},
            [f"{page} LIMIT {SIZE}", f"SELECT count(*) FROM {rows}"],
        ),
        (
            "first page, filtered",
            "page",
            {"where": WHERE},
            [f"{page} WHERE {WHERE} LIMIT {SIZE}", f"SELECT count(*) FROM {rows} WHERE {WHERE}"],
        ),
        (
            "page in the middle",
            "page",
            {"start": middle},
            [f"{page} LIMIT {SIZE} OFFSET {middle}", f"SELECT count(*) FROM {rows}"],
        ),
        (
            "page in the middle, sorted",
            "page",
            {"start": middle, "sort": "quality"},
            [f"{page} ORDER BY quality LIMIT {SIZE} OFFSET {middle}", f"SELECT count(*) FROM {rows}"],
        ),
        ("statistics", "stats", {}, _statistics(rows)),
        ("one sample", "sample", {"sample": one}, [f"SELECT * FROM {rows} WHERE sample_id = '{one}'"]),
    ]
    print(f"{'':28}{'first':>9}{'again':>10}{'DuckDB':>10}{'first/DuckDB':>14}{'again/DuckDB':>14}")
    for name, what, asked, queries in cases:
        path = f"/api/{what}?{urlencode({'id': f'canny@{table.version}', 'size': SIZE, **asked})}"
        times: tuple[list[float], list[float], list[float]] = ([], [], [])
        for _ in range(TIMES):
            with Server(root, "canny") as server:  # a fresh one has nothing at hand
                threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
                get = _getter(server, path)
                times[0].append(_seconds(get))
                while any(not pages.ready for pages in server.site._pages.values()):
                    time.sleep(0.1)  # what it prepares meanwhile
                times[1].append(_seconds(get))
                server.shutdown()
            times[2].append(_seconds(lambda queries=queries: _alone(queries)))
        first, again, theirs = (statistics.median(each) for each in times)
        print(
            f"{name:28}{first * 1000:6.0f} ms{again * 1000:7.0f} ms{theirs * 1000:7.0f} ms"
            f"{first / theirs:14.2f}{again / theirs:14.2f}"
        )
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(f"peak memory, DuckDB's own included: {int(peak.split()[1]) / 1024:.0f} MiB")


def _getter(server: Server, path: str) -> Callable[[], None]:
    def get() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        connection.close()

    return get


def _statistics(rows: str) -> list[str]:
    asked = [f"min({c}), max({c}), avg({c}), approx_quantile({c}, 0.5), count({c})" for c in _FIGURES]
    asked += [f"approx_count_distinct({c})" for c in _WORDS]
    few = [f"histogram({c})" for c in _WORDS] + [f"histogram(floor({c} * 24))" for c in _FIGURES]
    return [
        f"SELECT count(*), count(DISTINCT source_sha256), {', '.join(asked)} FROM {rows}",
        f"SELECT {', '.join(few)} FROM {rows}",
    ]


def _alone(queries: list[str]) -> None:
    with duckdb.connect() as connection:
        for query in queries:
            connection.sql(query).fetchall()


def _seconds(act: Callable[[], None]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
