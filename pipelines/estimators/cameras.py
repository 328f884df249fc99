"""Cameras of a clip from its pictures alone: where they stand, where they look, and how wide.

``colmap`` needs no weights and is the offline default: a ladder from a static camera over one that only turns or zooms
to structure from motion (:mod:`pipelines.estimators.camera_ladder`). Depth Anything 3 and SpatialTrackerV2 run in
processes of their own from checkouts of their repositories; nothing is fetched from here.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError, EstimatorUnavailable
from pipelines.estimators.card import Card, named
from pipelines.estimators.hub import sha256, snapshot
from pipelines.estimators.serving import HostedModel, checkout_of, python_of
from pipelines.estimators.shared import Network, network

log = logging.getLogger("avcontrol")

Frames = Sequence[NDArray[np.uint8]]
Array = NDArray[np.float64]

COLMAP = Card(
    name="colmap",
    family="cameras",
    summary="K in pixels and world-to-camera in a scale of its own: static, turning, or structure from motion",
    license="BSD-3-Clause",
    packages=("pycolmap",),
    extra="cameras",
)
DA3_BASE = Card(
    name="depth-anything-3-base",
    family="cameras",
    summary="K in pixels for each frame, world-to-camera and planar depth in one unknown scale, by a network",
    license="Apache-2.0",
    packages=("torch",),
    weights="depth-anything/DA3-BASE",
    checkout="https://github.com/ByteDance-Seed/Depth-Anything-3",
)
DA3_SMALL = replace(DA3_BASE, name="depth-anything-3-small", weights="depth-anything/DA3-SMALL")
SPATIALTRACKER = Card(
    name="spatialtracker-v2",
    family="cameras",
    summary="as depth-anything-3, for scenes that move; NON-COMMERCIAL",
    license="CC-BY-NC-4.0",
    commercial_ok=False,
    packages=("torch", "torchvision", "einops", "decord", "kornia"),
    weights="Yuxihenry/SpatialTrackerV2_Front",
    checkout="https://github.com/henry123-boy/SpaTrackerV2",
)
ESTIMATORS: tuple[Card, ...] = (COLMAP, DA3_BASE, DA3_SMALL, SPATIALTRACKER)
"""The first is the default."""

_FILES = ("model.safetensors", "config.json")
_REFINER = "Yuxihenry/SpatialTrackerV2-Offline"
"""SpatialTrackerV2 has a second network; a folder of weights has both in folders called like the repositories."""

PRIOR_FOV = 60.0
"""Degrees of a horizontal field of view where the pictures do not say: a 31 mm lens in terms of 35 mm film, between a
telephone's main camera (65 to 75) and what films are mostly shot with (40 to 55)."""


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Cameras of F frames of W x H pixels, without lens distortion.

    Attributes:
        intrinsics: K in pixels of the frames (pixel centres at +0.5), float64 [F, 3, 3].
        extrinsics: World to camera, OpenCV axes, float64 [F, 4, 4]; frame 0's is the identity, so the world is that
            camera's axes, in a scale of their own.
        motion: ``static`` (no frame differs), ``rotation`` (it turns or zooms, and stands) or ``moving``.
        registered: Whether a frame's camera was found, [F]; those between are interpolated (rotation by slerp), those
            at the ends repeat the nearest.
        reprojection_px: Median reprojection error in pixels; None where it could not be measured.
        points: Scene points in frame 0's camera axes, float32 [N, 3]; None where there are none.
        seen: In which frames each point was observed, [F, N].
        depth: Planar depth in the scale of the extrinsics, float32 [F, H, W], NaN where unknown; of models that give
            it.
        metric: Whether that scale is metres.
        confidence: In [0, 1], see :func:`confidence`.
    """

    intrinsics: Array
    extrinsics: Array
    motion: Literal["static", "rotation", "moving"]
    registered: NDArray[np.bool_]
    reprojection_px: float | None
    points: NDArray[np.float32] | None
    seen: NDArray[np.bool_] | None
    depth: NDArray[np.float32] | None
    metric: bool
    confidence: float

    @property
    def fov(self) -> Array:
        """Horizontal field of view, degrees [F]: 2 atan(W / 2 fx), of principal points in the middle, W = 2 cx."""
        return np.asarray(np.degrees(2 * np.arctan(self.intrinsics[:, 0, 2] / self.intrinsics[:, 0, 0])))

    @property
    def registered_fraction(self) -> float:
        """Share of the frames whose camera was found."""
        return float(self.registered.mean())


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A loaded estimator.

    Attributes:
        card: What it is.
        weights: Hash of its weights; "" where there are none.
        estimate: Frames to cameras.
    """

    card: Card
    weights: str
    estimate: Callable[[Frames], Cameras]

    def __call__(self, frames: Frames) -> Cameras:
        """Cameras of a clip.

        Args:
            frames: RGB uint8 [H, W, 3], one shot, all of one size.

        Raises:
            UnusableClip: ``too_short``, ``cut_inside``; of colmap ``no_texture`` and ``not_registered``; of networks
                ``not_finite`` and ``out_of_memory``; of all ``crashed``, ``timeout`` or ``estimator_failed``.
        """
        return self.estimate(frames)


