"""Depth of a clip from its pictures alone: Depth Anything 2 and 3, Video Depth Anything, and depth from motion.

No package ships the networks' weights, and none are fetched from here: where weights, a checkout or a package are
missing, the error says the command that gets them, at once and without asking the network. ``motion`` needs no weights,
but a camera that moves, and gives depth only of what stands still.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import depth_motion
from pipelines.estimators.card import Card, named
from pipelines.estimators.depth_steady import CUT, balance, change, follow, shrunk
from pipelines.estimators.hub import sha256, snapshot
from pipelines.estimators.serving import HostedModel, checkout_of, python_of
from pipelines.estimators.shared import Network, network

Frames = Sequence[NDArray[np.uint8]]

_VIDEO = Card(
    name="video-depth-anything-small",
    family="depth",
    summary="inverse depth of a clip, relative to an unknown scale and shift, steady over time",
    license="Apache-2.0",
    packages=("torch",),
    weights="depth-anything/Video-Depth-Anything-Small",
    checkout="https://github.com/DepthAnything/Video-Depth-Anything",
)
_V2 = Card(
    name="depth-anything-v2-small",
    family="depth",
    summary="inverse depth of each frame, relative to an unknown scale and shift, made steady by optical flow",
    license="Apache-2.0",
    packages=("torch", "transformers"),
    weights="depth-anything/Depth-Anything-V2-Small-hf",
)
_V3 = Card(
    name="depth-anything-3-small",
    family="depth",
    summary="inverse depth of a clip, relative to an unknown scale, of all frames together",
    license="Apache-2.0",
    packages=("torch",),
    weights="depth-anything/DA3-SMALL",
    checkout="https://github.com/ByteDance-Seed/Depth-Anything-3",
)


def _sibling(card: Card, size: str, weights: str, commercial_ok: bool) -> Card:
    name = f"{card.name.rpartition('-')[0]}-{size}"
    licence = "Apache-2.0" if commercial_ok else "CC-BY-NC-4.0"
    return replace(card, name=name, weights=weights, license=licence, commercial_ok=commercial_ok)


ESTIMATORS: tuple[Card, ...] = (
    _V2,
    _sibling(_V2, "base", "depth-anything/Depth-Anything-V2-Base-hf", False),
    _sibling(_V2, "large", "depth-anything/Depth-Anything-V2-Large-hf", False),
    _VIDEO,
    _V3,
    _sibling(_V3, "base", "depth-anything/DA3-BASE", True),
    depth_motion.CARD,
)
"""The first is the default."""

_CHANNELS = {384: "small", 768: "base", 1024: "large"}


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Depth of F frames.

    Attributes:
        inverse: Inverse planar depth, bigger is nearer, [F, H, W] float32; finite where valid, else NaN.
        unknown: What it lacks to be 1 / metres; one number each for the whole clip.
        valid: Which pixels have a depth, [F, H, W]; None for all.
        confidence: As the network gives it, bigger is surer, [F, H, W] float32; None where it gives none.
        flicker: See :func:`pipelines.estimators.depth_steady.flicker`; None where nothing can be followed.
    """

    inverse: NDArray[np.float32]
    unknown: Literal["scale", "scale and shift"]
    valid: NDArray[np.bool_] | None = None
    confidence: NDArray[np.float32] | None
    flicker: float | None


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A loaded estimator.

    Attributes:
        card: What it is.
        weights: Hash of its weights.
        network: See :func:`open_network`.
    """

    card: Card
    weights: str
    network: Network

    def __call__(self, frames: Frames) -> Depth:
        """Depth of a clip.

        Args:
            frames: RGB [H, W, 3], one shot, all of one size.

        Raises:
            UnusableClip: The network gives NaN, the same depth everywhere, or does not fit into memory; its process
                failed, died or hung on the clip.
        """
        found = self.network(frames=np.stack(frames))
        return finish(self.card, frames, found["inverse"], found.get("confidence"))


def finish(
    card: Card, frames: Frames, inverse: NDArray[np.float32], confidence: NDArray[np.float32] | None
) -> Depth:
    """What follows a network, and needs no GPU: refuse, make steady, measure flicker.

    Args:
        card: Whose network.
        frames: RGB [H, W, 3].
        inverse: What it gave of them, [F, H, W].
        confidence: The same.

    Raises:
        UnusableClip: NaN, the same depth everywhere, or a cut.
    """
    ends = np.stack([inverse.min(axis=(1, 2)), inverse.max(axis=(1, 2))])  # NaN if any pixel of the frame is
    broken = ~np.isfinite(ends).all(axis=0)
    valid = np.isfinite(inverse) if card is depth_motion.CARD else None
    if valid is not None:  # it has holes
        ends = np.array([np.nanmin(inverse), np.nanmax(inverse)])
    elif broken.any():
        raise UnusableClip(
            "not_finite", f"{card.name} gives no finite depth in {broken.sum()} of {len(frames)} frames"
        )
    if np.ptp(ends) <= 1e-6 * np.abs(ends).max():
        raise UnusableClip("flat_depth", f"{card.name} sees the same depth everywhere")
    motion = follow(frames)
    share = motion.seen.mean(axis=(1, 2))
    if share.min(initial=1) < CUT:
        raise UnusableClip(
            "cut_inside",
            f"{share.min():.0%} of the pixels get from frame {share.argmin()} to the next: a cut, or a flash",
        )
    small = shrunk(inverse, motion)
    if valid is None and not card.checkout:  # the others look at all frames together
        scale, shift = balance(small, motion)
        inverse, small = (values * scale + shift for values in (inverse, small))
    return Depth(
        inverse=inverse,
        unknown="scale" if valid is not None or card.checkout == _V3.checkout else "scale and shift",
        valid=valid,
        confidence=confidence,
        flicker=change(small, motion),
    )


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
        weights: Folder of the weights or hub name of a snapshot in the local cache; "" for the card's.
        checkout: Folder of the card's git repository. Its own ``.venv``, where it has one, runs it.
        device: See :class:`pipelines.estimators.depth_anything.DepthAnything`.

    Raises:
        ConfigError: No such estimator, or the weights are another one's.
        EstimatorUnavailable: Weights, checkout or a package are missing here; the hint says how to get them.
    """
    hashed = weights_hash(name, weights=weights, checkout=checkout)
    if name == depth_motion.CARD.name:  # no network, so nothing to share
        return Estimator(card=depth_motion.CARD, weights="", network=depth_motion.from_pictures)
    found = network("depth", name, weights=weights, checkout=checkout, device=device)
    return Estimator(card=card_of(name), weights=hashed, network=found)


