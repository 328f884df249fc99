"""Depth in a process of its own: ``python -m pipelines.estimators.depth_worker CHECKOUT MODEL WEIGHTS DEVICE``.

Video Depth Anything (Chen et al., arXiv 2501.12375) and Depth Anything 3 (Lin et al., arXiv 2511.10647) are git
repositories, not packages; each is run out of a checkout. WEIGHTS is a folder.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.serving import Arrays, placed, serve

Infer = Callable[[NDArray[np.uint8]], Arrays]
"""Frames RGB [F, H, W, 3] -> ``inverse`` [F, h, w], bigger is nearer, and ``confidence`` where it has one."""

SIDE = 504
"""Pixels of the longer side that Depth Anything 3 looks at, its authors' value."""


def load(checkout: str, model: str, weights: str, device: str) -> Infer:
    """The network with its weights."""
    device = placed(device)
    sys.path[:0] = [str(Path(checkout) / "src"), checkout] if checkout else []
    return (_video if model.startswith("video") else _three)(weights, device)


def estimate(infer: Infer, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What the network says of a clip, at the frames' size.

    Args:
        infer: The network.
        frames: RGB [F, H, W, 3].

    Returns:
        ``inverse`` and, where the network gives one, ``confidence``, both [F, H, W].

    Raises:
        ValueError: It gave arrays of another length.
    """
    import torch

    try:
        with torch.inference_mode():
            found = {name: np.asarray(array, np.float32) for name, array in infer(frames).items()}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    for name, array in found.items():
        if array.ndim != 3 or len(array) != len(frames):
            raise ValueError(f"{name} is an array of {array.shape} for {len(frames)} frames")
    size = frames.shape[2], frames.shape[1]
    return {name: np.stack([cv2.resize(one, size) for one in array]) for name, array in found.items()}


def _video(weights: str, device: str) -> Infer:
    """Video Depth Anything, small: 32 frames at a time, tied together by their overlap."""
    import torch
    from video_depth_anything.video_depth import VideoDepthAnything  # type: ignore[import-not-found]

    network = VideoDepthAnything(encoder="vits", features=64, out_channels=[48, 96, 192, 384])
    state = torch.load(f"{weights}/video_depth_anything_vits.pth", map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True)
    network = network.to(device).eval()
    options: dict[str, Any] = {"input_size": 518, "device": device}
    if "fp32" in inspect.signature(network.infer_video_depth).parameters:  # its first release has no choice
        options["fp32"] = device == "cpu"

    def infer(frames: NDArray[np.uint8]) -> Arrays:
        depth, _ = network.infer_video_depth(frames, 24, **options)  # the rate is only handed through
        return {"inverse": depth}

    return infer


def _three(weights: str, device: str) -> Infer:
    """Depth Anything 3: depth of all frames together, up to one scale."""
    from depth_anything_3.api import DepthAnything3  # type: ignore[import-not-found]

    network = DepthAnything3.from_pretrained(weights).to(device).eval()

    def infer(frames: NDArray[np.uint8]) -> Arrays:
        found = network.inference(list(frames), process_res=SIDE)
        made = {"inverse": 1 / found.depth}
        return made if found.conf is None else {**made, "confidence": found.conf}

    return infer


def main() -> None:
    """Load, then answer."""
    with redirect_stdout(sys.stderr):  # what a repository prints while it loads is no answer
        infer = load(*sys.argv[1:])

    def run(arrays: Arrays) -> Arrays:
        return estimate(infer, arrays["frames"])

    serve(run)


if __name__ == "__main__":
    main()
