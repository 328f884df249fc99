"""Where a shot ends, found while frames stream by, or by looking at all of them first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError
from pipelines.estimators.shots import transnet_cuts

_ACROSS = 128


def cut_test(
    name: str, look: Callable[[], Iterable[tuple[int, NDArray[np.uint8]]]]
) -> Callable[[int, NDArray[np.uint8]], bool]:
    """The shot detector called ``name``, for :func:`pipelines.clips.clips`.

    Args:
        name: ``content``, ``transnet`` (looks at the whole segment first) or ``off``.
        look: Gives the frames that will be asked about, (n, pixels [H, W, 3]); only ``transnet`` calls it.
            Small pictures are enough, and a decode of its own, so that full-size frames need not be kept.

    Returns:
        Told frames in order, says whether a cut lies between the frame it was told last and this one.

    Raises:
        ConfigError: No such detector.
        EstimatorUnavailable: Its package is not installed.
    """
    if name == "content":
        return CutDetector().push
    if name == "off":
        return lambda n, pixels: False
    if name != "transnet":
        raise ConfigError(f"unknown shot detector {name!r}", "There are: content, transnet, off.")
    cuts, passed = sorted(transnet_cuts(look())), 0

    def is_cut(n: int, pixels: NDArray[np.uint8]) -> bool:
        nonlocal passed
        before, passed = passed, bisect_right(cuts, n)
        return passed > before

    return is_cut


class CutDetector:
    """PySceneDetect's ContentDetector, one frame at a time.

    The score is the mean change of hue, saturation and value between neighbouring frames, thinned to about 128
    pixels across (0.15 ms a frame at 720p; real clips are cut where they are at 256). The answer is
    immediate, so what needs a look ahead is left out: dissolves, and PySceneDetect's FlashFilter (its MERGE
    mode speaks up to 15 frames late, its SUPPRESS mode hides real cuts after a flash), so a flash counts as
    a cut on both sides. For clips that is the safe error: a cut too many costs frames, a cut missed spoils a
    sample.

    Args:
        threshold: Score of a cut, in levels of 255. 27 is PySceneDetect's default.
    """

    def __init__(self, threshold: float = 27.0) -> None:
        from scenedetect.detectors import ContentDetector

        self._detector: Any = ContentDetector(threshold=threshold, min_scene_len=0)

    def push(self, index: int, pixels: NDArray[np.uint8]) -> bool:
        """Takes the next frame.

        Args:
            index: Its number in the stream.
            pixels: [H, W, 3] RGB; all frames of one size.

        Returns:
            True when a cut lies between the frame pushed before and this one.
        """
        from scenedetect import FrameTimecode

        step = max(1, round(pixels.shape[1] / _ACROSS))
        size = (pixels.shape[1] // step, pixels.shape[0] // step)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)  # thrice as quick as a strided copy
        thin = np.ascontiguousarray(small[..., ::-1])
        # The rate does not matter: without a minimum length nothing is counted in seconds.
        return bool(self._detector.process_frame(FrameTimecode(index, fps=24.0), thin))
