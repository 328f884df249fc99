"""Poses: where the joints of the people of a clip are in every frame, and who is who.

``mediapipe`` works offline: its wheel has its networks inside; it runs in an environment of its own. DWPose's weights
are looked for in a folder or the hub's local cache; nothing is fetched from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators import people
from pipelines.estimators.card import Card, named
from pipelines.estimators.dwpose import FILES, DWPose
from pipelines.estimators.hub import sha256, snapshot
from pipelines.estimators.mediapipe_home import find_mediapipe, mediapipe
from pipelines.estimators.shared import Network, network

Frames = Sequence[NDArray[np.uint8]]

MEDIAPIPE = Card(
    name="mediapipe",
    family="pose",
    summary="133 whole-body joints in pixels (no small toes) of each person; needs `make mediapipe`",
    license="Apache-2.0",
)
DWPOSE = Card(
    name="dwpose",
    family="pose",
    summary="133 whole-body joints in pixels of each person; its training data is said to be non-commercial, disputed",
    license="Apache-2.0",
    packages=("rtmlib", "onnxruntime"),
    install="pip install onnxruntime && pip install --no-deps rtmlib==0.0.16",
    weights="yzd-v/DWPose",
)
ESTIMATORS: tuple[Card, ...] = (MEDIAPIPE, DWPOSE)
"""The first is the default."""


@dataclass(frozen=True, kw_only=True)
class Poses:
    """P people in F frames, from the left to the right of the picture.

    Attributes:
        joints: In the order of :data:`renderers.canvas.skeleton.NAMES`, in pixels, pixel centres at +0.5,
            [F, P, 133, 2] float32; NaN where a joint is not known, or a person not found in the frame.
        scores: How sure the estimator is to see the joint there, [F, P, 133] float32 in [0, 1]; 0 where it is NaN.
    """

    joints: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A loaded estimator.

    Attributes:
        card: What it is.
        weights: Hash of its weights; "" where a package has them.
        network: ``frames`` [F, H, W, 3] to ``joints`` [F, N, 133, 2] and ``scores`` [F, N, 133] of the people in each
            frame, in no order.
    """

    card: Card
    weights: str
    network: Network

    def __call__(self, frames: Frames) -> Poses:
        """The people of a clip; P is 0 where there are none.

        Args:
            frames: F times RGB [H, W, 3], one shot.

        Raises:
            UnusableClip: ``not_finite``, ``out_of_memory``, ``crashed``, ``timeout`` or ``estimator_failed``.
        """
        found = self.network(frames=np.stack(frames))
        joints, scores = found["joints"], found["scores"]
        broken = ~np.isfinite(scores) | ((scores > 0) & ~np.isfinite(joints).all(-1))
        if broken.any():
            raise UnusableClip(
                "not_finite", f"{self.card.name} gives no finite place for {broken.mean():.1%} of the joints"
            )
        joints, scores = people.sorted_out(joints, scores)
        return Poses(joints=joints, scores=scores)


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
        weights: Folder of DWPose's two files; "" for the hub's local cache.
        checkout: None of them has one.
        device: For DWPose: ``cuda``, ``cpu``, or ``auto``: a GPU if there is one.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: Weights, a package or MediaPipe's environment are missing; the hint says how to get them.
    """
    card = card_of(name)
    hashed = weights_hash(name, weights=weights)
    if card is DWPOSE:
        return Estimator(
            card=card, weights=hashed, network=network("pose", name, weights=weights, device=device)
        )
    hosted = mediapipe()

    def pose(frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return hosted(frames=frames, what=np.array("pose"))

    return Estimator(card=card, weights=hashed, network=pose)


def open_network(name: str, *, weights: str, device: str) -> Network:
    """DWPose's networks, see :attr:`Estimator.network`; arguments and errors as of :func:`load`."""
    return DWPose(snapshot(name, DWPOSE.weights, FILES, weights), device)


@cache
def weights_hash(name: str, *, weights: str = "", checkout: str = "") -> str:
    """What identifies the weights that :func:`load` would take: sha256 over their files; "" where a package has them.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: A file, or MediaPipe's environment, is not here.
    """
    if card_of(name) is MEDIAPIPE:
        find_mediapipe()
        return ""
    folder = snapshot(name, DWPOSE.weights, FILES, weights)
    return sha256([folder / file for file in FILES])