def confidence(registered: float, error: float | None, width: int, *, measured: bool) -> float:
    """How far to trust cameras, in [0, 1].

    The share of registered frames, times 1 / (1 + (e / 2)²) for a reprojection error of e thousandths of the width
    (half where there is none), times a half where the field of view was assumed and not measured.
    """
    fit = 0.5 if error is None else 1 / (1 + (error / width * 500) ** 2)
    return registered * fit * (1.0 if measured else 0.5)


def matrices(focal: Array, width: int, height: int) -> Array:
    """K [F, 3, 3] of focal lengths [F] in pixels, with square pixels and the principal point in the middle."""
    found = np.zeros((len(focal), 3, 3))
    found[:, 0, 0] = found[:, 1, 1] = focal
    found[:, :, 2] = width / 2, height / 2, 1
    return found


def card_of(name: str) -> Card:
    """The card called ``name``.

    Raises:
        ConfigError: There is none.
    """
    return named(ESTIMATORS, name)


@cache
def load(
    name: str,
    *,
    weights: str = "",
    checkout: str = "",
    device: str = "auto",
    prior_fov: float = PRIOR_FOV,
    min_registered: float = 0.7,
) -> Estimator:
    """Load an estimator once per process.

    Args:
        name: Of one of :data:`ESTIMATORS`.
        weights: Folder of the weights; "" for the published ones in the hub's local cache.
        checkout: Folder of its repository; its ``.venv`` is used where it has one.
        device: ``cuda``, ``cpu``, or ``auto``: a GPU if there is one.
        prior_fov: Horizontal degrees that colmap assumes where the pictures do not say.
        min_registered: Least share of the frames for which colmap must find a camera.

    Raises:
        ConfigError: No such estimator, a value out of range, or the weights are another one's.
        EstimatorUnavailable: Code, weights or packages are missing; the hint says how to get them.
    """
    card = card_of(name)
    if not 1 <= prior_fov < 180 or not 0 <= min_registered <= 1:
        raise ConfigError("prior_fov must lie in [1, 180) degrees and min_registered in [0, 1]")
    hashed = weights_hash(name, weights=weights, checkout=checkout)
    if card is COLMAP:
        from pipelines.estimators.camera_ladder import Ladder

        if importlib.util.find_spec("pycolmap") is None:
            raise EstimatorUnavailable(
                "colmap: pycolmap is not installed", "Get it with `pip install pycolmap==4.2.1`."
            )
        model = HostedModel("pipelines.estimators.colmap_worker", hint="Its process needs pycolmap.")
        ladder = Ladder(reconstruct=model, prior_fov=prior_fov, min_registered=min_registered)
        return Estimator(card=card, weights=hashed, estimate=ladder)
    from pipelines.estimators.camera_networks import Networked

    if not card.commercial_ok:
        log.warning("%s is for non-commercial use only (%s)", name, card.license)
    found = network("cameras", name, weights=weights, checkout=checkout, device=device)
    return Estimator(card=card, weights=hashed, estimate=Networked(name=name, network=found))


atexit.register(load.cache_clear)  # so that processes end before the interpreter does


def open_network(name: str, *, weights: str, checkout: str, device: str) -> Network:
    """The network itself; arguments and errors as of :func:`load`.

    Returns:
        See :mod:`pipelines.estimators.cameras_worker`.
    """
    card = card_of(name)
    home = _home(card, checkout)
    folders = [str(folder) for folder in _folders(card, weights)]
    return HostedModel(
        "pipelines.estimators.cameras_worker",
        [str(home or ""), name, device, *folders],
        python=python_of(home),
        hint=f"Its process needs what {card.checkout} asks for, here or in the checkout's .venv.",
    )


@cache
def weights_hash(name: str, *, weights: str = "", checkout: str = "") -> str:
    """What identifies the weights that :func:`load` would take: sha256 over their files; "" where there are none.

    Raises:
        ConfigError: No such estimator, or the weights are another one's.
        EstimatorUnavailable: As :func:`load` raises it for what is missing.
    """
    card = card_of(name)
    if not card.weights:
        return ""
    _home(card, checkout)
    return sha256([folder / file for folder in _folders(card, weights) for file in _FILES])


def _home(card: Card, checkout: str) -> Path | None:
    """The checkout; None where its package is installed instead."""
    return checkout_of(card, checkout, "" if card is SPATIALTRACKER else "depth_anything_3")


def _folders(card: Card, weights: str) -> list[Path]:
    """Where its weights are: one folder for each of its networks."""
    if card is not SPATIALTRACKER:
        folder = snapshot(card.name, card.weights, _FILES, weights)
        size = str(json.loads((folder / "config.json").read_text()).get("model_name", "")).rpartition("-")[2]
        if size and not card.name.endswith(size):
            raise ConfigError(
                f"{card.name} was asked for, and the weights in {folder} are of size {size}",
                f"Say estimator=depth-anything-3-{size} if it is listed: its licence is another.",
            )
        return [folder]
    repositories = (card.weights, _REFINER)
    folders = [f"{weights}/{each.rpartition('/')[2]}" if weights else "" for each in repositories]
    return [
        snapshot(card.name, each, _FILES, folder) for each, folder in zip(repositories, folders, strict=True)
    ]
