"""The depth worker: runs Video Depth Anything or Depth Anything 3 out of a checkout of its repository.

Started as ``python depth_worker.py CHECKOUT`` by the Python that has what the repository needs; of this project it
needs nothing but this file. It speaks the protocol of :mod:`pipelines.process`. A request is a clip: ``model``,
``weights`` (a folder), ``device`` and ``folder``, which has ``frames.npy`` (uint8 [F, H, W, 3] RGB) and gets
``inverse.npy`` (float32 [F, h, w], bigger is nearer) and, where the network gives one, ``confidence.npy``. The answer
lists them as ``made``; an error has a ``kind``: ``missing``, ``out_of_memory`` or another.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any


def serve(checkout: str) -> None:
    """Answer requests until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"event": "done", "made": _estimate(request)}
        except ModuleNotFoundError as error:
            where = f"in {checkout}" if checkout else "here"
            hint = f"Get it with `{sys.executable} -m pip install {str(error.name).partition('.')[0]}`."
            if checkout and str(error.name).partition(".")[0] in ("video_depth_anything", "depth_anything_3"):
                hint = "Is that folder a checkout of its repository?"
            answer = _error("missing", f"there is no module {error.name} {where}", hint)
        except Exception as error:
            traceback.print_exc()
            small = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
            said = (str(error).strip() or "no message").splitlines()[0]
            kind = "out_of_memory" if small else type(error).__name__
            answer = _error(kind, f"{type(error).__name__}: {said}", "")
        answers.write(json.dumps(answer) + "\n")


def _error(kind: str, message: str, hint: str) -> dict[str, Any]:
    return {"event": "error", "kind": kind, "message": message, "hint": hint}


def _estimate(request: dict[str, str]) -> list[str]:
    """Save what the network says of a clip; returns the names of the files."""
    import numpy as np
    import torch

    device = request["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    frames = np.load(f"{request['folder']}/frames.npy")
    load = _video if request["model"].startswith("video") else _three
    infer = load(request["weights"], device)
    try:
        with torch.inference_mode():
            found = infer(frames)
    finally:
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    for name, array in found.items():
        np.save(f"{request['folder']}/{name}.npy", np.asarray(array, np.float32))
    return list(found)


@cache
def _video(weights: str, device: str) -> Any:
    """Video Depth Anything (arXiv 2501.12375), small: 32 frames at a time, tied together by their overlap."""
    import torch
    from video_depth_anything.video_depth import VideoDepthAnything  # type: ignore

    network = VideoDepthAnything(encoder="vits", features=64, out_channels=[48, 96, 192, 384])
    state = torch.load(f"{weights}/video_depth_anything_vits.pth", map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True)
    network = network.to(device).eval()
    options: dict[str, Any] = {"input_size": 518, "device": device}
    if "fp32" in inspect.signature(network.infer_video_depth).parameters:  # its first release has no choice
        options["fp32"] = device == "cpu"

    def infer(frames: Any) -> dict[str, Any]:
        depth, _ = network.infer_video_depth(frames, 24, **options)  # the rate is only handed through
        return {"inverse": depth}

    return infer


@cache
def _three(weights: str, device: str) -> Any:
    """Depth Anything 3 (arXiv 2511.10647): depth of all frames together, up to one scale."""
    from depth_anything_3.api import DepthAnything3  # type: ignore

    network = DepthAnything3.from_pretrained(weights).to(device).eval()

    def infer(frames: Any) -> dict[str, Any]:
        found = network.inference(list(frames), process_res=504)
        made = {"inverse": 1 / found.depth}
        if found.conf is not None:
            made["confidence"] = found.conf
        return made

    return infer


if __name__ == "__main__":
    root = sys.argv[1]
    del sys.path[0]  # this file's folder: its names are none of the checkout's business
    sys.path[:0] = [str(Path(root) / "src"), root] if root else []
    serve(root)
