"""How far what an estimator says of a clip is from the truth: one measure or a few for each family.

Every family has one main error, which an expected error is of, and figures that a sample of the family also has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from catalogs.errors import UnusableClip
from pipelines.estimators.wholebody import SEEN
from pipelines.truths import Truth
from renderers.canvas.skeleton import BODY
from renderers.scenes.cameras import project

Values = NDArray[np.floating[Any]]
Array = NDArray[np.float64]

FARTHEST = 100.0
"""Metres: what truly lies beyond is not counted, and aligned depths that do are taken for that."""

_TORSO = ((5, 12), (6, 11))
"""Shoulders and the hips across from them, in COCO-WholeBody."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a clip is graded with.

    Attributes:
        errors: By metric.
        figures: What a sample of that clip would be selected by, by column; None where the estimator cannot tell.
    """

    errors: dict[str, float]
    figures: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Family:
    """How estimators of a family are graded.

    Attributes:
        mark: Runs a loaded estimator on a clip.
        main: The metric that an expected error is of; less is better.
        figures: Columns that may tell of it, and whether it grows with them.
    """

    mark: Callable[[Callable[..., Any], Truth, np.random.Generator], Marks]
    main: str
    figures: Mapping[str, bool]


def depth_errors(inverse: Values, truth: Values, unknown: str) -> dict[str, float]:
    """Depth after alignment: AbsRel, delta < 1.25 (Eigen et al., arXiv 1406.2283) and the share that has a depth.

    Args:
        inverse: What was found, [F, H, W]; not finite where nothing was.
        truth: Planar depth in metres [F, H, W], inf where there is none.
        unknown: What is missing to be 1 / metres. A scale is the median of true over found inverse depths; scale and
            shift are their least squares (MiDaS, arXiv 1907.01341); one of each for the whole clip.
    """
    known = truth <= FARTHEST
    both = known & np.isfinite(inverse)
    if not both.any():
        raise UnusableClip("no_depth", "there is no pixel whose depth is both known and found")
    found, true = inverse[both].astype(np.float64), truth[both].astype(np.float64)
    if "shift" in unknown:
        scale, shift = np.polyfit(found, 1 / true, 1) if np.ptp(found) > 0 else (0.0, (1 / true).mean())
        found = scale * found + shift
    elif "scale" in unknown:
        found = found * np.median(1 / (true * np.maximum(found, 1e-12)))
    metres = 1 / np.maximum(found, 1 / FARTHEST)
    ratio = np.maximum(metres / true, true / metres)
    return {
        "abs_rel": float((np.abs(metres - true) / true).mean()),
        "delta1": float((ratio < 1.25).mean()),
        "covered": float(both.sum() / known.sum()),
    }


def picture_error(intrinsics: Array, extrinsics: Array, truth: Truth) -> float:
    """How far cameras put what frame 0 shows from where it is, as a share of the width: the median over all frames.

    It speaks of lens, rotation and path at once, also where a camera stands. The path found is scaled to the true one's
    by least squares.

    Args:
        intrinsics: What was found, K [F, 3, 3].
        extrinsics: World to camera [F, 4, 4].
        truth: The clip.
    """
    height, width = truth.frames[0].shape[:2]
    grid = np.mgrid[height // 18 : height : height // 9, width // 32 : width : width // 16]
    y, x = grid.reshape(2, -1)
    depth = truth.depth[0, y, x].astype(np.float64)
    seen = depth <= FARTHEST
    if not seen.any():
        raise UnusableClip("no_depth", "the first frame shows nothing but background")
    rays = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], axis=-1)[seen] @ np.linalg.inv(truth.intrinsics[0]).T
    found, true = (each @ np.linalg.inv(each[0]) for each in (extrinsics, truth.extrinsics))
    way, wanted = found[:, :3, 3], true[:, :3, 3]
    found[:, :3, 3] *= (way * wanted).sum() / max((way**2).sum(), 1e-12)
    places = [
        project(rays * depth[seen, None], k, w2c)[0]
        for k, w2c in ((intrinsics, found), (truth.intrinsics, true))
    ]
    inside = ((places[1] >= 0) & (places[1] < (width, height))).all(-1)
    miss = np.linalg.norm(places[0] - places[1], axis=-1)[inside]
    return float(np.median(np.nan_to_num(miss, nan=width)) / width)


def pose_errors(
    found: Values, scores: Values, joints: Values, visible: NDArray[np.bool_]
) -> dict[str, float]:
    """Joints: PCK@0.2 of the 17 of the body and of all 133, normalised by the torso.

    The torso's length is the larger of left shoulder to right hip and right shoulder to left hip in the true picture,
    the median over the frames. In every frame people are paired so that their bodies lie nearest. Joints that are
    truly seen count; those of somebody who was not found, or without a place, are wrong.

    Args:
        found: Pixels [F, Q, 133, 2], NaN where not known.
        scores: [F, Q, 133]; 0 is not known either.
        joints: The true ones [F, P, 133, 2].
        visible: Whether they are seen [F, P, 133].
    """
    visible = visible & np.isfinite(joints).all(-1)
    found = np.where((scores > 0)[..., None], found, np.nan)
    length = np.stack([np.linalg.norm(joints[:, :, a] - joints[:, :, b], axis=-1) for a, b in _TORSO])
    torso = np.nanmedian(length.max(axis=0), axis=0)  # [P]
    right = np.zeros(visible.shape, np.bool_)  # [F, P, 133]; apart is [P, Q, 133]
    for n in range(len(joints)):
        apart = np.linalg.norm(found[n, None] - joints[n, :, None], axis=-1) / torso[:, None, None]
        seen = visible[n, :, None, BODY]
        cost = np.where(seen, np.nan_to_num(np.minimum(apart[..., BODY], 1), nan=1.0), 0).sum(-1)
        for p, q in zip(*linear_sum_assignment(cost), strict=True):
            right[n, p] = apart[p, q] < 0.2
    body = visible[..., BODY]
    if not body.any():
        raise UnusableClip("no_person", "nobody is truly seen in the clip")
    pck = float(right[..., BODY][body].mean())
    return {"pck": pck, "pck_whole": float(right[visible].mean()), "miss": 1 - pck}


def mask_errors(found: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Bodies that move: intersection over union of each with the mask nearest to it, the clip over, and of all as one.

    Where nothing moves, whatever was found is wrong.

    Args:
        found: [F, H, W], 0 for none.
        labels: The true ones, [F, H, W].
    """
    true, mine = (np.unique(each[each > 0]) for each in (labels, found))
    overlap = np.array([[_iou(found == q, labels == p) for q in mine] for p in true]).reshape(
        len(true), len(mine)
    )
    pairs = linear_sum_assignment(-overlap)
    iou = float(overlap[pairs].sum() / len(true)) if len(true) else float(not len(mine))
    return {"iou": iou, "iou_all": _iou(found > 0, labels > 0), "miss": 1 - iou}


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0


