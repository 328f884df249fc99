"""One step's parts: the loss of a batch, and what is said when a step cannot be made."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from catalogs.errors import TrainingError
from training import checkpoint
from training.data import Batch
from training.forward import predict
from training.noise import add_noise, sample_sigma, velocity
from training.parallel import everyones
from training.tokens import Streams

T = TypeVar("T")


def batch_loss(
    transformer: Any, batch: Batch, random: torch.Generator, device: Any, dtype: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The masked loss: mean squared error of the velocity over target tokens; references have no part in it.

    Args:
        transformer: Backbone with adapter.
        batch: What `data.read_batch` gave.
        random: CPU generator for sigma and noise.
        device: Of the transformer.
        dtype: For the prompt's embeddings.

    Returns:
        Loss [B] (streams summed), with gradient, and sigma [B] on the CPU.
    """
    given = {"video": batch.canvases.video, "audio": batch.canvases.audio}
    used = {name: canvas for name, canvas in given.items() if canvas is not None}
    sigma = sample_sigma(len(batch.sample_ids), next(iter(used.values())).target.shape[1], random)
    level = _sent(sigma, device)
    canvases, noised, wanted = {}, {}, {}
    for name, canvas in used.items():
        noise = _sent(torch.randn(canvas.target.shape, generator=random), device)
        canvases[name] = _all_sent(canvas, device)
        noised[name] = add_noise(canvases[name].target, noise, level)
        wanted[name] = velocity(canvases[name].target, noise)
    prompt = _all_sent(batch.prompt, device).to(device, dtype)
    predicted = predict(transformer, Streams(**canvases), Streams(**noised), level, prompt)
    losses = [
        (getattr(predicted, name).float() - target).square().flatten(1).mean(dim=1)
        for name, target in wanted.items()
    ]
    return torch.stack(losses).sum(dim=0), sigma


def check_finite(figures: Sequence[float], losses: Mapping[str, float], step: int, out: Path) -> None:
    """Stop a run whose loss or gradient is not a number any more.

    Args:
        figures: The same in all processes: mean loss, gradient norm.
        losses: This process's, by sample.
        step: Its number, from 1.
        out: The run's folder, for the message.

    Raises:
        TrainingError: In every process, with the same message.
    """
    if all(map(math.isfinite, figures)):
        return
    every = dict(item for losses in everyones(losses) for item in losses.items())
    wrong = [name for name, loss in every.items() if not math.isfinite(loss)] or list(every)
    kept = checkpoint.everyone(out)
    last = f"the last good checkpoint is {kept[-1]}; " if kept else ""
    raise TrainingError(
        f"the loss of step {step} is not finite (samples {', '.join(wrong)})",
        f"{last}start again with a lower --lr and another --out",
    )


@contextlib.contextmanager
def memory_errors(batch: Batch) -> Iterator[None]:
    """Say what to change when the GPU's memory is full, as TrainingError."""
    canvases = [canvas for canvas in (batch.canvases.video, batch.canvases.audio) if canvas is not None]
    tokens = sum(canvas.target.shape[1] + canvas.reference.shape[1] for canvas in canvases)
    with full_gpu(
        f"with {tokens} tokens a sample (targets and references) and {len(batch.sample_ids)} samples a batch",
        "what helps: --batch-size 1 (and --grad-accum), --low-memory, or clips of a lower resolution or fewer "
        "frames; the last checkpoint is whole",
    ):
        yield


@contextlib.contextmanager
def full_gpu(doing: str, hint: str) -> Iterator[None]:
    """Turn a full GPU into a TrainingError that says what it was `doing` and what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"out of memory on the GPU {doing}", hint) from error


def _sent(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    """The tensor on the device; to a GPU by way of pinned memory, so that its queue is not waited for."""
    if torch.device(device).type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _all_sent(value: T, device: Any) -> T:
    """The same for all tensors of a dataclass."""
    tensors = {
        field.name: _sent(tensor, device)
        for field in dataclasses.fields(value)  # type: ignore[arg-type]
        if isinstance(tensor := getattr(value, field.name), torch.Tensor)
    }
    return dataclasses.replace(value, **tensors)  # type: ignore[type-var]
