"""Masks: which pixels of a clip show which object.

``motion`` needs nothing but OpenCV and is the offline default: it sees what moves. ``selfie`` is MediaPipe's network
for people, in its own environment. SAM 2 and EdgeTAM start from the boxes of what ``motion`` sees, in the frame where
that is largest, and follow it with clean edges; their weights are looked for in a folder or the hub's local cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators import hub
from pipelines.estimators.card import Card, named
from pipelines.estimators.masks_linked import link, numbered
from pipelines.estimators.masks_motion import moving
from pipelines.estimators.mediapipe_home import mediapipe
from pipelines.estimators.shared import Network, network

Frames = Sequence[NDArray[np.uint8]]

MOTION = Card(
    name="motion",
    family="masks",
    summary="what moves against its background, by median backgrounds and optical flow",
    license="Apache-2.0",
)
SELFIE = Card(
    name="selfie",
    family="masks",
    summary="people, moving or not; needs `make mediapipe`",
    license="Apache-2.0",
)
SAM2 = Card(
    name="sam2",
    family="masks",
    summary="what moves, followed with clean edges through the whole clip",
    license="Apache-2.0",
    packages=("torch", "transformers"),
    weights="facebook/sam2.1-hiera-tiny",
)
EDGETAM = Card(
    name="edgetam",
    family="masks",
    summary="what moves, followed with clean edges through the whole clip; made for phones",
    license="Apache-2.0",
    packages=("torch", "transformers", "timm"),
    weights="yonigozlan/EdgeTAM-hf",
)
ESTIMATORS: tuple[Card, ...] = (MOTION, SELFIE, SAM2, EDGETAM)
"""The first is the default."""

_FILES = ("config.json", "model.safetensors")
_CLASSES = {SAM2.name: "Sam2Video", EDGETAM.name: "EdgeTamVideo"}

ALL = 0.9
"""Share of the clip that objects may cover; where they cover more there is nothing that they stand out from."""

Found = tuple[NDArray[np.uint8], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Masks:
    """K objects in F frames, the largest first.

    Attributes:
        labels: Which object each pixel shows, uint8 [F, H, W]: 0 for none, k for the k-th.
        scores: How surely an object's pixels are its own, on average, float32 [K] in [0, 1].
        kinds: ``person`` or ``object`` for each.
    """

    labels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A loaded estimator.

    Attributes:
        card: What it is.
        weights: Hash of its weights; "" where there are none or a package has them.
        find: Frames to labels and scores.
    """

    card: Card
    weights: str
    find: Callable[[Frames], Found]

    def __call__(self, frames: Frames) -> Masks:
        """The objects of a clip; at least one.

        Args:
            frames: F times RGB [H, W, 3], one shot.

        Raises:
            UnusableClip: ``no_object``, ``no_texture``, ``cut_inside``, ``not_finite``, ``out_of_memory``; of a process
                ``crashed``, ``timeout`` or ``estimator_failed``.
        """
        labels, scores = self.find(frames)
        person = self.card is SELFIE
        if not len(scores):
            raise UnusableClip("no_object", "nobody is in the clip" if person else "nothing moves by itself")
        covered = float((labels > 0).mean())
        if covered > ALL:
            raise UnusableClip(
                "no_object", f"objects cover {covered:.0%} of the clip: there is no background"
            )
        kind = "person" if person else "object"
        return Masks(labels=labels, scores=scores, kinds=(kind,) * len(scores))


def card_of(name: str) -> Card:
    """The card called ``name``.

    Raises:
        ConfigError: There is none.
    """
    return named(ESTIMATORS, name)


@cache
def load(name: str, *, weights: str = "", checkout: str = "", device: str = "auto") -> Estimator:
    """Load an estimator once per process.

    Args:
        name: Of one of :data:`ESTIMATORS`.
        weights: Folder of SAM 2's or EdgeTAM's files; "" for the hub's local cache.
        checkout: None of them has one.
        device: For SAM 2 and EdgeTAM: ``cuda``, ``cpu``, or ``auto``: a GPU if there is one.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: Weights, a package or MediaPipe's environment are missing; the hint says how to get them.
    """
    card, hashed = card_of(name), weights_hash(name, weights=weights)
    find: Callable[[Frames], Found] = _moving
    if card is SELFIE:
        find = _people(mediapipe())
    elif card is not MOTION:
        find = _followed(network("masks", name, weights=weights, device=device))
    return Estimator(card=card, weights=hashed, find=find)


def open_network(name: str, *, weights: str, device: str) -> Network:
    """SAM 2 or EdgeTAM as a :class:`pipelines.estimators.masks_sam.Follower`; errors as of :func:`load`."""
    from pipelines.estimators.masks_sam import Follower

    return Follower(_folder(card_of(name), weights), _CLASSES[name], device)


@cache
def weights_hash(name: str, *, weights: str = "", checkout: str = "") -> str:
    """What identifies the weights that :func:`load` would take: sha256 over their files; "" where a package has them.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: A file is not here.
    """
    card = card_of(name)
    if not card.weights:
        return ""
    folder = _folder(card, weights)
    return hub.sha256([folder / file for file in _FILES])


def _folder(card: Card, weights: str) -> Path:
    return hub.snapshot(card.name, card.weights, _FILES, weights)


def _moving(frames: Frames) -> Found:
    return link(moving(frames))


def _people(hosted: Network) -> Callable[[Frames], Found]:
    def find(frames: Frames) -> Found:
        mask: NDArray[Any] = hosted(frames=np.stack(frames), what=np.array("person"))["mask"]
        if not np.isfinite(mask).all():
            raise UnusableClip("not_finite", "selfie gives no finite probability for some pixels")
        return link(mask)

    return find


def _followed(follower: Network) -> Callable[[Frames], Found]:
    def find(frames: Frames) -> Found:
        labels, scores = _moving(frames)
        if not len(scores):
            return labels, scores
        frame = int(np.argmax((labels > 0).sum(axis=(1, 2))))
        boxes = np.array([_box(labels[frame] == one) for one in np.unique(labels[frame]) if one], np.float32)
        found = follower(frames=np.stack(frames), boxes=boxes, frame=np.array(frame))
        return numbered(found["labels"], found["sure"])

    return find


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask's pixels."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + width, y + height
