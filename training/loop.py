"""The training loop.

For each step: read a batch of latents, add noise to the target, let the frozen backbone with the adapter
predict the velocity across target and reference, compare on the target alone, step AdamW.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalogs.errors import ConfigError, TrainingError
from catalogs.ids import CatalogID
from catalogs.query import pin
from catalogs.root import Root, storage_errors
from training import (
    adapter,
    backbone,
    checkpoint,
    data,
    forward,
    header,
    memory,
    model_card,
    parallel,
    prepare,
)
from training.config import DEFAULT_STEPS, TrainConfig
from training.step import batch_loss, check_finite, full_gpu, memory_errors
from training.validate import validate, validated

_SIGMA_BINS = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a finished step reports.

    Attributes:
        step: Finished steps.
        steps: Of the run.
        loss: Mean over the step's samples, those of all GPUs.
        grad_norm: Before clipping.
        lr: Learning rate of the step.
        seconds: Wall time of the step.
    """

    step: int
    steps: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float


def train(config: TrainConfig, report: Callable[[Progress], None] | None = None) -> Path:
    """Train an adapter from a catalog: in this process, or on several GPUs in workers of their own.

    Args:
        config: The run.
        report: Called after every step.

    Returns:
        The adapter file, `OUT/adapter.safetensors`.

    Raises:
        ConfigError: Several GPUs, and a device that is one.
        TrainingError: Missing encodings, a run in the way, a loss that is not finite, a full disk or GPU.
        CatalogNotFound: No such catalog.
        EstimatorUnavailable: The backbone is not here.
    """
    if config.gpus > 1 and config.device.startswith("cuda:"):  # a worker is told its own
        raise ConfigError(f"--gpus {config.gpus} and --device {config.device}", "leave --device out")
    config = settled(config)
    if config.gpus == 1:
        return work(config, report)
    from training import cluster

    return cluster.train(config, report)


