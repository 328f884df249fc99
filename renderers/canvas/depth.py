"""Depth as pictures: grey for the model, and 16-bit logarithmic codes for storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (1.0, 99.0)
"""Of a clip's inverse depth, drawn black and white: a few wild pixels do not dim the rest."""

NEAR, FAR = 0.2, 140.0
"""Metres that codes reach. They are ln(FAR / NEAR) / 65534 apart, and so at most half of that off: 5.0e-5 relative."""

NOTHING = 65535
"""The code of what has no depth, or one out of reach."""

_STEP = float(np.log(FAR / NEAR)) / (NOTHING - 1)


def gray(
    depth: Sequence[NDArray[np.floating[Any]]] | NDArray[np.floating[Any]],
    *,
    inverse: bool = False,
    valid: NDArray[np.bool_] | None = None,
) -> list[NDArray[np.uint8]]:
    """A clip's depth as grey, near is bright: linear in inverse depth, with one scale for the whole clip.

    Args:
        depth: F times [H, W], metres, infinite, NaN or not positive where there is nothing; or inverse depth.
        inverse: It is inverse depth in any unit, bigger is nearer, and nothing is where it is not finite.
        valid: [F, H, W], false where there is nothing besides.

    Returns:
        F times uint8 [H, W, 3]: 255 at the near percentile of the clip, 0 at the far one and where there is nothing.
    """
    clip = [np.asarray(frame, np.float32) for frame in depth]
    seen = [np.isfinite(frame) if inverse else np.isfinite(frame) & (frame > 0) for frame in clip]
    if valid is not None:
        seen = [frame & mask for frame, mask in zip(seen, valid, strict=True)]
    if not inverse:
        clip = [
            np.reciprocal(frame, where=mask, out=frame.copy()) for frame, mask in zip(clip, seen, strict=True)
        ]
    skip = sum(frame.size for frame in clip) // 1_000_000 + 1  # a million pixels are enough for percentiles
    values = [frame[mask][::skip] for frame, mask in zip(clip, seen, strict=True)]
    if not any(part.size for part in values):
        return [np.zeros((*frame.shape, 3), np.uint8) for frame in clip]
    low, high = (float(end) for end in np.percentile(np.concatenate(values), PERCENTILES))
    scale = 255 / max(high - low, 1e-30)
    pictures = []
    for frame, mask in zip(clip, seen, strict=True):
        # Counted from the near end, so that a clip of one depth is white, not black as nothing is.
        bright = np.clip(255 - (high - np.where(mask, frame, low)) * scale, 0, 255)
        level = np.where(mask, np.rint(bright), 0).astype(np.uint8)
        pictures.append(np.repeat(level[..., None], 3, -1))
    return pictures


def encode_log(depth: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Metres as 16-bit codes of the same shape: 0 is :data:`NEAR`, 65534 is :data:`FAR`, logarithmic between.

    The relative error is at most 5.0e-5. What is infinite, NaN or out of reach is :data:`NOTHING`: absent, not wrong.
    """
    inside = (depth >= NEAR * (1 - 1e-6)) & (depth <= FAR * (1 + 1e-6))  # float32 may round the ends
    code = np.rint(np.log(np.where(inside, depth, NEAR).astype(np.float64) / NEAR) / _STEP)
    return np.where(inside, np.clip(code, 0, NOTHING - 1), NOTHING).astype(np.uint16)


def decode_log(code: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The metres of :func:`encode_log`'s codes, infinite for :data:`NOTHING`; encoding them gives the codes back."""
    return _METRES[code]


_METRES = np.append(NEAR * np.exp(_STEP * np.arange(NOTHING)), np.inf).astype(np.float32)
