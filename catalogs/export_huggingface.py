"""A Hugging Face dataset: for every split a folder of media beside ``metadata.parquet``, and a card, ``README.md``.

The layout is that of ``datasets``' VideoFolder and AudioFolder ("Create a video dataset",
https://huggingface.co/docs/datasets/video_dataset): columns that end in ``_file_name`` hold paths from the metadata and
are read as media. One such builder reads one kind, so beside pictures the paths of sounds are text: ``audio_path``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.carry import whole
from catalogs.dataset_card import Tally, card
from catalogs.describe import MEDIA
from catalogs.export import Part

CAN = ("copy", "link")
_BATCH = 4096


def write(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write splits and card; see :func:`catalogs.export.export`."""
    tally, told = Tally(), []
    for part in parts:
        told.append(_write(part, tally))
    with whole(parts[0].out / "README.md") as file:
        samples = {each["split"]: each["samples"] for each in told}
        origin = "\n    ".join(str(part.view) for part in parts)
        part = parts[0]
        file.write(card(part.view.name, origin, samples, _columns(part), part.schema, tally).encode())
    return told


def _split_name(part: Part) -> str:
    return "train" if part.name == "all" else part.name


def _columns(part: Part) -> dict[str, str]:
    """What each media column is called: those of the kind that the dataset's builder reads end in ``_file_name``."""
    pictures = any(name.endswith("video") for name in part.media)
    return {
        name: f"{name}_file_name" if name.endswith("video") or not pictures else f"{name}_path"
        for name in part.media
    }


def _write(part: Part, tally: Tally) -> dict[str, Any]:
    folder, named = part.out / _split_name(part), _columns(part)
    own = [one for one in part.schema if one.name not in MEDIA]
    schema = pa.schema([*(pa.field(name, pa.string()) for name in named.values()), *own])
    samples, rows = 0, part.carried(folder)
    with (
        whole(folder / "metadata.parquet") as sink,
        pq.ParquetWriter(sink, schema, compression="zstd") as writer,
    ):
        while batch := list(itertools.islice(rows, _BATCH)):
            for row, _ in batch:
                tally.add(row)
            said = [{**row, **{named[name]: path for name, path in files.items()}} for row, files in batch]
            writer.write_table(pa.Table.from_pylist(said, schema=schema))
            samples += len(batch)
    return {"split": _split_name(part), "samples": samples, "files": f"{_split_name(part)}/metadata.parquet"}
