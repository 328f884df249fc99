"""Is a clip worth keeping: cheap measures, limits, and one number to rank by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip

_LOOKS = 13
_BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What ``measure`` saw; luma is 0..1.

    Attributes:
        motion: Change between looks of the liveliest twentieth of the picture (in 8x8 blocks, thinned to
            about 192 pixels across), of full scale. A small mover in a still picture counts.
        brightness: Mean luma.
        contrast: Standard deviation of luma, mean over frames.
        sharpness: Standard deviation of the Laplacian of luma at full size, mean over three frames.
        black_fraction: Part of the frames that show nothing: 99 of 100 pixels below luma 0.1.
        quality: 0..1, to rank by: the geometric mean of motion / (motion + 0.02), contrast /
            (contrast + 0.1), sharpness / (sharpness + 0.02) and 1 - black_fraction. Each constant is the low
            end of ordinary footage, so such a clip scores above 0.5 and one bad term pulls it down.
    """

    motion: float
    brightness: float
    contrast: float
    sharpness: float
    black_fraction: float
    quality: float


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Limits for ``check``.

    Real clips (a talking head before a still wall is the least lively) have motion of 0.012 and more; a
    still picture under sensor noise of 6 levels has 0.003. Footage at 0.15 of its light has a brightness of
    0.06.

    Attributes:
        min_motion: Below is ``static``.
        min_brightness: Below is ``black``.
        max_black: More black frames than this part is ``black``.
    """

    min_motion: float = 0.004
    min_brightness: float = 0.02
    max_black: float = 0.5


def measure(frames: list[NDArray[np.uint8]]) -> Measures:
    """Measures a clip on 13 of its frames, evenly spread, thinned by rows and columns.

    Args:
        frames: [H, W, 3] RGB, one size; at least one.

    Returns:
        The measures; 5 ms for 49 frames of 768x448.
    """
    import cv2

    step = max(1, round(frames[0].shape[1] / 192))
    looks = np.linspace(0, len(frames) - 1, min(_LOOKS, len(frames))).round().astype(int)
    thin = [np.ascontiguousarray(frames[n][::step, ::step]) for n in looks]
    gray = np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in thin])
    full = [cv2.cvtColor(frames[looks[n]], cv2.COLOR_RGB2GRAY) for n in (0, len(looks) // 2, -1)]
    luma = gray.astype(np.float32) / np.float32(255)
    motion = _motion(luma)
    contrast = float(luma.std(axis=(1, 2)).mean())
    sharpness = float(np.mean([cv2.meanStdDev(cv2.Laplacian(one, cv2.CV_16S))[1] for one in full])) / 255
    black = float((np.percentile(gray, 99, axis=(1, 2)) < 0.1 * 255).mean())
    terms = (motion / (motion + 0.02), contrast / (contrast + 0.1), sharpness / (sharpness + 0.02), 1 - black)
    return Measures(
        motion=motion,
        brightness=float(luma.mean()),
        contrast=contrast,
        sharpness=sharpness,
        black_fraction=black,
        quality=float(np.prod(terms) ** (1 / len(terms))),
    )


def check(measures: Measures, limits: Selection | None = None) -> None:
    """Passes or raises.

    Args:
        measures: What ``measure`` saw.
        limits: The default ones when None.

    Raises:
        UnusableClip: reason ``black`` or ``static``.
    """
    limits = limits or Selection()
    if measures.black_fraction > limits.max_black or measures.brightness < limits.min_brightness:
        raise UnusableClip(
            "black", f"mean luma {measures.brightness:.3f}, {measures.black_fraction:.0%} of its frames black"
        )
    if measures.motion < limits.min_motion:
        raise UnusableClip("static", f"motion {measures.motion:.4f} is below {limits.min_motion}")


def _motion(luma: NDArray[np.float32]) -> float:
    if len(luma) < 2:
        return 0.0
    change = np.diff(luma, axis=0)
    count, height, width = change.shape
    rows, columns = max(1, height // _BLOCK), max(1, width // _BLOCK)
    change = change[:, : rows * _BLOCK, : columns * _BLOCK]
    # The mean inside a block before the absolute value: sensor noise cancels, real change does not.
    blocks = change.reshape(count, rows, -1, columns, change.shape[2] // columns).mean(axis=(2, 4))
    return float(np.percentile(np.abs(blocks).mean(axis=0), 95))
