"""The network Depth Anything 2 (arXiv 2406.09414) by transformers: pictures to inverse depth, many at a time."""

from __future__ import annotations

import queue
from contextlib import nullcontext
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip
from pipelines.estimators.serving import placed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue in [0, 1], which the network was trained on."""


TURNS = 3
"""Batches on a GPU at a time, where as many threads call: one is copied while another is computed."""


class DepthAnything:
    """The network on its device, half precision on a GPU. It may be called from several threads.

    Args:
        path: Folder with config.json and model.safetensors.
        device: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` is the first GPU if there is one.

    Attributes:
        batch: Pictures at a time; halved when they do not fit into memory.
        turns: Threads that may call at a time.

    Raises:
        EstimatorUnavailable: The weights do not load.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import DepthAnythingForDepthEstimation
        from transformers.utils import logging

        device = placed(device)
        logging.disable_progress_bar()
        try:
            network, report = DepthAnythingForDepthEstimation.from_pretrained(
                str(path),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EstimatorUnavailable(f"the depth network in {path} does not load: {said}") from None
        if report["missing_keys"]:  # transformers fills them with random numbers
            raise EstimatorUnavailable(f"{path} lacks {len(report['missing_keys'])} of the network's weights")
        self.batch, self.turns = 25, TURNS if device.startswith("cuda") else 1
        self.device = device
        self.network: Any = network.eval().requires_grad_(False).to(device)
        # Some batches on a GPU at a time, so that one is copied while another is computed.
        self._turns = queue.SimpleQueue[Any]()
        if device.startswith("cuda"):
            for _ in range(TURNS):
                self._turns.put(torch.cuda.stream(torch.cuda.Stream(device)))
        else:
            self._turns.put(nullcontext())

    def __call__(self, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Inverse depth of every picture by itself.

        Args:
            frames: RGB [F, H, W, 3].

        Returns:
            ``inverse``: relative inverse depth, bigger is nearer, [F, H, W]; of its confidence it says nothing.

        Raises:
            UnusableClip: One picture alone does not fit into memory.
        """
        import torch

        on_gpu, done = self.device.startswith("cuda"), 0
        inverse = torch.empty(frames.shape[:3], pin_memory=on_gpu)
        while done < len(frames):
            left = len(frames) - done
            part = slice(done, done + ceil(left / ceil(left / self.batch)))  # evenly, without a small rest
            if self._infer(frames[part], inverse[part]):
                done = part.stop
            elif part.stop == done + 1:
                height, width = frames.shape[1:3]
                raise UnusableClip(
                    "out_of_memory",
                    f"depth of one {width}x{height} frame does not fit into {self.device}'s memory",
                )
            else:
                self.batch = (part.stop - done) // 2
        return {"inverse": inverse.numpy()}

    def _infer(self, part: NDArray[np.uint8], into: Any) -> bool:
        """Of one batch, into a tensor; False where memory does not suffice."""
        import torch

        on_gpu = self.device.startswith("cuda")
        pixels = torch.empty(part.shape, dtype=torch.uint8, pin_memory=on_gpu)
        pixels.numpy()[:] = part
        turn = self._turns.get()
        try:
            with torch.inference_mode(), turn:
                ready = self.prepared(pixels.to(self.device, non_blocking=True))
                depth = self.network(pixel_values=ready).predicted_depth[:, None].float()
                depth = torch.nn.functional.interpolate(depth, part.shape[1:3], mode="bilinear")
                into.copy_(depth[:, 0], non_blocking=True)
                if on_gpu:
                    done = torch.cuda.Event(blocking=True)  # sleeps, where a stream's synchronize() spins
                    done.record()
                    done.synchronize()
            return True
        except torch.OutOfMemoryError:
            pass
        finally:
            self._turns.put(turn)
        if on_gpu:
            torch.cuda.empty_cache()  # outside the handler, whose traceback holds on to the tensors
        return False

    def prepared(self, pixels: Any) -> Any:
        """What the network looks at.

        Args:
            pixels: Tensor uint8 [B, H, W, 3].

        Returns:
            Tensor [B, 3, h, w] of the network's type: the shorter side as in training (518), the longer one to the
            nearest multiple of the patches' (14), bicubic, normalised.
        """
        import torch

        config = self.network.config
        side, patch = config.backbone_config.image_size, config.patch_size
        scale = side / min(pixels.shape[1:3])
        size = [max(1, round(length * scale / patch)) * patch for length in pixels.shape[1:3]]
        values = pixels.permute(0, 3, 1, 2).float()
        values = torch.nn.functional.interpolate(values, size, mode="bicubic", antialias=True).clamp(0, 255)
        mean, std = (torch.tensor(part, device=values.device)[:, None, None] for part in (MEAN, STD))
        return ((values / 255 - mean) / std).to(self.network.dtype)