def _depth(estimate: Callable[..., Any], truth: Truth, rng: np.random.Generator) -> Marks:
    found = estimate(truth.frames)
    errors = depth_errors(found.inverse, truth.depth, found.unknown)
    covered = float(np.isfinite(found.inverse).mean())
    return Marks(errors=errors, figures={"depth_flicker": found.flicker, "depth_covered": covered})


def _tracks(estimate: Callable[..., Any], truth: Truth, rng: np.random.Generator) -> Marks:
    from pipelines.estimators.tapvid import grade
    from pipelines.modalities.tracks import Params

    asked, pixels, visible = truth.follow(rng)
    if not len(asked):
        raise UnusableClip("no_texture", "nowhere is there texture that a point could be followed by")
    found = estimate(truth.frames, asked)
    height, width = truth.frames[0].shape[:2]
    made = grade(found, pixels, visible, asked, width, height)
    often = found.visible.mean(axis=0) >= Params().min_seen
    return Marks(
        errors={
            "d_avg": made.d_avg,
            "occlusion": made.occlusion,
            "median_px": made.median_px,
            "miss": 1 - made.d_avg,
        },
        figures={"tracks_seen": float(found.visible[:, often].mean()) if often.any() else None},
    )


def _cameras(estimate: Callable[..., Any], truth: Truth, rng: np.random.Generator) -> Marks:
    from pipelines.estimators.camera_errors import compare

    found = estimate(truth.frames)
    errors = compare(found, truth.intrinsics, truth.extrinsics)
    return Marks(
        errors={**errors, "picture_error": picture_error(found.intrinsics, found.extrinsics, truth)},
        figures={"camera_confidence": found.confidence, "reprojection_px": found.reprojection_px},
    )


def _pose(estimate: Callable[..., Any], truth: Truth, rng: np.random.Generator) -> Marks:
    if truth.joints is None:
        raise UnusableClip("no_person", "nobody is in the clip")
    found = estimate(truth.frames)
    body = np.where(found.scores >= SEEN, found.scores, 0)[..., BODY]
    return Marks(
        errors=pose_errors(found.joints, found.scores, *truth.joints),
        figures={"pose_score": float(body[body > 0].mean()) if body.any() else None},
    )


def _masks(estimate: Callable[..., Any], truth: Truth, rng: np.random.Generator) -> Marks:
    found, labels = estimate(truth.frames), truth.labels
    if set(found.kinds) == {"person"}:
        labels = np.where(np.isin(labels, truth.people), labels, 0)
    return Marks(
        errors=mask_errors(found.labels, labels),
        figures={"mask_score": float(np.mean(found.scores)) if len(found.scores) else None},
    )


FAMILIES = {
    "depth": Family(mark=_depth, main="abs_rel", figures={"depth_flicker": True, "depth_covered": False}),
    "tracks": Family(mark=_tracks, main="miss", figures={"tracks_seen": False}),
    "cameras": Family(
        mark=_cameras,
        main="picture_error",
        figures={"camera_confidence": False, "reprojection_px": True},
    ),
    "pose": Family(mark=_pose, main="miss", figures={"pose_score": False}),
    "masks": Family(mark=_masks, main="miss", figures={"mask_score": False}),
}
"""Families that can be graded."""
