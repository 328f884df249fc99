"""Point tracks: where points of a clip are in every frame, and whether they are seen.

``dis`` needs nothing but OpenCV and is the offline default. AllTracker and CoTracker3 are followed in processes of
their own from checkouts of their repositories; nothing is fetched from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip
from pipelines.estimators import flow
from pipelines.estimators.card import Card, named
from pipelines.estimators.serving import HostedModel, python_of
from pipelines.estimators.shared import Network, network

Frames = Sequence[NDArray[np.uint8]]
Array = NDArray[np.float64]

DIS = Card(
    name="dis",
    family="tracks",
    summary="places in pixels and visibility, by chained optical flow; a lost point does not come back",
    license="Apache-2.0",
)
ALLTRACKER = Card(
    name="alltracker",
    family="tracks",
    summary="places in pixels and visibility, by a network that follows every pixel at once",
    license="MIT",
    packages=("torch", "torchvision", "einops"),
    weights="aharley/alltracker",
    checkout="https://github.com/aharley/alltracker",
)
COTRACKER = Card(
    name="cotracker3",
    family="tracks",
    summary="places in pixels and visibility, by a network that follows points together",
    license="CC-BY-NC-4.0",
    commercial_ok=False,
    packages=("torch",),
    weights="facebook/cotracker3",
    checkout="https://github.com/facebookresearch/co-tracker",
)
ESTIMATORS: tuple[Card, ...] = (DIS, ALLTRACKER, COTRACKER)
"""The first is the default."""

_FILES = {ALLTRACKER.name: "alltracker.pth", COTRACKER.name: "scaled_offline.pth"}
_CODE = {ALLTRACKER.name: "nets/alltracker.py", COTRACKER.name: "cotracker/predictor.py"}
_WORKERS = {ALLTRACKER.name: "alltracker_worker", COTRACKER.name: "cotracker_worker"}
_SEEN = {DIS.name: float(np.exp(-1)), ALLTRACKER.name: 0.6, COTRACKER.name: 0.5}
"""Least confidence of a point that is seen; AllTracker's is what its authors evaluate with."""


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """N points in F frames.

    Attributes:
        pixels: Places in pixels, pixel centres at +0.5, [F, N, 2] float32, finite; a guess where a point is not seen.
        visible: [F, N]; never outside the picture, always in the frame of the query.
        confidence: That it is there and seen, in [0, 1], [F, N] float32.
    """

    pixels: NDArray[np.float32]
    visible: NDArray[np.bool_]
    confidence: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """A loaded estimator.

    Attributes:
        card: What it is.
        weights: Hash of its weights; "" where there are none.
        network: Frames and queries to places [F, N, 2] and confidence [F, N].
    """

    card: Card
    weights: str
    network: Callable[[Frames, Array], tuple[NDArray[np.float32], NDArray[np.float32]]]

    def __call__(self, frames: Frames, queries: Array) -> Tracks:
        """Follow points through a clip, onwards and back from the frames they are given in.

        Args:
            frames: F times RGB [H, W, 3], one shot.
            queries: [N, 3]: frame, x, y in pixels, inside the picture.

        Raises:
            UnusableClip: ``not_finite``, ``out_of_memory``, ``crashed``, ``timeout`` or ``estimator_failed``.
        """
        count, (height, width) = len(queries), frames[0].shape[:2]
        pixels, sure = self.network(frames, queries)
        if pixels.shape != (len(frames), count, 2) or sure.shape != (len(frames), count):
            raise UnusableClip(
                "estimator_failed", f"{self.card.name} gives arrays of another shape than asked for"
            )
        broken = ~(np.isfinite(pixels).all(-1) & np.isfinite(sure))
        if broken.any():
            raise UnusableClip(
                "not_finite", f"{self.card.name} gives no finite place for {broken.mean():.0%} of all"
            )
        asked = queries[:, 0].astype(int), np.arange(count)
        pixels[asked], sure[asked] = queries[:, 1:], 1
        inside = ((pixels >= 0) & (pixels < (width, height))).all(-1)
        return Tracks(pixels=pixels, visible=inside & (sure > _SEEN[self.card.name]), confidence=sure)


def card_of(name: str) -> Card:
    """The card called ``name``.

    Raises:
        ConfigError: There is none.
    """
    return named(ESTIMATORS, name)


@cache
def load(name: str, *, weights: str = "", checkout: str = "", device: str = "auto") -> Tracker:
    """Load an estimator once per process.

    Args:
        name: Of one of :data:`ESTIMATORS`.
        weights: File of the weights; "" for the published ones in the hub's local cache.
        checkout: Folder of its repository; its ``.venv`` is used where it has one.
        device: ``cuda``, ``cpu``, or ``auto``: a GPU if there is one.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: Code, weights or packages are missing.
    """
    card = card_of(name)
    if card is DIS:
        return Tracker(card=card, weights="", network=flow.follow)
    model = network("tracks", name, weights=weights, checkout=checkout, device=device)

    def follow(frames: Frames, queries: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found: Mapping[str, NDArray[Any]] = model(
            frames=np.stack(frames), queries=np.asarray(queries, np.float64)
        )
        return found["pixels"], found["confidence"]

    return Tracker(card=card, weights=weights_hash(name, weights), network=follow)


def open_network(name: str, *, weights: str, checkout: str, device: str) -> Network:
    """The network itself; arguments and errors as of :func:`load`.

    Returns:
        ``frames`` [F, H, W, 3] and ``queries`` [N, 3] to ``pixels`` [F, N, 2] and ``confidence`` [F, N].
    """
    card = card_of(name)
    folder = Path(checkout).expanduser().resolve()
    if not checkout or not (folder / _CODE[name]).is_file():
        missing = f"there is no {_CODE[name]} in {checkout}" if checkout else "its code is not here"
        home = card.checkout.rpartition("/")[2]
        raise EstimatorUnavailable(
            f"{name}: {missing}", f"Get it with `git clone {card.checkout}`, then `--set checkout={home}`."
        )
    return HostedModel(
        f"pipelines.estimators.{_WORKERS[name]}",
        [str(folder), str(_weights_file(card, weights)), device],
        python=python_of(folder),
        hint=f"Its process needs {', '.join(card.packages)}, here or in {folder / '.venv'}.",
    )


@cache
def weights_hash(name: str, weights: str = "") -> str:
    """SHA-256 of the weights' file; "" for an estimator without any.

    Raises:
        ConfigError: No such estimator.
        EstimatorUnavailable: The file is not here.
    """
    card = card_of(name)
    if not card.weights:
        return ""
    with _weights_file(card, weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_file(card: Card, weights: str) -> Path:
    if weights:
        path = Path(weights).expanduser().resolve()
        if not path.is_file():
            raise EstimatorUnavailable(f"{card.name}: there is no file {weights}", "Name the weights' file.")
        return path
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(card.weights, _FILES[card.name])
    if not isinstance(cached, str):
        raise EstimatorUnavailable(
            f"{card.name}: its weights are not here",
            f"Get them with `hf download {card.weights} {_FILES[card.name]}`.",
        )
    return Path(cached)