def settled(config: TrainConfig) -> TrainConfig:
    """The configuration with the catalog's version pinned; a resumed run stays on the one it began with.

    Raises:
        TrainingError: Another run lies in the output folder.
    """
    with storage_errors(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    asked, found = CatalogID.parse(config.catalog), checkpoint.everyone(config.out)
    if found and not config.resume:
        raise TrainingError(f"{config.out} holds a run already", "--resume goes on with it, or another --out")
    if found:
        before = CatalogID.parse(checkpoint.read(found[-1])["run"]["catalog"])
        same = (before.name, before.where) == (asked.name, asked.where)
        if same and asked.version in (None, before.version) and asked.reviews is None:
            asked = before
    return dataclasses.replace(config, catalog=str(pin(Root.open(config.root), str(asked))))


def work(config: TrainConfig, report: Callable[[Progress], None] | None = None) -> Path:
    """One process's share of a run: all of it, or a rank's where torch.distributed is set up.

    Args:
        config: What `settled` gave.
        report: Called after every step in the first process.

    Returns:
        The adapter file, which the first process writes, as it does all others.
    """
    rank, world = parallel.ranks()
    parallel.check_shared(config.out)
    device, dtype = backbone.placement(config.device, config.dtype)
    path = backbone.locate(config.backbone)
    dataset = data.load(
        Root.open(config.root), config.catalog, path, backbone=config.backbone, streams=config.streams
    )
    steps = config.steps or dataset.steps or DEFAULT_STEPS
    run = _identity(config, dataset, path, str(dtype))
    with full_gpu("with the weights alone", "--low-memory, or --gpus N with --shard always"):
        transformer, parameters, spread = _model(config, path, dataset.streams, device, dtype)
    gradients = parallel.Gradients(parameters.values())
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=config.lr, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    fits = None
    if config.recompute == "auto" and device.type == "cuda" and not spread and not config.low_memory:
        fits = memory.Fits(forward.adopt(transformer), device, optimizer)
    found = checkpoint.everyone(config.out)
    start = checkpoint.restore(found[-1], parameters, optimizer, run) if found else 0
    if start > steps:
        raise TrainingError(
            f"{config.out} is at step {start} already, beyond --steps {steps}", "give more steps"
        )

    writer: Any = _writer(config, start) if rank == 0 else None
    metadata = header.header(config, dataset, run["backbone"], steps) if rank == 0 else {}

    def due(step: int, every: int) -> bool:
        return every > 0 and (step == steps or step % every == 0)

    def sample(step: int) -> None:
        if rank == 0 or spread:
            with storage_errors(config.out):
                validate(config, dataset, transformer, path, step, writer)

    lost = due(start, config.validate_every) and start and not validated(config, dataset, start)
    if any(parallel.everyones(bool(lost))):  # it was killed between a checkpoint and its samples
        with full_gpu("while making validation samples", "--validate-every 0 leaves them out"):
            sample(start)
    passes = config.grad_accum * world
    numbers = range(start * passes, steps * passes)[rank::world]
    reading: Any = data.read_ahead(dataset, numbers, batch_size=config.batch_size, seed=config.seed)
    with contextlib.closing(reading):
        batches = zip(numbers, reading, strict=True)
        for step in range(start + 1, steps + 1):
            began = time.perf_counter()
            lr = config.lr * min(1.0, step / max(1, config.warmup))
            for group in optimizer.param_groups:
                group["lr"] = lr
            losses: list[torch.Tensor] = []
            sigmas: list[float] = []
            sample_ids: list[str] = []
            for number, batch in itertools.islice(batches, config.grad_accum):
                random = torch.Generator().manual_seed(_mix(config.seed, number))
                with memory_errors(batch):
                    if fits is not None:
                        fits(batch, functools.partial(_trial, transformer, batch, device, dtype, gradients))
                    loss, sigma = batch_loss(transformer, batch, random, device, dtype)
                    (loss.mean() / config.grad_accum).backward()
                gradients.count(loss)
                losses.append(loss.detach())
                sigmas += sigma.tolist()
                sample_ids += batch.sample_ids
            mean = gradients.average()
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
            with memory_errors(batch):
                optimizer.step()
            gradients.zero()
            # The step's one wait for the GPU; what is not finite has spoiled the adapter, but no checkpoint yet.
            figures = torch.cat([mean[None], norm[None], *losses]).tolist()
            check_finite(figures[:2], dict(zip(sample_ids, figures[2:], strict=True)), step, config.out)

            if rank == 0:
                done = Progress(
                    step=step, steps=steps, loss=figures[0], grad_norm=figures[1], lr=lr,
                    seconds=time.perf_counter() - began,
                )  # fmt: skip
                with storage_errors(config.out):
                    _log(writer, done, figures[2:], sigmas)
                if report is not None:
                    report(done)
                if due(step, config.checkpoint_every):
                    checkpoint.save(
                        config.out, step, parameters, optimizer, scale=config.alpha / config.rank, run=run,
                        metadata={**metadata, "steps": str(step)}, keep=config.keep_checkpoints,
                    )  # fmt: skip
            if due(step, config.validate_every):
                with memory_errors(batch):
                    sample(step)
    final = config.out / "adapter.safetensors"
    if rank == 0:
        writer.close()
        adapter.save(final, parameters, scale=config.alpha / config.rank, metadata=metadata)
        model_card.write(config.out, metadata)
    return final


def _model(
    config: TrainConfig, path: Path, streams: str, device: torch.device, dtype: torch.dtype
) -> tuple[Any, dict[str, torch.nn.Parameter], bool]:
    """The frozen transformer with a fresh adapter, the adapter's parameters, and whether it is spread over GPUs."""
    transformer = backbone.component(path, "transformer", dtype)
    forward.keep(transformer, streams)
    parameters = adapter.add(
        transformer, streams=streams, rank=config.rank, alpha=config.alpha, seed=config.seed
    )
    eight = config.fp8 or config.low_memory
    spread = not eight and parallel.spreads(config.shard, transformer, device)
    for block in forward.adopt(transformer):
        block.recompute = spread or config.recompute == "all"
    if spread:
        parallel.spread(transformer, parameters.values(), device)
    else:
        prepare.place(transformer, device, weights=_weights(config, device, dtype))
        if config.compile == "yes" or (config.compile == "auto" and device.type == "cuda"):
            prepare.fast(transformer)
    return transformer, parameters, spread


def _trial(
    transformer: Any, batch: data.Batch, device: Any, dtype: Any, gradients: parallel.Gradients
) -> None:
    """A forward and backward pass that leaves nothing behind, for its memory."""
    kept = gradients.flat.clone()
    try:
        batch_loss(transformer, batch, torch.Generator().manual_seed(0), device, dtype)[0].mean().backward()
    finally:  # also of one that ran out of memory half way
        gradients.flat.copy_(kept)


def _weights(config: TrainConfig, device: torch.device, dtype: torch.dtype) -> prepare.Weights:
    if config.low_memory:
        return "small"
    if config.fp8 and (dtype != torch.bfloat16 or not prepare.has_fp8(device)):
        raise ConfigError("--fp8 needs bf16 on a GPU that multiplies in fp8 (RTX 40, L4, H100 or newer)")
    return "fp8" if config.fp8 else "full"


def _identity(config: TrainConfig, dataset: data.Dataset, path: Path, dtype: str) -> dict[str, Any]:
    """What must not change when a run is resumed. The number of GPUs may, if a step's batches stay the same."""
    fixed = (
        "batch_size", "lr", "warmup", "weight_decay", "clip_norm", "rank", "alpha", "seed", "fp8", "low_memory",
    )  # fmt: skip
    return {
        "catalog": str(dataset.catalog),
        "manifest": dataset.manifest,
        "streams": dataset.streams,
        "backbone": backbone.weights_hash(path, "transformer"),
        "dtype": dtype,
        "grad_accum*gpus": config.grad_accum * parallel.ranks()[1],
        **{name: getattr(config, name) for name in fixed},
    }


def _mix(seed: int, number: int) -> int:
    """One 64-bit seed from the run's seed and the number of a batch."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _writer(config: TrainConfig, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(config.out / "logs"), purge_step=start + 1)


def _log(writer: Any, done: Progress, losses: list[float], sigmas: list[float]) -> None:
    writer.add_scalar("loss", done.loss, done.step)
    writer.add_scalar("grad_norm", done.grad_norm, done.step)
    writer.add_scalar("lr", done.lr, done.step)
    writer.add_scalar("seconds_per_step", done.seconds, done.step)
    for loss, sigma in zip(losses, sigmas, strict=True):
        low = min(int(sigma * _SIGMA_BINS), _SIGMA_BINS - 1) / _SIGMA_BINS
        writer.add_scalar(f"loss_by_sigma/{low:.2f}", loss, done.step)
