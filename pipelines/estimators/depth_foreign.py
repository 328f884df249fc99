"""Depth by networks that are only git repositories: each in a process of its own (:mod:`~.depth_worker`)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip, WorkerError
from pipelines.estimators.card import Card
from pipelines.process import WorkerProcess

_PROGRAM = Path(__file__).with_name("depth_worker.py")
_TIMEOUT_S = 1800.0  # a clip on a CPU, and loading


class Foreign:
    """A network in its own process; started when first asked and again after it died.

    Args:
        card: Which.
        checkout: Folder of its repository, whose own ``.venv`` runs it if there is one; "" if it is installed.
        weights: Folder of its weights.
        device: ``auto``, ``cpu``, ``cuda``, ….
    """

    def __init__(self, card: Card, checkout: str, weights: Path, device: str) -> None:
        folder = Path(checkout).expanduser().resolve() if checkout else None
        python = folder / ".venv" / "bin" / "python" if folder else None
        self.card = card
        self.request = {"model": card.name, "weights": str(weights.resolve()), "device": device}
        self.process = WorkerProcess(
            [
                str(python) if python and python.is_file() else sys.executable,
                str(_PROGRAM),
                str(folder or ""),
            ],
            timeout=_TIMEOUT_S,
        )

    def __call__(
        self, frames: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Inverse depth of all frames together, and the network's confidence.

        Args:
            frames: RGB [H, W, 3], all of one size.

        Returns:
            [F, H, W], bigger is nearer; [F, H, W] or None.

        Raises:
            EstimatorUnavailable: What is in the checkout does not import.
            UnusableClip: The clip does not fit into memory; these networks look at many frames at once.
            WorkerError: The process died, hung, or reports another error.
        """
        height, width = frames[0].shape[:2]
        with tempfile.TemporaryDirectory(prefix="avcontrol-depth-") as folder:
            np.save(f"{folder}/frames.npy", np.stack(frames))
            *_, answer = self.process.call({**self.request, "folder": folder})
            if answer["event"] == "error":
                raise _error(self.card, answer)
            found = [np.load(f"{folder}/{name}.npy", allow_pickle=False) for name in answer["made"]]
        for array in found:
            if array.ndim != 3 or len(array) != len(frames):
                raise WorkerError(f"{self.card.name} gave an array of {array.shape} for {len(frames)} frames")
        fitted = [
            np.stack([cv2.resize(one, (width, height)) for one in array.astype(np.float32)])
            for array in found
        ]
        return fitted[0], fitted[1] if len(fitted) > 1 else None


def _error(card: Card, answer: dict[str, str]) -> Exception:
    if answer["kind"] == "missing":
        return EstimatorUnavailable(f"{card.name} does not start: {answer['message']}", answer["hint"])
    if answer["kind"] == "out_of_memory":
        return UnusableClip("out_of_memory", f"the clip is too large for {card.name}: {answer['message']}")
    return WorkerError(f"{card.name}: {answer['message']}")
