"""CoTracker3 in a process of its own: ``python -m pipelines.estimators.cotracker_worker CHECKOUT WEIGHTS DEVICE``.

Karaev et al., CoTracker3: Simpler and Better Point Tracking by Pseudo-Labelling Real Videos (arXiv 2410.11831); mostly
CC-BY-NC-4.0. The offline variant, which sees the whole clip at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.serving import Arrays, out_of_memory, placed, serve

WINDOW, BATCH = 60, 1024
"""Frames, the authors' value for the offline variant; and points followed at a time, halved where memory runs out."""

Predict = Callable[[NDArray[np.uint8], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Frames [F, H, W, 3] and queries [N, 3] (frame, x, y; pixel centres at whole numbers) -> places [F, N, 2] and
visibility [F, N], 0 or 1."""


def load(checkout: str, weights: str, device: str) -> Predict:
    """The network with its weights."""
    import torch

    device = placed(device)
    sys.path.insert(0, checkout)
    from cotracker.predictor import CoTrackerPredictor  # type: ignore[import-not-found]

    network: Any = CoTrackerPredictor(checkpoint=weights, offline=True, window_len=WINDOW).to(device)

    @torch.inference_mode()
    def predict(
        frames: NDArray[np.uint8], queries: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        video = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)[None].float()
        asked = torch.from_numpy(queries).to(device)[None]
        places, seen = network(video, queries=asked, backward_tracking=True)
        return places[0].float().cpu().numpy(), seen[0].float().cpu().numpy()

    return predict


def follow(
    predict: Predict, frames: NDArray[np.uint8], queries: NDArray[np.float64], batch: int = BATCH
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Follow points through a clip; arguments and results as of :func:`pipelines.estimators.flow.follow`."""
    asked = (queries - (0, 0.5, 0.5)).astype(np.float32)
    try:
        parts = [predict(frames, asked[first : first + batch]) for first in range(0, len(asked), batch)]
    except Exception as error:
        if batch <= BATCH // 4 or not out_of_memory(error):
            raise
    else:
        places, seen = (np.concatenate([part[n] for part in parts], axis=1) for n in range(2))
        return places + np.float32(0.5), seen
    return follow(predict, frames, queries, batch // 2)  # outside, so that the failed run's memory is free


def main() -> None:
    """Load, then answer."""
    predict = load(*sys.argv[1:])

    def run(arrays: Arrays) -> Arrays:
        places, seen = follow(predict, arrays["frames"], arrays["queries"])
        return {"pixels": places, "confidence": seen}

    serve(run)


if __name__ == "__main__":
    main()
