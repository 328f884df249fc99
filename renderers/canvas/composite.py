"""Several signals on one canvas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.canvas import skeleton


def depth_and_pose(
    depth: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    joints: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    *,
    threshold: float = 0.3,
) -> NDArray[np.uint8]:
    """Depth where a mask holds, black elsewhere, and people's skeletons over both: the Blender preview's look.

    Args:
        depth: Grey depth, uint8 [H, W, 3] (:func:`renderers.canvas.depth.gray`).
        mask: [H, W], true where depth shows; its inverse hides what it selects.
        joints: [P, 133, 2], pixels (:func:`renderers.canvas.skeleton.paint`).
        scores: [P, 133] in [0, 1].
        threshold: Joints below this score are not drawn.

    Returns:
        uint8 [H, W, 3], a new picture.
    """
    if mask.shape != depth.shape[:2]:
        raise ValueError(f"a mask of shape {mask.shape} does not go with a depth of shape {depth.shape}")
    return skeleton.paint(np.where(mask[..., None], depth, np.uint8(0)), joints, scores, threshold=threshold)
