"""Networks that give cameras, in processes of their own.

``python -m pipelines.estimators.cameras_worker CHECKOUT MODEL DEVICE WEIGHTS...``. Each takes ``frames`` (RGB uint8
[F, H, W, 3]) and gives ``intrinsics`` [F, 3, 3] in pixels of these frames, ``extrinsics`` [F, 4, 4] (world to camera,
OpenCV axes) and planar ``depth`` [F, h, w] in their scale: of the whole picture at another size, NaN where the network
did not look. Both repositories' pixels span whole numbers to whole numbers, as ours do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.serving import Arrays, out_of_memory, placed, serve

RESOLUTION = 504
"""Pixels of the longer side that Depth Anything 3 looks at, its authors' choice; halved once where memory runs out."""

WIDTH, PATCH = 518, 14
"""Pixels of the width that SpatialTrackerV2 looks at, and what they are a multiple of."""

GRID, SUPPORT = 10, 756
"""SpatialTrackerV2 refines cameras by GRID² points of the first frame and SUPPORT of its own, its authors' choices."""


def depth_anything(weights: str, device: str) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Depth Anything 3 (arXiv 2511.10647): all frames together."""
    from depth_anything_3.api import DepthAnything3  # type: ignore[import-not-found]

    model = DepthAnything3.from_pretrained(weights).to(device).eval()

    def look(frames: NDArray[np.uint8], resolution: int = RESOLUTION) -> Arrays:
        try:
            found = model.inference(list(frames), process_res=resolution)
        except Exception as error:
            if resolution < RESOLUTION or not out_of_memory(error):
                raise
        else:
            intrinsics = np.array(found.intrinsics, np.float64)
            height, width = found.depth.shape[1:]
            intrinsics[:, :2] *= np.array([frames.shape[2] / width, frames.shape[1] / height])[:, None]
            return {
                "intrinsics": intrinsics,
                "extrinsics": np.array(found.extrinsics),
                "depth": np.array(found.depth),
            }
        return look(frames, RESOLUTION // 2)  # outside, so that the failed run's memory is free

    return look


def spatial_tracker(front: str, refiner: str, device: str) -> Callable[[NDArray[np.uint8]], Arrays]:
    """SpatialTrackerV2 (arXiv 2507.12462): a network for cameras and depth, and one that refines them by tracks."""
    import torch

    if device == "cpu":  # it moves its tensors to the GPU by itself
        torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign,assignment]
        bundle = import_module("models.SpaTrackV2.models.tracker3D.spatrack_modules.ba")
        back = bundle.pycolmap_to_batch_matrix
        setattr(bundle, back.__name__, lambda *args, device, **rest: back(*args, device="cpu", **rest))
    from models.SpaTrackV2.models.predictor import Predictor  # type: ignore[import-not-found]
    from models.SpaTrackV2.models.vggt4track.models.vggt_moe import (  # type: ignore[import-not-found]
        VGGT4Track,
    )

    # Else every clip would fail: it asks for any utils3d, and needs one from before 28 August 2025.
    from utils3d.torch import depth_edge  # type: ignore[import-not-found]  # noqa: F401

    first = VGGT4Track.from_pretrained(front).eval().to(device)
    second = Predictor.from_pretrained(refiner).eval()
    second.spatrack.track_num = SUPPORT
    second.to(device)  # returns nothing

    @torch.inference_mode()
    def look(frames: NDArray[np.uint8]) -> Arrays:
        torch.manual_seed(0)  # it adds points of its own by lot
        small, scale, above = fitted(frames)
        video = torch.from_numpy(small).permute(0, 3, 1, 2).float()
        count, height = len(small), small.shape[1]
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            begun = first(video[None].to(device) / 255)
            given = {
                "depth": begun["points_map"][..., 2].reshape(count, height, WIDTH).float().cpu().numpy(),
                "unc_metric": begun["unc_metric"].reshape(count, height, WIDTH).float().cpu().numpy() > 0.5,
                "intrs": begun["intrs"].reshape(count, 3, 3).float().cpu().numpy(),
                "extrs": begun["poses_pred"].reshape(count, 4, 4).float().cpu().numpy(),  # camera to world
            }
            c2w, intrinsics, points, *_ = second.forward(
                video,
                queries=grid(WIDTH, height),
                fps=1,
                full_point=False,
                iters_track=4,
                query_no_BA=True,
                fixed_cam=False,
                stage=1,
                support_frame=count - 1,
                replace_ratio=0.2,
                **given,
            )
        K = intrinsics.double().cpu().numpy()
        K[:, 1, 2] += above
        K[:, :2] /= scale[:, None]
        whole = round(frames.shape[1] * scale[1])
        depth = np.full((count, whole, WIDTH), np.nan, np.float32)
        depth[:, above : above + height] = points[:, 2].float().cpu().numpy()
        return {"intrinsics": K, "extrinsics": np.linalg.inv(c2w.double().cpu().numpy()), "depth": depth}

    return look


def fitted(frames: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64], int]:
    """Frames as SpatialTrackerV2 wants them: its width, and the middle rows where they would be higher than wide.

    Returns:
        Frames [F, h, 518, 3], their pixels per pixel across and down, and how many rows were cut off above.
    """
    height, width = frames.shape[1:3]
    whole = max(PATCH, round(height * WIDTH / width / PATCH) * PATCH)
    small = np.stack([cv2.resize(frame, (WIDTH, whole), interpolation=cv2.INTER_AREA) for frame in frames])
    above = max(0, (whole - WIDTH) // 2)
    return small[:, above : above + WIDTH], np.array([WIDTH / width, whole / height]), above


def grid(width: int, height: int) -> NDArray[np.float32]:
    """Points of frame 0 on an even grid, [N, 3]: frame, x, y."""
    x, y = np.meshgrid(*((np.arange(GRID) + 0.5) * side / GRID for side in (width, height)))
    return np.column_stack([np.zeros(x.size), x.ravel(), y.ravel()]).astype(np.float32)


def load(checkout: str, name: str, device: str, *weights: str) -> Callable[[NDArray[np.uint8]], Arrays]:
    """The model of an estimator's name."""
    device = placed(device)
    if checkout:
        sys.path[:0] = [str(Path(checkout) / "src"), checkout]
    make: Any = spatial_tracker if name.startswith("spatialtracker") else depth_anything
    found: Callable[[NDArray[np.uint8]], Arrays] = make(*weights, device)
    return found


def main() -> None:
    """Load, then answer."""
    with redirect_stdout(sys.stderr):  # what a repository prints while it loads is no answer
        look = load(*sys.argv[1:])
    serve(lambda arrays: look(arrays["frames"]))


if __name__ == "__main__":
    main()
