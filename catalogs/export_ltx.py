"""ltx-trainer's tables: ``dataset.jsonl`` and ``dataset.csv`` (or ``train`` and ``validation``) beside their media.

The names of columns are those that the trainer's documentation lists (Dataset Preparation, "Convention-Based Column
Detection", https://docs.ltx.video): ``caption``, ``video``, ``audio``, ``reference_video``, ``reference_audio``, with
paths from the table's folder. Columns of other names are no business of its; ours say size, rate, canvas scale,
licence and origin.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from catalogs.carry import whole
from catalogs.describe import Row, fps
from catalogs.export import LICENCES, Part, row_of

CAN = ("copy", "link", "reference")
_SHAPE = ("width", "height", "frames", "fps", "sample_rate", "audio_samples", "reference_downscale")
_ABOUT = ("sample_id", "modality", "source_uri", *LICENCES)


def write(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write the tables; see :func:`catalogs.export.export`."""
    return [_write(part) for part in parts]


def _write(part: Part) -> dict[str, Any]:
    stem, samples = "dataset" if part.name == "all" else part.name, 0
    columns = [
        "caption",
        *part.media,
        *_SHAPE,
        *_ABOUT,
        *(["review"] if "review" in part.schema.names else []),
    ]
    with whole(part.out / f"{stem}.csv") as table, whole(part.out / f"{stem}.jsonl") as lines:
        text = io.TextIOWrapper(table, encoding="utf-8", newline="", write_through=True)
        writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row, files in part.carried(part.out):
            said = _said(row, files)
            writer.writerow(said)
            kept = {name: said[name] for name in columns if name in said}
            lines.write((json.dumps(kept, ensure_ascii=False) + "\n").encode())
            samples += 1
        text.detach()
    return {"split": part.name, "samples": samples, "files": f"{stem}.jsonl, {stem}.csv"}


def _said(row: Row, files: dict[str, str]) -> dict[str, Any]:
    rate = {"fps": str(fps(row))} if row["frames"] else {}
    return {**row_of(row), **rate, "caption": row["caption"] or "", **files}
