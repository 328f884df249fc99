"""From a catalog ID to batches of what was encoded beforehand.

Which samples a batch holds is a function of (seed, number of the batch) alone, so a run resumes at any batch
with no other state. A batch never mixes shapes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as pads
import torch

from catalogs.errors import CatalogNotFound, TrainingError
from catalogs.ids import CatalogID
from catalogs.query import manifest_hash, pin, select, table_of
from catalogs.root import Root
from catalogs.store import Table
from training.adapter import read_safetensors
from training.backbone import encoder_hash, encoding_id
from training.tokens import Prompt, Streams, audio_canvas, video_canvas

MEDIA = {  # media columns of each stream: target, reference
    "video": ("video", "reference_video"),
    "audio": ("audio", "reference_audio"),
}
_COLUMNS = ("sample_id", "modality", "caption", "video", "reference_video", "audio", "reference_audio",
            "fps_num", "fps_den", "reference_downscale")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample, encoded.

    Attributes:
        sample_id: Of the catalog's row.
        caption: Its prompt.
        media: Media path by column, relative to the root.
        latents: Latents' path by column, for the columns that are trained on.
        prompt: Path of the prompt's embeddings.
        fps: Frames a second.
        scale: s, where the reference is drawn at 1/s.
        bucket: Equal for samples that fit one batch.
    """

    sample_id: str
    caption: str
    media: Mapping[str, str]
    latents: Mapping[str, str]
    prompt: str
    fps: float
    scale: int
    bucket: Hashable


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The samples of a pinned catalog ID and what they have in common.

    Attributes:
        root: Where the catalog lies.
        catalog: Its ID, pinned to a version.
        manifest: Hash of the samples' IDs.
        modality: The control.
        streams: What is trained: video, audio or joint.
        references: The streams that have a reference.
        scale: s, where the reference is drawn at 1/s.
        steps: What the catalog says the control needs.
        examples: The samples.
    """

    root: Root
    catalog: CatalogID
    manifest: str
    modality: str
    streams: str
    references: tuple[str, ...]
    scale: int
    steps: int | None
    examples: Sequence[Example]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one forward pass reads: a canvas for each trained stream, and the prompts."""

    sample_ids: Sequence[str]
    canvases: Streams
    prompt: Prompt


def load(
    root: Root, catalog: str | CatalogID, path: Path, *, backbone: str, streams: str = "auto"
) -> Dataset:
    """Look up a catalog's samples and their encodings.

    Args:
        root: Where the catalog lies.
        catalog: Its ID; pinned to the newest version if it names none.
        path: The located backbone, whose weights identify the encodings.
        backbone: Its name, for the hint.
        streams: auto, video, audio or joint. Auto is what the rows' `streams` column says; where it is missing
            or null, joint for who_is_talking and else the streams that have a reference.

    Raises:
        TrainingError: No samples, media columns missing, mixed canvas scales or streams, or encodings missing.
    """
    pinned = pin(root, str(catalog))
    present = table_of(root, pinned.name, version=pinned.version).schema.names
    wanted = [name for name in (*_COLUMNS, "steps", "streams") if name in present]
    rows = select(root, pinned, columns=wanted).to_pylist()
    if not rows:
        raise TrainingError(f"{pinned} selects no samples", "avcontrol catalog show lists what there is")
    if streams == "auto":
        streams = _streams_of(rows, pinned)
    kinds = ("video", "audio") if streams == "joint" else (streams,)
    trained = _trained_columns(rows, kinds, streams)

    scales = sorted({int(row["reference_downscale"] or 1) for row in rows})
    if len(scales) > 1:
        raise TrainingError(
            f"{pinned} mixes canvas scales {scales}",
            f"select one: '{pinned.name}?reference_downscale={scales[0]}'",
        )
    found = _encodings(root, {kind: encoder_hash(path, kind) for kind in (*kinds, "text")})
    missing = {key for row in rows for key in _needed(row, trained)} - found.keys()
    if missing:
        raise TrainingError(
            f"{len(missing)} encodings of {pinned} are missing",
            f"python -m pipelines encode '{pinned}' --root {root.uri} --backbone {backbone}",
        )
    return Dataset(
        root=root,
        catalog=pinned,
        manifest=manifest_hash(row["sample_id"] for row in rows),
        modality=rows[0]["modality"] or pinned.name,
        streams=streams,
        references=tuple(kind for kind in kinds if MEDIA[kind][1] in trained),
        scale=scales[0],
        steps=rows[0].get("steps"),
        examples=[_example(row, trained, found) for row in rows],
    )


