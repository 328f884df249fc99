"""A build of a finished catalog of 100,000 rows: how long until it says that nothing is to do.

python benchmarks/rebuild.py [--rows 100000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import LEDGER, SOURCES, samples_schema
from catalogs.store import Table
from pipelines.commit import ledger_id
from pipelines.identity import digest
from pipelines.plan import load_recipe, make_plan
from pipelines.sources import list_sources
from pipelines.timeline import Timeline

WORK = Path("bench/rebuild")
ROWS_A_SOURCE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    shutil.rmtree(WORK, ignore_errors=True)
    folder = WORK / "clips"
    for index in range(rows // ROWS_A_SOURCE):
        if index % 1000 == 0:
            (folder / f"{index // 1000:03}").mkdir(parents=True)
        (folder / f"{index // 1000:03}" / f"{index:06}.mp4").write_bytes(b"x")
    finished(folder, rows)
    began = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-m", "pipelines", "canny", "--input", str(folder), "--root", str(WORK / "root")],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    count = sum(1 for place in os.scandir(folder) for file in os.scandir(place) if file.stat().st_size)
    listing = time.perf_counter() - began
    print(said.stdout.strip().splitlines()[-1])
    print(
        f"{rows} rows of {count} sources: {seconds:.2f} s in all, interpreter and imports included (goal 5 s); "
        f"a bare listing of the folder with sizes: {listing:.2f} s"
    )


def finished(folder: Path, rows: int) -> None:
    """A root as a finished build leaves it, with made-up rows."""
    timeline = Timeline.parse()
    recipe = load_recipe("canny", {}, timeline)[2]
    root = Root.open(str(WORK / "root"), create=True)
    sources = list_sources(str(folder))
    scanned = [
        {
            "source_id": source.id,
            "source_uri": source.uri,
            "size": source.size,
            "mtime_ns": source.mtime_ns,
            "sha256": digest(uri=source.uri),
            "ticks": ROWS_A_SOURCE * timeline.ticks,
        }
        for source in sources
    ]
    Table.open(root, "sources", key=("source_id",), create=SOURCES).append_new(
        scanned, {"run_id": "synthetic"}
    )
    units = make_plan(
        sources,
        {row["source_id"]: {**row, "reason": None, "message": None} for row in scanned},
        recipe,
    )
    table_of(root, "canny", "ledger", create=LEDGER).append_new(
        [
            {
                "ledger_id": ledger_id(unit.source.uri, unit.id),
                "unit_id": unit.id,
                "source_uri": unit.source.uri,
                "timeline": recipe.timeline,
                "samples": ROWS_A_SOURCE,
                "rejects": 0,
            }
            for unit in units
        ],
        {"run_id": "synthetic"},
    )
    table_of(root, "canny", create=samples_schema()).append_new(
        [
            {
                "sample_id": digest(unit=unit.id, index=index),
                "unit_id": unit.id,
                "modality": "canny",
                "quality": 0.5,
            }
            for unit in units
            for index in range(ROWS_A_SOURCE)
        ][:rows],
        {"run_id": "synthetic"},
    )


if __name__ == "__main__":
    main()
