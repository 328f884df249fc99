"""Sparse tracks: the reference is the trails of tracked points as comets on black, the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.estimators import masks, queries, tracks
from pipelines.estimators.card import Card
from pipelines.estimators.joined import joined, joined_weights
from pipelines.modality import Clip, Frames, Modality, Signal, place
from renderers.canvas import comets


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of tracks.

    Attributes:
        estimator: What follows the points of a real clip: dis, alltracker or cotracker3.
        weights: File of its weights; "" for the published ones in the hub's local cache.
        checkout: Folder of its repository, where it has one.
        masks: Estimator of masks on whose objects points begin; "" for everywhere.
        masks_weights: Folder of its weights.
        count: At most this many points, drawn by lot from those that are seen long enough.
        spread: Points keep this part of an even grid's spacing between them; 0 leaves it to the lot.
        motion_bias: Points are drawn with weights motion ** motion_bias; 0 takes still and moving ones alike.
        min_seen: Points visible in less than this share of the frames are left out.
        min_motion: Clips whose liveliest tenth of points moves less than this share of the width are rejected.
        history: Frames that a trail is long (drawing only).
    """

    estimator: str = "dis"
    weights: str = place()
    checkout: str = place()
    masks: str = ""
    masks_weights: str = place()
    count: int = 64
    spread: float = 0.5
    motion_bias: float = 0.5
    min_seen: float = 0.3
    min_motion: float = 0.02
    history: int = field(default=50, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if self.estimator not in {card.name for card in tracks.ESTIMATORS}:
            raise ValueError(f"estimator must be {', '.join(card.name for card in tracks.ESTIMATORS)}")
        if self.masks not in {"", *(card.name for card in masks.ESTIMATORS)}:
            raise ValueError(f"masks must be {', '.join(card.name for card in masks.ESTIMATORS)}")
        if self.count < 1 or self.history < 1 or not 0 < self.min_seen <= 1 or self.min_motion < 0:
            raise ValueError(
                "count and history must be at least 1, min_seen in (0, 1], min_motion at least 0"
            )
        if not 0 <= self.spread <= 1 or self.motion_bias < 0:
            raise ValueError("spread must lie in [0, 1] and motion_bias be at least 0")


CANDIDATES = 2
"""Points are laid out this many times as often as they are wanted, in each of two frames."""

HELD = 0.35
"""Least share of the points seen in one of two neighbouring frames that is seen in both, unless a cut is between."""


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Points in pixels [F, N, 2], whether they are seen [F, N], and the confidence of that [F, N] in [0, 1]."""
    follow = tracks.load(params.estimator, weights=params.weights, checkout=params.checkout)
    where = None
    if params.masks:
        where = masks.load(params.masks, weights=params.masks_weights)(clip.frames).labels > 0
    asked = queries.grid(clip.frames, CANDIDATES * params.count, rng, where)
    if not len(asked):
        raise UnusableClip("no_texture", "nowhere is there texture that a point could be followed by")
    found = follow(clip.frames, asked)
    cut, held = _weakest(found.visible)
    if held < HELD:
        raise UnusableClip(
            "cut_inside",
            f"{held:.0%} of the points get from frame {cut} to the next: a cut, a whip pan or mere noise",
        )
    chosen = _chosen(found.pixels, found.visible, clip, params, rng)
    return {
        "tracks": found.pixels[:, chosen],
        "visible": found.visible[:, chosen],
        "confidence": found.confidence[:, chosen],
    }


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Points in pixels [F, N, 2] and whether they are seen [F, N]; with masks, those that are not the ground's."""
    assert clip.view is not None
    known = clip.view.tracks
    visible = known["visible"]
    if params.masks:
        visible = visible & (known["body"] != clip.view.bodies["ground"])
    chosen = _chosen(known["pixels"], visible, clip, params, rng)
    return {"tracks": known["pixels"][:, chosen], "visible": known["visible"][:, chosen]}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Comet trails on black, blue at the head, red at the tail."""
    size = (clip.timeline.width, clip.timeline.height)
    return comets.draw(signal["tracks"], signal["visible"], *size, history=params.history)


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many points there are, how much they are seen, and how far the liveliest tenth goes."""
    reach = queries.reach(signal["tracks"], signal["visible"])
    motion = float(np.quantile(reach, 0.9) / clip.timeline.width)
    if motion < params.min_motion:
        raise UnusableClip("static", f"the liveliest points move {motion:.1%} of the width")
    return {
        "tracks": signal["tracks"].shape[1],
        "tracks_seen": float(signal["visible"].mean()),
        "tracks_motion": motion,
    }


def _chosen(
    pixels: NDArray[Any], visible: NDArray[np.bool_], clip: Clip, params: Params, rng: np.random.Generator
) -> NDArray[np.int64]:
    good = np.flatnonzero(visible.mean(axis=0) >= params.min_seen)
    if not len(good):
        raise UnusableClip("no_tracks", f"no point is seen in {params.min_seen:.0%} of the frames")
    distance = params.spread * np.sqrt(clip.timeline.width * clip.timeline.height / params.count)
    lot = queries.choose(pixels[:, good], visible[:, good], params.count, distance, params.motion_bias, rng)
    return good[lot]


def _weakest(visible: NDArray[np.bool_]) -> tuple[int, float]:
    """Between which frame and the next the smallest share of the points goes on being seen, and that share."""
    both, either = visible[:-1] & visible[1:], visible[:-1] | visible[1:]
    share = both.sum(axis=1) / np.maximum(either.sum(axis=1), 1)
    frame = int(share.argmin())
    return frame, float(share[frame])


def _card(params: Params) -> Card:
    found = tracks.card_of(params.estimator)
    return joined([found, masks.card_of(params.masks)]) if params.masks else found


def _weights(params: Params) -> str:
    hashed = tracks.weights_hash(params.estimator, params.weights)
    if not params.masks:
        return hashed
    return joined_weights([hashed, masks.weights_hash(params.masks, weights=params.masks_weights)])


MODALITY = Modality(
    name="tracks",
    summary="tracked points as comet trails on black -> the clip",
    params=Params,
    signal=signal,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    estimator_of=_card,
    weights_of=_weights,
    version=3,
    steps=5000,
    schema=pa.schema(
        [("tracks", pa.int64()), ("tracks_seen", pa.float64()), ("tracks_motion", pa.float64())]
    ),
)