def batches_per_epoch(examples: Sequence[Example], batch_size: int) -> int:
    """Batches of one pass over the samples; the last of each bucket may be smaller."""
    sizes: dict[Hashable, int] = {}
    for example in examples:
        sizes[example.bucket] = sizes.get(example.bucket, 0) + 1
    return sum(-(-size // batch_size) for size in sizes.values())


def batch_indices(examples: Sequence[Example], batch_size: int, seed: int, number: int) -> list[int]:
    """Which samples the run's batch `number` (from 0) holds: a new shuffle every epoch."""
    epoch, index = divmod(number, batches_per_epoch(examples, batch_size))
    buckets = tuple(example.bucket for example in examples)
    return _epoch(buckets, batch_size, seed, epoch)[index]


@functools.lru_cache(maxsize=2)
def _epoch(buckets: tuple[Hashable, ...], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    random = np.random.default_rng([seed, epoch])
    by_bucket: dict[Hashable, list[int]] = {}
    for index in random.permutation(len(buckets)).tolist():
        by_bucket.setdefault(buckets[index], []).append(index)
    batches = [
        indices[start : start + batch_size]
        for indices in by_bucket.values()
        for start in range(0, len(indices), batch_size)
    ]
    return [batches[index] for index in random.permutation(len(batches)).tolist()]


def read_batch(dataset: Dataset, examples: Sequence[Example]) -> Batch:
    """Read samples of one bucket.

    Raises:
        TrainingError: Latents are broken or not finite; the message names the sample.
    """
    first = examples[0]
    latents = {
        column: torch.stack([_latents(dataset.root, example, column) for example in examples])
        for column in first.latents
    }
    prompts = [read_safetensors(dataset.root.local(example.prompt))[0] for example in examples]
    video = audio = None
    if "video" in latents:
        reference = latents.get("reference_video")
        video = video_canvas(latents["video"], reference, fps=first.fps, scale=first.scale)
    if "audio" in latents:
        audio = audio_canvas(latents["audio"], latents.get("reference_audio"))
    return Batch(
        sample_ids=[example.sample_id for example in examples],
        canvases=Streams(video=video, audio=audio),
        prompt=Prompt(**{key: torch.stack([prompt[key] for prompt in prompts]) for key in prompts[0]}),
    )


def _latents(root: Root, example: Example, column: str) -> torch.Tensor:
    latents = read_safetensors(root.local(example.latents[column]))[0]["latents"].float()
    if not torch.isfinite(latents).all():
        raise TrainingError(
            f"the {column} latents of sample {example.sample_id} are not finite",
            "leave it out with a WHERE in the catalog ID, or encode it again in fp32",
        )
    return latents


def _streams_of(rows: Sequence[Mapping[str, Any]], catalog: CatalogID) -> str:
    """What `auto` trains, by what every row says of itself."""
    found = {row.get("streams") or _streams_of_row(row) for row in rows}
    if "" in found:
        raise TrainingError(f"{catalog} has samples without a pair of a target and its reference")
    if len(found) > 1:
        raise TrainingError(
            f"{catalog} mixes samples for {' and '.join(sorted(found))}",
            "give --streams, or select one kind, e.g. '…?reference_audio is null'",
        )
    return str(found.pop())


def _streams_of_row(row: Mapping[str, Any]) -> str:
    """For rows older than the `streams` column."""
    if row["modality"] == "who_is_talking":  # its reference is video alone
        return "joint"
    kinds = [kind for kind, (target, reference) in MEDIA.items() if row[target] and row[reference]]
    return "joint" if len(kinds) == 2 else "".join(kinds)


def _trained_columns(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str], streams: str) -> dict[str, str]:
    """The media columns to read, with their kind; a joint run may have a stream without a reference."""
    trained = {}
    for kind in kinds:
        target, reference = MEDIA[kind]
        trained[target] = kind
        if rows[0][reference] or streams != "joint":
            trained[reference] = kind
    for row in rows:
        for column in trained:
            if not row[column]:
                raise TrainingError(
                    f"sample {row['sample_id']} has no {column}, which training {streams} needs",
                    f"select samples that do: '…?{column} is not null', or choose other --streams",
                )
    return trained


def _needed(row: Mapping[str, Any], trained: Mapping[str, str]) -> list[tuple[str, str]]:
    media = [(kind, row[column]) for column, kind in trained.items()]
    return [*media, ("text", row["caption"] or "")]


def _encodings(root: Root, encoders: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, str]]:
    """(path, shape) by (kind, input), of these encoders."""
    try:
        table = Table.open(root, "encodings", key=("encoding_id",))
    except CatalogNotFound:
        return {}
    chosen = pads.field("encoder").isin(list(encoders.values()))
    rows = table.read(["encoding_id", "kind", "input", "encoder", "path", "shape"], where=chosen).to_pylist()
    return {
        (row["kind"], row["input"]): (row["path"], row["shape"])
        for row in rows
        if row["encoding_id"] == encoding_id(row["kind"], row["input"], encoders.get(row["kind"], ""))
    }


def _example(
    row: Mapping[str, Any], trained: Mapping[str, str], found: Mapping[tuple[str, str], tuple[str, str]]
) -> Example:
    stored = {column: found[kind, row[column]] for column, kind in trained.items()}
    prompt, prompt_shape = found["text", row["caption"] or ""]
    fps = row["fps_num"] / row["fps_den"] if row["fps_num"] else 0.0
    shapes = {column: shape for column, (_, shape) in stored.items()}
    return Example(
        sample_id=row["sample_id"],
        caption=row["caption"] or "",
        media={column: row[column] for pair in MEDIA.values() for column in pair if row[column]},
        latents={column: path for column, (path, _) in stored.items()},
        prompt=prompt,
        fps=fps,
        scale=int(row["reference_downscale"] or 1),
        bucket=json.dumps([shapes, prompt_shape, fps], sort_keys=True),
    )
