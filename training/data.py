"""From a catalog ID to batches of what was encoded beforehand.

Opening a catalog ID joins its samples with their encodings into an index file in the user's cache
(:mod:`training.index`), once; what a run holds in memory does not grow with the catalog. Which samples a batch
holds is a function of (seed, number of the batch) alone (:mod:`training.order`), so a run resumes at any batch with
no other state.

Batches are numbered over the whole run and for all its processes together: of the batches ``range(first, end)``,
the process `rank` of `world` takes ``range(first, end)[rank::world]``. Their order is the same for any `world`.
"""

from __future__ import annotations

import itertools
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from catalogs.errors import BrokenCatalog, TrainingError
from catalogs.ids import CatalogID
from catalogs.query import pin
from catalogs.root import Root
from training import order
from training.adapter import read_safetensors
from training.index import Example, Examples
from training.join import opened
from training.tokens import Prompt, Streams, audio_canvas, video_canvas


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
        examples: The samples, in the order of their IDs; each is read when it is asked for.
    """

    root: Root
    catalog: CatalogID
    manifest: str
    modality: str
    streams: str
    references: tuple[str, ...]
    scale: int
    steps: int | None
    examples: Examples


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one forward pass reads: a canvas for each trained stream, and the prompts."""

    sample_ids: Sequence[str]
    canvases: Streams
    prompt: Prompt


def load(
    root: Root, catalog: str | CatalogID, path: Path, *, backbone: str, streams: str = "auto"
) -> Dataset:
    """Open a catalog's samples and their encodings: at once, where that was done before for the same ID.

    Args:
        root: Where the catalog lies.
        catalog: Its ID; pinned to the newest version if it names none.
        path: The located backbone, whose weights identify the encodings.
        backbone: Its name, for the hint.
        streams: auto, video, audio or joint. Auto is what the rows' `streams` column says; where it is missing
            or null, joint for who_is_talking and else the streams that have a reference.

    Raises:
        TrainingError: No samples, media columns missing, mixed canvas scales or streams, encodings missing or
            made by another backbone, or latents that the transformer does not take.
    """
    pinned = pin(root, str(catalog))
    examples = opened(root, pinned, path, backbone, streams)
    about = examples.about
    return Dataset(
        root=root,
        catalog=pinned,
        manifest=examples.manifest,
        modality=about["modality"] or pinned.name,
        streams=about["streams"],
        references=tuple(about["references"]),
        scale=about["scale"],
        steps=about["steps"],
        examples=examples,
    )


def batches_per_epoch(examples: Examples, batch_size: int) -> int:
    """Batches of one pass over the samples; the last of each bucket may be smaller."""
    return order.batches_per_epoch(examples.sizes, batch_size)


def batch_indices(examples: Examples, batch_size: int, seed: int, number: int) -> list[int]:
    """Which samples the run's batch `number` (from 0) holds: all of one bucket, in a new shuffle every epoch."""
    bucket, positions = order.batch(examples.sizes, batch_size, seed, number)
    return [examples.row(bucket, position) for position in positions]


def read_ahead(
    dataset: Dataset, numbers: Iterable[int], *, batch_size: int, seed: int, depth: int = 4
) -> Iterator[Batch]:
    """Read batches by number, in order, while earlier ones are used.

    Close it (or let it end) to stop the readers; what they have begun is finished first.

    Args:
        dataset: From `load`.
        numbers: Of the batches; for one process of many ``range(first, end)[rank::world]``.
        batch_size: Samples of a batch.
        seed: Of the run.
        depth: Batches read at once by as many threads, and so held at most beside the one in use.

    Raises:
        TrainingError: As `read_batch` does, when the batch's turn comes.
    """

    def read(number: int) -> Batch:
        chosen = batch_indices(dataset.examples, batch_size, seed, number)
        return read_batch(dataset, [dataset.examples[index] for index in chosen])

    todo = iter(numbers)
    pool = ThreadPoolExecutor(depth, thread_name_prefix="reader")
    try:
        reading = deque(pool.submit(read, number) for number in itertools.islice(todo, depth))
        while reading:
            batch = reading.popleft().result()
            reading.extend(pool.submit(read, number) for number in itertools.islice(todo, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def read_batch(dataset: Dataset, examples: Sequence[Example]) -> Batch:
    """Read samples of one bucket. From object storage they are streamed and not kept: latents fill any disk.

    Raises:
        TrainingError: The samples are of several buckets; or latents are missing, broken, of another shape than
            was recorded, or not finite. The message names the sample.
    """
    first = examples[0]
    for example in examples:
        if (example.shapes, example.fps) != (first.shapes, first.fps):
            raise TrainingError(
                f"samples {first.sample_id} ({dict(first.shapes)}, {first.fps} fps) and {example.sample_id} "
                f"({dict(example.shapes)}, {example.fps} fps) do not fit one batch",
                "take those of one bucket, as `batch_indices` does",
            )
    latents = {
        column: torch.stack([_latents(dataset, example, column) for example in examples])
        for column in first.latents
    }
    prompts = [_finite(dataset, example, "prompt", example.prompt) for example in examples]
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


def _latents(dataset: Dataset, example: Example, column: str) -> torch.Tensor:
    latents = _finite(dataset, example, f"{column} latents", example.latents[column])["latents"].float()
    if list(latents.shape) != list(example.shapes[column]):
        raise TrainingError(
            f"the {column} latents of sample {example.sample_id} have the shape {list(latents.shape)}, not "
            f"{example.shapes[column]} as was recorded",
            _repair(dataset),
        )
    return latents


def _finite(dataset: Dataset, example: Example, what: str, relative: str) -> dict[str, torch.Tensor]:
    tensors = _read(dataset, example, what, relative)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise TrainingError(
            f"the {what} of sample {example.sample_id} are not finite",
            f"{_repair(dataset)}, or leave it out with a WHERE in the catalog ID",
        )
    return tensors


def _read(dataset: Dataset, example: Example, what: str, relative: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    root = dataset.root
    try:
        if root.folder is not None:
            return read_safetensors(root.local(relative))[0]
        with root.filesystem.open_input_stream(root.path(relative)) as stream:
            tensors: dict[str, torch.Tensor] = parse(stream.read())
            return tensors
    except (BrokenCatalog, FileNotFoundError):
        wrong = "no file"
    except (TrainingError, SafetensorError):
        wrong = "a broken file"
    raise TrainingError(
        f"the {what} of sample {example.sample_id}: {wrong} at {relative} under {root.uri}", _repair(dataset)
    )


def _repair(dataset: Dataset) -> str:
    words = shlex.join(["avcontrol", "encode", str(dataset.catalog), "--root", dataset.root.uri])
    return f"{words} --backbone … --repair makes what is broken again"