def open_network(name: str, *, weights: str, checkout: str, device: str) -> Network:
    """The network itself; arguments and errors as of :func:`load`.

    Returns:
        ``frames`` [F, H, W, 3] to ``inverse`` and, where the network says how sure it is, ``confidence``, [F, H, W].
    """
    card = card_of(name)
    path = _located(card, weights)
    if not card.checkout:
        from pipelines.estimators.depth_anything import DepthAnything

        return DepthAnything(path, device)
    home = _home(card, checkout)
    return HostedModel(
        "pipelines.estimators.depth_worker",
        [str(home or ""), name, str(path.resolve()), device],
        python=python_of(home),
        hint=f"Its process needs what {card.checkout} asks for, here or in the checkout's .venv.",
    )


atexit.register(load.cache_clear)  # so that processes end before the interpreter does


@cache
def weights_hash(name: str, *, weights: str = "", checkout: str = "") -> str:
    """What identifies the weights that :func:`load` would take: sha256 over their files; nothing is loaded.

    Raises:
        ConfigError: No such estimator, or the weights are another one's.
        EstimatorUnavailable: As :func:`load` raises it for what is missing.
    """
    card = card_of(name)
    if not card.weights:
        return ""
    if card.checkout:
        _home(card, checkout)
    path = _located(card, weights)
    _check_size(card, path)
    return sha256([path / file for file in _files(card)])


def _home(card: Card, checkout: str) -> Path | None:
    """The checkout; None where its package is installed instead."""
    return checkout_of(card, checkout, "depth_anything_3" if card.checkout == _V3.checkout else "")


def _files(card: Card) -> tuple[str, ...]:
    if card.name == _VIDEO.name:
        return ("video_depth_anything_vits.pth",)
    return ("config.json", "model.safetensors")


def _check_size(card: Card, path: Path) -> None:
    """Refuse weights of another published size, whose licence is another."""
    if card.name == _VIDEO.name:
        return
    config = json.loads((path / "config.json").read_text())
    channels = config.get("backbone_config", {}).get("hidden_size")
    found = _CHANNELS.get(channels, str(config.get("model_name", "")).rpartition("-")[2])
    family, _, size = card.name.rpartition("-")
    if found in ("small", "base", "large", "giant") and found != size:
        raise ConfigError(
            f"{card.name} was asked for, and the weights in {path} are of size {found}",
            f"Say estimator={family}-{found} if it is listed: its licence is another.",
        )


def _located(card: Card, weights: str) -> Path:
    try:
        return snapshot(card.name, card.weights, _files(card), weights)
    except EstimatorUnavailable as error:
        other = "Or say estimator=motion: it wants no weights, but a camera that moves."
        raise EstimatorUnavailable(error.message, f"{error.hint} {other}") from None
