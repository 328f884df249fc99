"""MediaPipe in a process of its own: ``python -m pipelines.estimators.mediapipe_worker``; see ``mediapipe_home``.

A request is a clip, ``frames`` RGB uint8 [F, H, W, 3], and ``what`` is wanted of it, a text:

    pose       ``joints`` [F, N, 133, 2] float32 in pixels and ``scores`` [F, N, 133] float32 of the people in each
               frame, in no order, NaN and 0 where there are fewer than N
    person     ``mask``, the probability of a person, float16 [F, H, W] in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation  # type: ignore[import-not-found]
from numpy.typing import NDArray

from pipelines.estimators.mediapipe_people import CLOSE, around, cut, follow
from pipelines.estimators.serving import Arrays, serve


def pose(frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Everybody's joints in every frame."""
    people = follow(frames)
    most = max(map(len, people), default=0)
    joints = np.full((len(frames), most, 133, 2), np.nan, np.float32)
    scores = np.zeros((len(frames), most, 133), np.float32)
    for frame, found in enumerate(people):
        for one, (place, sure) in enumerate(found):
            joints[frame, one], scores[frame, one] = place, sure
    return {"joints": joints, "scores": scores}


def person(frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float16]]:
    """Where people are, by selfie segmentation of a crop around each."""
    mask = np.zeros(frames.shape[:3], np.float32)
    with SelfieSegmentation(model_selection=0) as network:
        for frame, found in enumerate(follow(frames)):
            for one in found:
                crop, corner = cut(frames[frame], around(one, CLOSE))
                paste(mask[frame], network.process(crop).segmentation_mask, corner)
    return {"mask": mask.astype(np.float16)}


def paste(mask: NDArray[np.float32], part: NDArray[np.float32], corner: tuple[int, int]) -> None:
    """The larger one of two masks, the second being a square at a corner."""
    (left, top), (height, width), size = corner, mask.shape, len(part)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size, width), min(top + size, height)
    whole = mask[y0:y1, x0:x1]
    np.maximum(whole, part[y0 - top : y1 - top, x0 - left : x1 - left], out=whole)


WHAT: dict[str, Callable[[NDArray[np.uint8]], Arrays]] = {"pose": pose, "person": person}


def main() -> None:
    """Answer."""

    def run(arrays: Arrays) -> Arrays:
        return WHAT[str(arrays["what"])](arrays["frames"])

    serve(run)


if __name__ == "__main__":
    main()
