"""The trainer's loader on a catalog of many rows against a small one: opening, memory, finding a batch, waiting.

    python benchmarks/loader.py [--rows 1000000] [--small 10000] [--batches 2000]

Catalogs and encodings are made up (unique captions and paths, three shapes); only the batches that are read have
files. Every size has a process of its own; "first" opens with an empty cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import torch
from deltalake import write_deltalake
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import ENCODINGS, samples_schema
from catalogs.store import Table
from training import backbone, data

SHAPES = ([16, 2, 3, 2], [16, 2, 2, 3], [16, 4, 3, 2])
READ, STEP_S = 40, 0.05  # batches really read, and how long a step takes meanwhile


def make(root: Root, count: int) -> None:
    """A catalog `made` of `count` rows, and their encodings."""
    path = backbone.locate("test")
    encoder = {kind: backbone.encoder_hash(path, kind) for kind in ("video", "text")}
    shape = (
        f"CASE WHEN i % 10 < 6 THEN '{SHAPES[0]}' WHEN i % 10 < 9 THEN '{SHAPES[1]}' ELSE '{SHAPES[2]}' END"
    )
    inputs = {  # of row i
        "video": "'media/' || left(md5('v' || i), 2) || '/' || sha256('v' || i) || '.mp4'",
        "reference_video": "'media/' || left(md5('r' || i), 2) || '/' || sha256('r' || i) || '.mp4'",
        "caption": "'someone walks past wall number ' || i || ' on a rainy evening, seen from a low camera'",
    }
    kinds = {
        "video": ("video", shape),
        "reference_video": ("video", shape),
        "caption": ("text", "'[128, 16]'"),
    }
    encodings = " UNION ALL ".join(
        f"SELECT sha256('{column}' || i) AS encoding_id, '{kind}' AS kind, {inputs[column]} AS input, "
        f"'{encoder[kind]}' AS encoder, 'test' AS backbone, {size} AS shape, 'float32' AS dtype, 'made' AS run_id, "
        f"'latents/' || left(md5('{column}' || i), 2) || '/' || sha256('{column}' || i) || '.safetensors' AS path "
        f"FROM range({count}) t(i)"
        for column, (kind, size) in kinds.items()
    )
    rows = (
        "SELECT sha256('s' || i) AS sample_id, 'canny' AS modality, 'unit' AS unit_id, 'video' AS streams, "
        "24::INTEGER AS fps_num, 1::INTEGER AS fps_den, 1::INTEGER AS reference_downscale, 3000::INTEGER AS steps, "
        f"{', '.join(f'{source} AS {column}' for column, source in inputs.items())} FROM range({count}) t(i)"
    )
    table_of(root, "made", create=samples_schema())
    Table.open(root, "encodings", key=("encoding_id",), create=ENCODINGS)
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        for name, sql in (("catalogs/made/samples", rows), ("encodings", encodings)):
            reader = connection.sql(sql).to_arrow_reader(100_000)
            write_deltalake(root.table_uri(name), reader, mode="append", schema_mode="merge")


def measure(uri: str, batches: int) -> dict[str, float]:
    """Open the catalog of a root and find batches; run twice for the first and the second opening."""
    root, path = Root.open(uri), backbone.locate("test")
    backbone.encoder_hash(path, "audio"), torch.zeros(1)
    before = _memory("RssAnon")
    began = time.perf_counter()
    with _peak() as peak:
        dataset = data.load(root, "made", path, backbone="test")
        opened = time.perf_counter() - began
    began = time.perf_counter()
    for number in range(batches):
        [dataset.examples[index] for index in data.batch_indices(dataset.examples, 4, 0, number)]
    found = (time.perf_counter() - began) / batches
    return {
        "opening_s": opened,
        "address_us": found * 1e6,
        "held_mib": _memory("RssAnon") - before,
        "mapped_mib": _memory("RssFile"),
        "peak_mib": max(peak) - before,
        **(waiting(dataset) if os.environ.get("SECOND") else {}),
    }


def waiting(dataset: data.Dataset) -> dict[str, float]:
    """Milliseconds a step waits for its batch, read when it is wanted and read ahead."""
    for number in range(READ):
        for index in data.batch_indices(dataset.examples, 4, 0, number):
            example = dataset.examples[index]
            for column, relative in example.latents.items():
                _write(dataset.root, relative, {"latents": torch.randn(*example.shapes[column])})
            prompt = {"video": torch.randn(128, 16), "audio": torch.randn(128, 16), "mask": torch.ones(128)}
            _write(dataset.root, example.prompt, prompt)
    waited = {}
    for name, batches in (
        ("wait_ms", (next(data.read_ahead(dataset, [n], batch_size=4, seed=0)) for n in range(READ))),
        ("ahead_ms", data.read_ahead(dataset, range(READ), batch_size=4, seed=0)),
    ):
        waits = []
        for _ in range(READ):
            began = time.perf_counter()
            next(batches)
            waits.append(time.perf_counter() - began)
            time.sleep(STEP_S)
        waited[name] = sum(waits[1:]) / (READ - 1) * 1e3
    return waited


@contextlib.contextmanager
def _peak() -> Iterator[list[float]]:
    """Anonymous memory every few milliseconds: what a mapped file holds can be given back, this cannot."""
    seen, done = [_memory("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(_memory("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _write(root: Root, relative: str, tensors: dict[str, torch.Tensor]) -> None:
    file = Path(root.path(relative))
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)


def _memory(name: str) -> float:
    """A figure of /proc/self/status, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.batches)))
        return
    results: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in (options.small, options.rows):
            root = Root.open(f"{folder}/{rows}", create=True)
            make(root, rows)
            for which in ("first", "second"):
                own = {
                    "AVCONTROL_CACHE": f"{folder}/{rows}/cache",
                    **({"SECOND": "1"} if which == "second" else {}),
                }
                command = [sys.executable, __file__, "--measure", root.uri, "--batches", str(options.batches)]
                done = subprocess.run(
                    command, env={**os.environ, **own}, check=True, capture_output=True, text=True
                )
                for name, value in json.loads(done.stdout.splitlines()[-1]).items():
                    results[f"{which} {name}", rows] = value
    print(f"| | {options.small:,} rows | {options.rows:,} rows | ratio |\n|---|---|---|---|")
    for name, label in {
        "first opening_s": "first opening, s",
        "second opening_s": "second opening, s",
        "first peak_mib": "peak of memory in the first opening beyond the program's own, MiB",
        "second held_mib": "memory held in training beyond the program's own, MiB",
        "second mapped_mib": "pages of files mapped, MiB",
        "second address_us": "finding the samples of a batch of 4, us",
        "second wait_ms": f"waiting for a batch, steps of {STEP_S * 1e3:.0f} ms, ms",
        "second ahead_ms": "the same, read ahead, ms",
    }.items():
        small, large = results[name, options.small], results[name, options.rows]
        print(f"| {label} | {small:.3g} | {large:.3g} | {large / small:.2g} |")


if __name__ == "__main__":
    main()
