"""Pose: the reference is people's joints drawn as coloured skeletons on black, the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnusableClip
from pipelines.estimators import pose as estimators
from pipelines.estimators.card import Card
from pipelines.estimators.wholebody import SEEN, apart, box
from pipelines.modality import Clip, Frames, Modality, Signal, place
from renderers.canvas import skeleton


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of pose.

    Attributes:
        min_joints: Clips where fewer body joints of the best-seen person are visible, on average, are rejected (of 17).
        min_size: Clips where everybody is smaller than this part of the picture's height are rejected.
        estimator: Finds the joints in real clips; see ``avcontrol estimators``.
        weights: Folder of its weights; "" for its own.
        threshold: Joints below this score are not drawn (drawing only).
    """

    min_joints: float = 4.0
    min_size: float = 0.1
    estimator: str = estimators.ESTIMATORS[0].name
    weights: str = place()
    threshold: float = field(default=0.3, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.min_joints <= 17 or not 0 <= self.threshold <= 1:
            raise ValueError("min_joints must lie in [0, 17] and threshold in [0, 1]")
        if not 0 <= self.min_size <= 1:
            raise ValueError("min_size must lie in [0, 1]")
        try:
            estimators.card_of(self.estimator)
        except ConfigError as error:
            raise ValueError(f"estimator: {error}") from None


GOES_ON = 0.25
"""Body joints farther (median, in the person's size) from the frame before's are not of the same take."""

CHANGES = 4.0
"""Across a cut a picture changes this many times as much as it usually does from frame to frame."""


def estimator_of(params: Params) -> Card:
    """What finds the joints in real clips."""
    return estimators.card_of(params.estimator)


def weights_of(params: Params) -> str:
    """Hash of its weights."""
    return estimators.weights_hash(params.estimator, weights=params.weights)


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """COCO-WholeBody joints in pixels [F, P, 133, 2] (NaN: none) and how sure each is seen [F, P, 133] in [0, 1]."""
    found = estimators.load(params.estimator, weights=params.weights)(clip.frames)
    cut = cut_at(clip.frames, found)
    if cut is not None:
        raise UnusableClip(
            "cut_inside", f"at frame {cut} the picture changes, and nobody goes on from the one before"
        )
    return {"joints": found.joints, "scores": found.scores}


def cut_at(frames: Frames, found: estimators.Poses) -> int | None:
    """The first frame with people of whom none goes on from the frame before's, while the whole picture changes.

    Who goes on is told by the joints and not by the identities, which live through a gap.
    """
    if len(frames) < 3:
        return None
    small = np.stack([cv2.resize(frame, (32, 18), interpolation=cv2.INTER_AREA) for frame in frames])
    change = np.abs(np.diff(small.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
    usual = max(float(np.median(change)), 1.0)
    present = np.any(found.scores > 0, axis=-1)
    for frame in (np.flatnonzero(change > CHANGES * usual) + 1).tolist():
        here, before = present[frame], present[frame - 1]
        both = np.flatnonzero(here & before).tolist()
        going = [_moved(found, frame, person) < GOES_ON for person in both]
        if here.any() and before.any() and not any(going):
            return frame
    return None


def _moved(found: estimators.Poses, frame: int, person: int) -> float:
    now, before = ((found.joints[n, person], found.scores[n, person]) for n in (frame, frame - 1))
    return apart(now, before)


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """COCO-WholeBody joints in pixels [F, P, 133, 2] (NaN: none) and their scores [F, P, 133], 1 where visible."""
    assert clip.view is not None
    joints = clip.view.joints
    return {"joints": joints["pixels"], "scores": joints["visible"].astype(np.float32)}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """OpenPose-style body, hands and face on black."""
    size = (clip.timeline.width, clip.timeline.height)
    return [
        skeleton.draw(joints, scores, *size, threshold=params.threshold)
        for joints, scores in zip(signal["joints"], signal["scores"], strict=True)
    ]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Figures of a pose.

    Returns:
        How many people there are; how many of the best-seen one's 17 body joints are seen on average; how large the
        largest is (the longer side around what is seen of them, median over frames, as a part of the picture's height);
        and the mean score of the body joints that are seen.
    """
    scores = signal["scores"]
    people = scores.shape[1]
    if not people:
        raise UnusableClip("no_person", "nobody is in the clip")
    sure = np.where(scores >= SEEN, scores, 0)
    seen = skeleton.joints_seen(sure)
    if not seen or seen < params.min_joints:
        raise UnusableClip("no_person", f"{seen:.1f} of 17 body joints are visible on average")
    size = _size(signal["joints"], scores) / clip.timeline.height
    if size < params.min_size:
        raise UnusableClip("tiny_person", f"the largest person is {size:.0%} of the height")
    body = sure[:, :, skeleton.BODY]
    return {
        "people": people,
        "joints_seen": seen,
        "person_size": size,
        "pose_score": float(body[body > 0].mean()),
    }


def _size(joints: NDArray[Any], scores: NDArray[Any]) -> float:
    """The longer side of the largest person's box in pixels: the median over the frames that they are seen in."""
    boxes = np.array(
        [[box(*one) for one in zip(*frame, strict=True)] for frame in zip(joints, scores, strict=True)]
    )
    sides = np.maximum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    return max(float(np.median(side[np.isfinite(side)])) for side in sides.T if np.isfinite(side).any())


MODALITY = Modality(
    name="pose",
    summary="people's joints as skeletons on black -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=estimator_of,
    weights_of=weights_of,
    version=2,
    steps=3000,
    schema=pa.schema(
        [
            ("people", pa.int64()),
            ("joints_seen", pa.float64()),
            ("person_size", pa.float64()),
            ("pose_score", pa.float64()),
        ]
    ),
)
