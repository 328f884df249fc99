"""AllTracker in a process of its own: ``python -m pipelines.estimators.alltracker_worker CHECKOUT WEIGHTS DEVICE``.

Harley et al., AllTracker: Efficient Dense Point Tracking at High Resolution (arXiv 2506.07310); MIT. Its repository is
no package, and has a top-level ``utils`` that would clash with others'. It gives the flow from a clip's first frame to
all others; a query in a later frame is followed by running it onwards from there, and back on the reversed beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.flow import sample
from pipelines.estimators.serving import Arrays, out_of_memory, placed, serve

LONGEST = 1024
"""Pixels of the longer side that it looks at; larger clips are shrunk, as in the authors' demonstration."""

WINDOW, ITERATIONS = 16, 4
"""Frames that it looks at together, and refinements; the authors' values."""

Dense = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Frames [T, h, w, 3], T above 2, h and w multiples of 8 -> flow from the first [T, h, w, 2] in pixels (x, y), and
visibility times confidence [T, h, w] in [0, 1]."""


def load(checkout: str, weights: str, device: str) -> Dense:
    """The network with its weights."""
    import torch

    device = placed(device)
    if device == "cpu":  # it moves its pictures to the GPU by itself
        torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign,assignment]
    sys.path.insert(0, checkout)
    from nets.alltracker import Net  # type: ignore[import-not-found]

    state = torch.load(weights, map_location="cpu", weights_only=True)
    state = state.get("model", state)
    small = any(name.startswith("fnet.") for name in state)  # of the two networks the tiny one alone has it
    kind = {"use_basicencoder": True, "no_split": True} if small else {}
    network: Any = Net(
        WINDOW, init_weights=False, **kind
    )  # else it fetches an ImageNet network to begin with
    network.load_state_dict(state)
    network.eval().to(device)

    @torch.inference_mode()
    def dense(frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        pictures = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)[None].float()
        flow, sure, *_ = network.forward_sliding(pictures, iters=ITERATIONS, sw=None, is_training=False)
        return flow[0].permute(0, 2, 3, 1).cpu().numpy(), sure[0].prod(dim=1).cpu().numpy()

    return dense


def follow(
    dense: Dense, frames: NDArray[np.uint8], queries: NDArray[np.float64], longest: int = LONGEST
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Follow points through a clip.

    Args:
        dense: The network.
        frames: RGB [F, H, W, 3].
        queries: [N, 3]: frame, x, y (pixels, pixel centres at +0.5).
        longest: Pixels of the longer side that it looks at. Halved once where memory runs out.

    Returns:
        Places [F, N, 2] in pixels, and visibility times confidence [F, N] in [0, 1].
    """
    height, width = frames.shape[1:3]
    shrink = min(1.0, longest / max(height, width))
    size = tuple(max(8, int(side * shrink) // 8 * 8) for side in (width, height))
    scale = np.divide(size, (width, height))
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
    places = np.zeros((len(frames), len(queries), 2), np.float32)
    sure = np.ones((len(frames), len(queries)), np.float32)
    asked = queries[:, 0].astype(int)
    try:
        for first in np.unique(asked).tolist():
            these = np.flatnonzero(asked == first)
            points = queries[these, 1:] * scale
            places[first, these] = queries[these, 1:]
            for run in (slice(first, None), slice(first, None, -1)):
                clip = np.ascontiguousarray(small[run])
                if len(clip) == 1:
                    continue
                flow, certain = dense(clip if len(clip) > 2 else clip[[0, 1, 1]])  # it wants three or more
                for frame, index in list(enumerate(range(len(frames))[run]))[1:]:
                    places[index, these] = (points + sample(flow[frame], points)) / scale
                    sure[index, these] = sample(certain[frame][..., None], points)[:, 0]
    except Exception as error:
        if longest <= LONGEST // 2 or not out_of_memory(error):
            raise
    else:
        return places, sure
    return follow(dense, frames, queries, LONGEST // 2)  # outside, so that the failed run's memory is free


def main() -> None:
    """Load, then answer."""
    dense = load(*sys.argv[1:])

    def run(arrays: Arrays) -> Arrays:
        places, sure = follow(dense, arrays["frames"], arrays["queries"])
        return {"pixels": places, "confidence": sure}

    serve(run)


if __name__ == "__main__":
    main()
