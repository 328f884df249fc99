"""What 100 million samples on 1,000 nodes ask of one catalog: committers in each other's way, keys in memory, logs.

python benchmarks/hundred_million.py [--latency 0.05] [--seconds 15]

Committers are threads that append to one real Delta table on the local disk as builds do (`Table.append_new`), with an
object store's latency before each look at the log and each put. docs/design/0012-hundred-million.md has what follows.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from catalogs import store
from catalogs.root import Root
from catalogs.store import Table

PLACE = Path("bench/hundred-million")
SCHEMA = pa.schema([("sample_id", pa.string()), ("unit_id", pa.string())])
KEY = ("sample_id", "unit_id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of a listing or a put")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each race")
    parser.add_argument("--committers", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32])
    given = parser.parse_args()
    print(f"{'committers':>10}{'commits/s':>11}{'tries each':>12}{'median':>9}{'slowest':>9}")
    for count in given.committers:
        race(count, given.latency, given.seconds)
    keys()
    for files in (1_000, 10_000, 100_000):
        log(files)
    shutil.rmtree(PLACE, ignore_errors=True)


def race(count: int, latency: float, seconds: float) -> None:
    """Appends of so many committers to one table: what gets through, and how often each tries."""
    shutil.rmtree(PLACE, ignore_errors=True)
    root = Root.open(str(PLACE), create=True)
    Table.open(root, "t", key=KEY, create=SCHEMA)
    tries, took = [0], list[float]()
    put, look, lock = write_deltalake, Table.refresh, threading.Lock()

    def slow_put(*args: Any, **more: Any) -> None:
        with lock:
            tries[0] += 1
        time.sleep(latency)  # the data file
        time.sleep(latency)  # the entry
        put(*args, **more)

    def slow_look(table: Table) -> None:
        time.sleep(latency)
        look(table)

    def work(number: int) -> None:
        table, n = Table.open(root, "t", key=KEY), 0
        table.overlook()
        while time.perf_counter() < end:
            began = time.perf_counter()
            table.append_new([{"sample_id": f"{number}-{n}", "unit_id": "u"}], {"run_id": str(number)})
            took.append(time.perf_counter() - began)
            n += 1

    store.write_deltalake, Table.refresh = slow_put, slow_look  # type: ignore
    begun = time.perf_counter()
    end = begun + seconds
    try:
        workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        store.write_deltalake, Table.refresh = put, look  # type: ignore
    lasted, ordered = time.perf_counter() - begun, sorted(took)
    assert Table.open(root, "t", key=KEY).count() == len(took)
    print(
        f"{count:10}{len(took) / lasted:11.2f}{tries[0] / len(took):12.1f}"
        f"{ordered[len(took) // 2]:7.2f} s{ordered[-1]:7.2f} s"
    )


def keys(rows: int = 1_000_000) -> None:
    """What `Table.keys` holds: tuples of two hashes of 40 digits, as memory and as Arrow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = {(f"{n:040x}", f"{n // 8:040x}") for n in range(rows)}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"keys in memory: {grown / len(held):.0f} bytes each as tuples in a set; 32 as two 128-bit numbers")


def log(files: int) -> None:
    """Opening a table of so many files from one checkpoint."""
    shutil.rmtree(PLACE, ignore_errors=True)
    table = DeltaTable.create(str(PLACE), SCHEMA, raise_if_key_not_exists=False)
    bounds = {name: f"{7:040x}" for name in SCHEMA.names}
    stats = {
        "numRecords": 512,
        "minValues": bounds,
        "maxValues": bounds,
        "nullCount": dict.fromkeys(bounds, 0),
    }
    adds = [
        AddAction(
            f"part-{n:036}-c000.snappy.parquet", 150_000, {}, 1_700_000_000_000, True, json.dumps(stats)
        )
        for n in range(files)
    ]
    table.create_write_transaction(adds, "append", SCHEMA)
    table = DeltaTable(str(PLACE))
    table.create_checkpoint()
    size = max(PLACE.glob("_delta_log/*.checkpoint.parquet")).stat().st_size
    began = time.perf_counter()
    opened = DeltaTable(str(PLACE))
    took = time.perf_counter() - began
    began = time.perf_counter()
    paths = pa.table(opened.get_add_actions())["path"]
    listed = time.perf_counter() - began
    print(
        f"{files:,} files: a checkpoint of {size / 1e6:.2f} MB, opened in {took * 1000:.0f} ms, "
        f"its {len(paths):,} files listed in {listed * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
