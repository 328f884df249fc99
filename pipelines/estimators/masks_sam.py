"""Objects of a clip by SAM 2 (arXiv 2408.00714) or EdgeTAM (arXiv 2501.07256), by transformers' classes.

Both are shown boxes in one frame, and follow what is inside onwards and back with a memory of what it looked like.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip
from pipelines.estimators.serving import placed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue in [0, 1], which both were trained on."""

BOX = (2, 3)
"""Labels by which the prompt encoder knows the two corners of a box."""


class Follower:
    """A network on its device, half precision on a GPU.

    Args:
        path: Folder with config.json and model.safetensors.
        kind: Of transformers' classes: ``Sam2Video`` or ``EdgeTamVideo``.
        device: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` is the first GPU if there is one.

    Attributes:
        together: Objects at a time; halved when they do not fit into memory.

    Raises:
        EstimatorUnavailable: The weights do not load.
    """

    def __init__(self, path: Path, kind: str, device: str = "auto") -> None:
        import torch
        from safetensors import SafetensorError
        from transformers.utils import logging

        device = placed(device)
        classes = importlib.import_module("transformers")
        logging.disable_progress_bar()
        try:
            network, report = getattr(classes, f"{kind}Model").from_pretrained(
                str(path),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            )
        except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EstimatorUnavailable(f"the network in {path} does not load: {said}") from None
        if report["missing_keys"]:  # transformers fills them with random numbers
            raise EstimatorUnavailable(f"{path} lacks {len(report['missing_keys'])} of the network's weights")
        self.together = 16
        self.device = device
        self.network: Any = network.eval().requires_grad_(False).to(device)
        module = importlib.import_module(type(network).__module__)
        self._session: Any = getattr(module, f"{kind}InferenceSession")

    def __call__(
        self, frames: NDArray[np.uint8], boxes: NDArray[np.float32], frame: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """Follow what is in boxes of one frame through a clip.

        Args:
            frames: RGB [F, H, W, 3].
            boxes: [K, 4]: left, top, right, bottom in pixels.
            frame: Which they are in; a scalar.

        Returns:
            ``labels`` uint8 [F, H, W], 1 to K; and ``sure``, how surely a pixel belongs to its own, float16 [F, H, W].

        Raises:
            UnusableClip: ``not_finite``, or ``out_of_memory`` with one object alone.
        """
        labels = np.zeros(frames.shape[:3], np.uint8)
        sure = np.zeros(frames.shape[:3], np.float16)
        done = 0
        while done < len(boxes):
            part = boxes[done : done + self.together]
            if self._fits(frames, part, int(frame), done, labels, sure):
                done += len(part)
            elif len(part) == 1:
                raise UnusableClip(
                    "out_of_memory",
                    f"one object in {len(frames)} frames does not fit into {self.device}'s memory",
                )
            else:
                self.together = len(part) // 2
        return {"labels": labels, "sure": sure}

    def _fits(
        self,
        frames: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        first: int,
        before: int,
        labels: NDArray[np.uint8],
        sure: NDArray[np.float16],
    ) -> bool:
        """Follow some objects, and write them where they are surer than those before; False where memory is short."""
        import torch

        try:
            with torch.inference_mode():
                for at, probable in self._followed(frames, boxes, first):
                    best = probable.argmax(axis=0)
                    most = np.take_along_axis(probable, best[None], axis=0)[0]
                    mine = (most > 0.5) & (most > sure[at])
                    labels[at][mine], sure[at][mine] = best[mine] + before + 1, most[mine]
        except torch.OutOfMemoryError:
            pass
        else:
            return True
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()  # outside the handler, whose traceback holds on to the tensors
        return False

    def _followed(
        self, frames: NDArray[np.uint8], boxes: NDArray[np.float32], first: int
    ) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Frame numbers, and the probability of every object there, [K, H, W]."""
        import torch

        height, width = frames.shape[1:3]
        side = self.network.config.image_size
        session = self._session(
            video=torch.stack([self.prepared(frame) for frame in frames]),
            video_height=height,
            video_width=width,
            inference_device=self.device,
            dtype=self.network.dtype,
        )
        for index, corners in enumerate(boxes.reshape(-1, 2, 2) * np.divide(side, (width, height))):
            prompt = {
                "point_coords": torch.tensor(corners, dtype=torch.float32)[None, None],
                "point_labels": torch.tensor(BOX, dtype=torch.int32)[None, None],
            }
            session.add_point_inputs(session.obj_id_to_idx(index), first, prompt)
        session.obj_with_new_inputs = list(range(len(boxes)))
        self.network(session, frame_idx=first)
        for reverse in (False, True):
            for found in self.network.propagate_in_video_iterator(session, first, reverse=reverse):
                logits = torch.nn.functional.interpolate(
                    found.pred_masks.float(), (height, width), mode="bilinear"
                )[:, 0]
                if not (torch.isfinite(logits).all() and torch.isfinite(found.object_score_logits).all()):
                    raise UnusableClip(
                        "not_finite", f"the network gives no finite mask in frame {found.frame_idx}"
                    )
                yield found.frame_idx, logits.sigmoid().half().cpu().numpy()
                del logits

    def prepared(self, frame: NDArray[np.uint8]) -> Any:
        """What the network looks at.

        Args:
            frame: RGB [H, W, 3].

        Returns:
            Tensor [3, side, side] of the network's type on the CPU: stretched to a square, bilinear, normalised.
        """
        import torch

        side = self.network.config.image_size
        pixels = torch.from_numpy(np.array(frame)).to(self.device).permute(2, 0, 1)[None].float()
        values = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(part, device=values.device)[:, None, None] for part in (MEAN, STD))
        return ((values[0].round().clamp(0, 255) / 255 - mean) / std).to("cpu", self.network.dtype)
