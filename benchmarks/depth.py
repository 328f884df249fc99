"""Depth Anything 2 Small at 518 px, random weights: the estimator's stage against a bare batched forward loop.

    python benchmarks/depth.py [--clips 64] [--frames 49] [--batch 25] [--workers 16] [--threads 3]

The stage is what a build does: decode 720p H.264, fit to 768x448, normalise, infer, scale back, follow by optical flow,
make steady, measure flicker; decoding and what follows the network in processes of their own. The loop runs the same
network on one ready batch on the device, before and after. Frames per second of both, and the ratio (goal on an H100:
0.85). No internet needed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.decoders import frames
from pipelines.estimators import depth
from pipelines.estimators.depth_anything import TURNS
from pipelines.probe import probe
from pipelines.timeline import Timeline, fit

LINE = Timeline(width=768, height=448, frames=9, fps=Fraction(24))


def random_weights(folder: Path) -> Path:
    """The published configuration; weights of a size at which half precision neither vanishes nor overflows."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    network = DepthAnythingForDepthEstimation(DepthAnythingConfig())
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.dim() > 1:
                weights.normal_(0, weights[0].numel() ** -0.5)
        network.head.conv3.bias.fill_(1.0)
    network.save_pretrained(folder)
    return folder


def write_source(path: Path, count: int) -> None:
    """A 720p clip: a grainy picture that is panned over."""
    import av

    random = np.random.default_rng(0)
    scene = cv2.resize(
        random.integers(0, 256, (90, 160, 3), np.uint8), (2400, 1350), interpolation=cv2.INTER_CUBIC
    )
    grain = random.normal(0, 4, (8, 720, 1280, 1)).astype(np.int16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for n in range(count):
            view = scene[n : n + 720, 3 * n : 3 * n + 1280] + grain[n % 8]
            picture = av.VideoFrame.from_ndarray(np.clip(view, 0, 255).astype(np.uint8))
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def bare(network: Any, batch: int, rounds: int) -> float:
    """Frames per second of nothing but forward passes."""
    import torch

    pixels = torch.zeros(batch, LINE.height, LINE.width, 3, dtype=torch.uint8, device=network.device).random_(
        256
    )
    with torch.inference_mode():
        ready = network.prepared(pixels)
        for warm in (True, False):
            begin = time.perf_counter()
            for _ in range(min(3, rounds) if warm else rounds):
                network.network(pixel_values=ready)
            if network.device.startswith("cuda"):
                torch.cuda.synchronize()
    return rounds * batch / (time.perf_counter() - begin)


def work(link: Connection, frames_in: Any, inverse_out: Any, source: Path, count: int) -> None:
    """A process beside the GPU's: for every clip asked for, decode, wait for the network, and finish."""
    cv2.setNumThreads(1)
    pictures, inverse = shared(frames_in, inverse_out, count)
    while link.recv():
        for n, frame in enumerate(frames(probe(source), "pyav")):
            pictures[n] = fit(frame.pixels, LINE)
        link.send(None)
        link.recv()
        link.send(depth.finish(depth.ESTIMATORS[0], list(pictures), inverse, None).flicker)


def shared(frames_in: Any, inverse_out: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    size = (count, LINE.height, LINE.width)
    return np.frombuffer(frames_in, np.uint8).reshape(*size, 3), np.frombuffer(
        inverse_out, np.float32
    ).reshape(size)


def stage(
    network: Any, source: Path, count: int, clips: int, workers: int, threads: int
) -> tuple[float, float]:
    """Frames per second of the stage, and the mean flicker. Some threads keep the GPU busy."""
    spawn = multiprocessing.get_context("spawn")
    arrays: dict[Any, tuple[np.ndarray, np.ndarray]] = {}
    for _ in range(workers):
        pixels = count * LINE.height * LINE.width
        buffers = spawn.RawArray("B", 3 * pixels), spawn.RawArray("f", pixels)
        ours, theirs = spawn.Pipe()
        spawn.Process(target=work, args=(theirs, *buffers, source, count), daemon=True).start()
        theirs.close()  # so that a process that dies is an EOFError here
        arrays[ours] = shared(*buffers, count)

    def infer(link: Any) -> None:
        pictures, inverse = arrays[link]
        inverse[:] = network(pictures)[0]
        link.send(None)

    def make(wanted: int) -> list[float]:
        found, idle, asked, running = list[float](), list(arrays), 0, list[Future[None]]()
        while len(found) < wanted:
            for link in idle[: wanted - asked]:
                link.send(True)
                asked += 1
            idle = []
            for job in running:
                if job.done():
                    job.result()  # or its error
            running = [job for job in running if not job.done()]
            for link in wait(list(arrays), timeout=1):
                said = link.recv()
                if said is None:
                    running.append(jobs.submit(infer, link))
                else:
                    found.append(said)
                    idle.append(link)
        return found

    with ThreadPoolExecutor(threads) as jobs:
        make(workers)  # warm
        begin = time.perf_counter()
        found = make(clips)
        seconds = time.perf_counter() - begin
    for link in arrays:
        link.send(False)
    return clips * count / seconds, float(np.mean(found))


def main() -> None:
    import torch

    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--clips", type=int, default=64 if gpu else 2)
    parser.add_argument("--frames", type=int, default=49 if gpu else 9)
    parser.add_argument("--batch", type=int, default=25 if gpu else 3)
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 1) if gpu else 1)
    parser.add_argument("--threads", type=int, default=TURNS if gpu else 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, weights = Path(folder) / "720p.mp4", random_weights(Path(folder) / "weights")
        write_source(source, options.frames)
        estimator = depth.load("depth-anything-v2-small", weights=str(weights), device=options.device)
        network = estimator.network
        network.batch = options.batch
        rounds = max(2, options.clips * options.frames // options.batch // 4)
        before = bare(network, options.batch, rounds)
        ours, flicker = stage(
            network, source, options.frames, options.clips, options.workers, options.threads
        )
        after = bare(network, options.batch, rounds)
    name = (
        torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{os.cpu_count()} CPU cores"
    )
    print(f"{name}, batches of {network.batch}, {options.clips} clips of {options.frames} frames of 720p")
    print(f"bare loop  {before:8.2f} frames/s before, {after:.2f} after")
    print(
        f"stage      {ours:8.2f} frames/s, decode included, {options.workers} processes; flicker {flicker:.3f}"
    )
    print(f"stage / bare loop: {ours / ((before + after) / 2):.3f}  (goal 0.85 on an H100)")


if __name__ == "__main__":
    main()
