"""Samples a second of one GPU and of several: LTX-2 at full size, random weights, data parallel.

    python benchmarks/scale.py [--gpus 2] [--steps 8] [--layers 48] [--shard] [--eager] [--no-ray]
    python benchmarks/scale.py --device cpu        # the same path at test size, two processes: checks, measures nothing

Every GPU takes a batch of its own (768x448x89 beside a reference, rank 32); one exchange a step averages the adapter's
gradients (`training/parallel.py`). The workers are started as `avcontrol train --gpus` does, by Ray Train; where Ray
is missing, by torch.multiprocessing. Seconds a step are the mean after a warm-up; the exchange's share includes waiting
for the slower GPU. `--shard` spreads the frozen weights (FSDP2). Goal on 2 GPUs: 1.9 times one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
WARM = 3


def made(options: dict[str, Any], device: torch.device) -> tuple[Any, dict[str, Any], Any]:
    """A transformer with an adapter, ready to train; the adapter's parameters; a batch of this process's own."""
    from train_step import TEXT, add_adapter, full_size

    from training import adapter, backbone, forward, parallel, prepare
    from training.data import Batch
    from training.tokens import Prompt, Streams, video_canvas

    rank, _ = parallel.ranks()
    random = torch.Generator().manual_seed(rank)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    if device.type == "cpu":
        transformer = backbone.component(backbone.locate("test"), "transformer")
        forward.keep(transformer, "video")
        parameters = adapter.add(transformer, streams="video", rank=4, alpha=4, seed=0)
        channels, text, length, grid = 16, 16, 12, (2, 3, 2)
    else:  # to spread weights, every process first makes them all, on the CPU or where they fit
        transformer = full_size("video", options["layers"], device=str(device))
        parameters = add_adapter(transformer, "video")
        channels, text, length, grid = 128, 3840, TEXT, (12, 14, 24)
    if options["shard"] and parallel.ranks()[1] > 1:
        parallel.spread(transformer, parameters.values(), device)
    else:
        prepare.place(transformer, device)
        if not options["eager"]:
            prepare.fast(transformer)
    for block in forward.adopt(transformer):
        block.recompute = options["eager"]  # compiled, all blocks' activations fit 80 GB
    mask = torch.ones(1, length, dtype=torch.int64)
    batch = Batch(
        sample_ids=["random"],
        canvases=Streams(video=video_canvas(drawn(1, channels, *grid), drawn(1, channels, *grid), fps=24.0)),
        prompt=Prompt(video=drawn(1, length, text), audio=drawn(1, length, text), mask=mask),
    )
    return transformer, parameters, batch


def work(options: dict[str, Any]) -> None:
    """What every process does; the first one writes the figures."""
    from training import parallel
    from training.step import batch_loss

    rank, world = parallel.ranks()
    device = torch.device(options["device"])
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    transformer, parameters, batch = made(options, device)
    gradients = parallel.Gradients(parameters.values())
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, fused=device.type == "cuda")
    dtype = next(transformer.parameters()).dtype
    seconds, exchange = [], []
    for step in range(WARM + options["steps"]):
        if step == WARM and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        loss, _ = batch_loss(transformer, batch, torch.Generator().manual_seed(step), device, dtype)
        loss.mean().backward()
        gradients.count(loss)
        before = now(device)
        mean = gradients.average()
        after = now(device)
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        gradients.zero()
        torch.stack([mean, norm]).tolist()  # the loop's one wait a step
        if step >= WARM:
            seconds.append(time.perf_counter() - began)
            exchange.append(between(before, after))
    figures = {
        "gpus": world,
        "seconds": sum(seconds) / len(seconds),
        "exchange": sum(exchange) / len(exchange),
        "bytes": gradients.flat.numel() * gradients.flat.element_size() if world > 1 else 0,
        "peak": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0,
        "name": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
    }
    if rank == 0:
        Path(options["file"]).write_text(json.dumps(figures))


def now(device: torch.device) -> Any:
    """A mark in the GPU's queue, or the time."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(before: Any, after: Any) -> float:
    """Seconds."""
    return float(after - before if isinstance(after, float) else before.elapsed_time(after) / 1000)


def spawned(rank: int, world: int, port: int, options: dict[str, Any]) -> None:
    """The worker without Ray."""
    import torch.distributed as dist

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    gpu = options["device"] == "cuda"
    if gpu:
        torch.cuda.set_device(rank)
    dist.init_process_group("nccl" if gpu else "gloo", rank=rank, world_size=world)
    work(options)
    dist.destroy_process_group()


def start(world: int, options: dict[str, Any], ray: Any) -> dict[str, Any]:
    """Measure `world` processes."""
    with tempfile.TemporaryDirectory() as folder:
        options = {**options, "file": f"{folder}/figures.json"}
        if ray is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            torch.multiprocessing.spawn(spawned, (world, port, options), nprocs=world)
        else:
            from ray.train import RunConfig, ScalingConfig
            from ray.train.torch import TorchTrainer

            TorchTrainer(
                work,
                train_loop_config=options,
                scaling_config=ScalingConfig(num_workers=world, use_gpu=options["device"] == "cuda"),
                run_config=RunConfig(storage_path=folder),
            ).fit()
        figures: dict[str, Any] = json.loads(Path(options["file"]).read_text())
        return figures


def ray_or_none() -> Any:
    """Ray, started; None where it is not installed."""
    with contextlib.suppress(ImportError):
        import ray
        import ray.train.torch

        paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, 2),
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )
        return ray
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, help="default: all there are")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shard", action="store_true", help="spread the frozen weights over the GPUs")
    parser.add_argument("--eager", action="store_true", help="do not compile the blocks")
    parser.add_argument("--no-ray", action="store_true", help="start the processes by torch.multiprocessing")
    given = parser.parse_args()
    gpus = given.gpus or (2 if given.device == "cpu" else torch.cuda.device_count())
    if gpus < 2 or (given.device == "cuda" and torch.cuda.device_count() < gpus):
        raise SystemExit(
            f"needs 2 or more GPUs, and there are {torch.cuda.device_count()} (--device cpu: no GPU)"
        )
    wanted = {
        "steps": given.steps, "layers": given.layers, "device": given.device, "shard": given.shard,
        "eager": given.eager or given.shard or given.device == "cpu",
    }  # fmt: skip
    ray = None if given.no_ray else ray_or_none()
    print(
        f"workers by {'torch.multiprocessing (no Ray here)' if ray is None else f'Ray Train {ray.__version__}'}"
    )
    one, many = start(1, wanted, ray), start(gpus, wanted, ray)
    print(f"{one['name']}, torch {torch.__version__}, {given.layers} layers")
    print("gpus  samples/s  s/step  exchanged MB  its share  peak GiB")
    for row in (one, many):
        print(
            f"{row['gpus']:4} {row['gpus'] / row['seconds']:10.3f} {row['seconds']:7.3f} {row['bytes'] / 1e6:13.1f}"
            f" {row['exchange'] / row['seconds']:10.1%} {row['peak']:9.1f}"
        )
    times = gpus * one["seconds"] / many["seconds"]
    print(f"{gpus} GPUs: {times:.2f} times the samples of one (goal {0.95 * gpus:.2f})")
