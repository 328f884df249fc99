"""A catalog as large as wanted with made-up rows: the schema of samples, plausible figures, several Parquet files.

python benchmarks/million.py ROOT [ROWS]
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import TICKS_PER_SECOND, samples_schema

SCHEMA = samples_schema(pa.schema([("edge_density", pa.float64())]))
ROWS_A_FILE = 125_000
CLIPS_A_SOURCE = 8
_WHO = (
    "a dancer",
    "a cyclist",
    "two children",
    "an old man",
    "a dog",
    "waves",
    "a tram",
    "a crowd",
    "a violinist",
)
_WHAT = (
    "crosses the square",
    "turns towards the camera",
    "waits",
    "runs along the shore",
    "plays",
    "slows down",
)
_WHEN = ("at dawn", "in the rain", "under neon lights", "in fog", "on a summer evening", "before the storm")


def make(root: Root, rows: int, name: str = "canny", seed: int = 0) -> None:
    """Write a catalog ``name`` of ``rows`` samples, one commit and one Parquet file per 125,000.

    Equal arguments give equal rows. Samples come in the order of their sources, as a build commits them; their IDs
    are hashes and hence in no order.
    """
    table = table_of(root, name, create=SCHEMA)
    rng = np.random.default_rng(seed)
    for start in range(0, rows, ROWS_A_FILE):
        run_id = f"run{start // ROWS_A_FILE}"
        write_deltalake(
            root.table_uri(table.name),
            _rows(start, min(ROWS_A_FILE, rows - start), run_id, rng),
            mode="append",
            commit_properties=CommitProperties(custom_metadata={"run_id": run_id, "program": "build"}),
        )


def _rows(start: int, count: int, run_id: str, rng: np.random.Generator) -> pa.Table:
    number = np.arange(start, start + count)
    source, clip = number // CLIPS_A_SOURCE, number % CLIPS_A_SOURCE
    media = [_hashes(rng, count) for _ in range(3)]
    ticks = TICKS_PER_SECOND * 49 // 24
    same = {
        "modality": "canny",
        "caption_source": "sidecar",
        "width": 768,
        "height": 448,
        "frames": 49,
        "fps_num": 24,
        "fps_den": 1,
        "reference_downscale": 1,
        "steps": 3000,
        "timeline": "768x448x49@24/1",
        "estimator": "opencv-canny",
        "estimator_weights": "",
        "params": '{"blur":1.4,"high":200,"low":100,"thickness":1}',
        "code_version": "1.1",
        "seed": 0,
        "estimator_license": "Apache-2.0",
        "commercial_ok": True,
        "decoder": "pyav",
        "decoder_reason": "default",
        "made_with": '{"opencv":"4.12"}',
        "run_id": run_id,
        "schema_version": 1,
    }
    each = {
        "sample_id": _hashes(rng, count),
        "caption": [
            f"{_WHO[a]} {_WHAT[b]} {_WHEN[c]}, clip {n}"
            for n, a, b, c in zip(
                number, *(rng.integers(0, len(w), count) for w in (_WHO, _WHAT, _WHEN)), strict=True
            )
        ],
        "video": [f"media/{h[:2]}/{h}.mp4" for h in media[0]],
        "reference_video": [f"media/{h[:2]}/{h}.mp4" for h in media[1]],
        "source_sha256": [f"{n:064x}" for n in source],
        "span_start": clip * ticks,
        "span_end": (clip + 1) * ticks,
        "source_uri": [f"s3://bucket/clips/{n // 1000:03}/{n:07}.mp4" for n in source],
        "source_license": rng.choice(["CC-BY-4.0", "CC0-1.0", "Pexels"], count),
        "source_attribution": [f"author {n % 997}" for n in source],
        "quality": rng.beta(5, 2, count),
        "motion": rng.gamma(2.0, 0.05, count),
        "brightness": rng.beta(3, 3, count),
        "sharpness": rng.beta(2, 4, count),
        "unit_id": media[2],
        "edge_density": rng.beta(2, 10, count),
    }
    columns = []
    for field in SCHEMA:
        if field.name in each:
            columns.append(pa.array(each[field.name], field.type))
        elif field.name in same:
            columns.append(pa.repeat(pa.scalar(same[field.name], field.type), count))
        else:
            columns.append(pa.nulls(count, field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _hashes(rng: np.random.Generator, count: int) -> list[str]:
    digits = rng.bytes(20 * count).hex()
    return [digits[n : n + 40] for n in range(0, len(digits), 40)]


if __name__ == "__main__":
    make(Root.open(sys.argv[1], create=True), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
