"""The training loop.

For each step: read a batch of latents, add noise to the target, let the frozen backbone with the adapter
predict the velocity across target and reference, compare on the target alone, step AdamW.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalogs.errors import TrainingError
from catalogs.ids import CatalogID
from catalogs.root import Root, storage_errors
from training import adapter, backbone, checkpoint, data, idle
from training.config import DEFAULT_STEPS, TrainConfig, as_strings
from training.noise import add_noise, sample_sigma, velocity
from training.tokens import Streams, predict
from training.validate import validate

_SIGMA_BINS = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a finished step reports.

    Attributes:
        step: Finished steps.
        steps: Of the run.
        loss: Mean over the step's samples.
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
    """Train an adapter from a catalog.

    Args:
        config: The run.
        report: Called after every step.

    Returns:
        The adapter file, `OUT/adapter.safetensors`.

    Raises:
        TrainingError: Missing encodings, a run in the way, a loss that is not finite, a full disk.
        CatalogNotFound: No such catalog.
        EstimatorUnavailable: The backbone is not here.
    """
    from torch.utils.tensorboard import SummaryWriter

    with storage_errors(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    device, dtype = backbone.placement(config.device, config.dtype)
    path = backbone.locate(config.backbone)
    dataset = data.load(
        Root.open(config.root), _catalog(config), path, backbone=config.backbone, streams=config.streams
    )
    steps = config.steps or dataset.steps or DEFAULT_STEPS
    run = _identity(config, dataset, path, str(dtype))
    metadata = _metadata(config, dataset, run)

    transformer = backbone.component(path, "transformer", dtype)
    idle.drop(transformer, dataset.streams)
    transformer = transformer.to(device)
    parameters = adapter.add(
        transformer, streams=dataset.streams, rank=config.rank, alpha=config.alpha, seed=config.seed
    )
    if config.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=config.lr, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    start = 0
    if config.resume and (newest := checkpoint.everyone(config.out)):
        start = checkpoint.restore(newest[-1], parameters, optimizer, run)

    def save(step: int) -> Path:
        return checkpoint.save(
            config.out, step, parameters, optimizer,
            scale=config.alpha / config.rank, run=run, metadata=metadata, keep=config.keep_checkpoints,
        )  # fmt: skip

    writer = SummaryWriter(str(config.out / "logs"), purge_step=start + 1)
    for step in range(start, steps):
        began = time.perf_counter()
        lr = config.lr * min(1.0, (step + 1) / max(1, config.warmup))
        for group in optimizer.param_groups:
            group["lr"] = lr
        losses, sigmas = [], []
        for number in range(step * config.grad_accum, (step + 1) * config.grad_accum):
            chosen = data.batch_indices(dataset.examples, config.batch_size, config.seed, number)
            batch = data.read_batch(dataset, [dataset.examples[index] for index in chosen])
            random = torch.Generator().manual_seed(_mix(config.seed, number))
            with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
                loss, sigma = batch_loss(transformer, batch, random, device, dtype)
            _check_finite(loss, config, step, batch.sample_ids)
            (loss.mean() / config.grad_accum).backward()
            losses += loss.tolist()
            sigmas += sigma.tolist()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
        _check_finite(norm, config, step, batch.sample_ids)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        done = Progress(
            step=step + 1, steps=steps, loss=sum(losses) / len(losses), grad_norm=float(norm), lr=lr,
            seconds=time.perf_counter() - began,
        )  # fmt: skip
        _log(writer, done, losses, sigmas)
        if report is not None:
            report(done)
        last = done.step == steps
        if last or done.step % config.checkpoint_every == 0:
            save(done.step)
        if config.validate_every and (last or done.step % config.validate_every == 0):
            validate(config, dataset, transformer, path, done.step, writer)
    writer.close()
    final = config.out / "adapter.safetensors"
    adapter.save(final, parameters, scale=config.alpha / config.rank, metadata=metadata)
    return final


def batch_loss(
    transformer: Any, batch: data.Batch, random: torch.Generator, device: Any, dtype: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The masked loss: mean squared error of the velocity over target tokens; references have no part in it.

    Args:
        transformer: Backbone with adapter.
        batch: What `data.read_batch` gave.
        random: CPU generator for sigma and noise.
        device: Of the transformer.
        dtype: For the prompt's embeddings.

    Returns:
        Loss [B] (streams summed), with gradient, and sigma [B].
    """
    clean = batch.canvases.video or batch.canvases.audio
    sigma = sample_sigma(len(batch.sample_ids), clean.target.shape[1], random).to(device)
    canvases = batch.canvases.to(device)
    noised, wanted = {}, {}
    for name, canvas in (("video", canvases.video), ("audio", canvases.audio)):
        if canvas is not None:
            noise = torch.randn(canvas.target.shape, generator=random).to(device)
            noised[name] = add_noise(canvas.target, noise, sigma)
            wanted[name] = velocity(canvas.target, noise)
    predicted = predict(transformer, canvases, Streams(**noised), sigma, batch.prompt.to(device, dtype))
    losses = [
        (getattr(predicted, name).float() - target).square().flatten(1).mean(dim=1)
        for name, target in wanted.items()
    ]
    return torch.stack(losses).sum(dim=0), sigma.cpu()


