"""Depth Anything 2 Small at 518 px, random weights: the estimator's stage on Ray against a bare batched forward loop.

    python benchmarks/depth.py [--clips 200] [--frames 49] [--batch 25] [--workers 20]

The stage is what a build does before it draws and encodes: actors decode 720p H.264, fit it to 768x448 and ask the
process that holds the network for all of them (``pipelines/runner.py``, ``pipelines/estimators/shared.py``); what
comes back is followed by optical flow, made steady, its flicker measured. The loop runs the same network on one ready
batch on the device, before and after. Frames per second of both, and the ratio (goal on an H100: 0.85). No internet
needed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.decoders import frames
from pipelines.estimators import depth
from pipelines.estimators.depth_anything import DepthAnything
from pipelines.probe import probe
from pipelines.runner import BUSY, Resources, run
from pipelines.timeline import Timeline, fit

NAME = "depth-anything-v2-small"
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


class Measure:
    """A Ray actor's share of the stage, a clip a row."""

    def __init__(self, source: str, weights: str) -> None:
        cv2.setNumThreads(1)
        self.source, self.weights = Path(source), weights

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Decode a clip and measure its depth."""
        pictures = [fit(frame.pixels, LINE) for frame in frames(probe(self.source), "pyav")]
        found = depth.load(NAME, weights=self.weights)(pictures)
        return [{"event": "clip", "frames": len(pictures), "flicker": found.flicker}]


def stage(source: Path, weights: Path, clips: int, workers: int) -> tuple[float, float]:
    """Frames per second while all workers are busy, and the mean flicker."""
    resources = Resources(workers=workers, network_gpus=math.inf)
    rows = [{"n": n} for n in range(clips + 2 * workers)]
    arguments = {"source": str(source), "weights": str(weights)}
    begin, flicker = 0.0, list[float]()
    for count, result in enumerate(run(rows, Measure, arguments, resources), 1):
        if count == workers:  # all have started, the network is loaded
            begin = time.perf_counter()
        elif workers < count <= workers + clips:
            flicker.append(result["flicker"])
            last, shown = time.perf_counter(), result["frames"]
    return clips * shown / (last - begin), float(np.mean(flicker))


def main() -> None:
    import torch

    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=200 if gpu else 4)
    parser.add_argument("--frames", type=int, default=49 if gpu else 9)
    parser.add_argument("--batch", type=int, default=25 if gpu else 3)
    parser.add_argument("--workers", type=int, default=round((os.cpu_count() or 1) / BUSY) if gpu else 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, weights = Path(folder) / "720p.mp4", random_weights(Path(folder) / "weights")
        write_source(source, options.frames)
        network = DepthAnything(weights)
        rounds = max(2, options.clips * options.frames // options.batch // 4)
        before = bare(network, options.batch, rounds)
        ours, flicker = stage(source, weights, options.clips, options.workers)
        after = bare(network, options.batch, rounds)
    name = torch.cuda.get_device_name() if gpu else f"{os.cpu_count()} CPU cores"
    print(
        f"{name}, {options.clips} clips of {options.frames} frames of 720p, loop in batches of {options.batch}"
    )
    print(f"bare loop  {before:8.2f} frames/s before, {after:.2f} after")
    print(
        f"stage      {ours:8.2f} frames/s, decode included, {options.workers} actors; flicker {flicker:.3f}"
    )
    print(f"stage / bare loop: {ours / ((before + after) / 2):.3f}  (goal 0.85 on an H100)")


if __name__ == "__main__":
    main()