def _catalog(config: TrainConfig) -> CatalogID:
    """The catalog ID to read: a resumed run stays on the version it began with."""
    asked = CatalogID.parse(config.catalog)
    found = checkpoint.everyone(config.out)
    if not found:
        return asked
    if not config.resume:
        raise TrainingError(f"{config.out} holds a run already", "--resume goes on with it, or another --out")
    before = CatalogID.parse(checkpoint.read(found[-1])["run"]["catalog"])
    same = (before.name, before.where) == (asked.name, asked.where)
    return before if same and asked.version is None else asked


def _identity(config: TrainConfig, dataset: data.Dataset, path: Path, dtype: str) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    fixed = ("batch_size", "grad_accum", "lr", "warmup", "weight_decay", "clip_norm", "rank", "alpha", "seed")
    return {
        "catalog": str(dataset.catalog),
        "manifest": dataset.manifest,
        "streams": dataset.streams,
        "backbone": backbone.weights_hash(path, "transformer"),
        "dtype": dtype,
        **{name: getattr(config, name) for name in fixed},
    }


def _metadata(config: TrainConfig, dataset: data.Dataset, run: dict[str, Any]) -> dict[str, str]:
    """The adapter file's header: where it came from and how it is used."""
    return {
        "reference_downscale_factor": str(dataset.scale),
        "catalog": str(dataset.catalog),
        "manifest_sha256": dataset.manifest,
        "modality": dataset.modality,
        "streams": dataset.streams,
        "references": ",".join(dataset.references),
        "base_model": config.backbone,
        "base_model_sha256": run["backbone"],
        "rank": str(config.rank),
        "alpha": str(config.rank),  # the tensors' own: the configured alpha is folded into lora_B
        "config": json.dumps(as_strings(config), sort_keys=True),
    }


def _mix(seed: int, number: int) -> int:
    """One 64-bit seed from the run's seed and the number of a batch."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _check_finite(value: torch.Tensor, config: TrainConfig, step: int, sample_ids: Any) -> None:
    if math.isfinite(float(value.detach().sum())):
        return
    kept = checkpoint.everyone(config.out)
    last = f"the last good checkpoint is {kept[-1]}; " if kept else ""
    raise TrainingError(
        f"the loss of step {step + 1} is not finite (samples {', '.join(sample_ids)})",
        f"{last}start again with a lower --lr and another --out",
    )


def _log(writer: Any, done: Progress, losses: list[float], sigmas: list[float]) -> None:
    writer.add_scalar("loss", done.loss, done.step)
    writer.add_scalar("grad_norm", done.grad_norm, done.step)
    writer.add_scalar("lr", done.lr, done.step)
    writer.add_scalar("seconds_per_step", done.seconds, done.step)
    for loss, sigma in zip(losses, sigmas, strict=True):
        low = min(int(sigma * _SIGMA_BINS), _SIGMA_BINS - 1) / _SIGMA_BINS
        writer.add_scalar(f"loss_by_sigma/{low:.2f}", loss, done.step)
