"""Sparse tracks: the reference is the trails of tracked points as comets on black, the target is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from renderers.canvas import comets


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of tracks.

    Attributes:
        count: At most this many points, drawn by lot from those that are seen long enough.
        min_seen: Points visible in less than this share of the frames are left out.
        min_motion: Clips whose liveliest tenth of points moves less than this share of the width are rejected.
        history: Frames that a trail is long (drawing only).
    """

    count: int = 64
    min_seen: float = 0.3
    min_motion: float = 0.02
    history: int = field(default=50, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if self.count < 1 or self.history < 1 or not 0 < self.min_seen <= 1 or self.min_motion < 0:
            raise ValueError(
                "count and history must be at least 1, min_seen in (0, 1], min_motion at least 0"
            )


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Points in pixels [F, N, 2] and whether they are seen [F, N]."""
    assert clip.view is not None
    tracks = clip.view.tracks
    good = np.flatnonzero(tracks["visible"].mean(axis=0) >= params.min_seen)
    chosen = np.sort(rng.permutation(good)[: params.count])
    if not len(chosen):
        raise UnusableClip("no_tracks", f"no point is seen in {params.min_seen:.0%} of the frames")
    return {"tracks": tracks["pixels"][:, chosen], "visible": tracks["visible"][:, chosen]}


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Comet trails on black, blue at the head, red at the tail."""
    size = (clip.timeline.width, clip.timeline.height)
    return comets.draw(signal["tracks"], signal["visible"], *size, history=params.history)


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many points there are, how much they are seen, and how far the liveliest tenth goes."""
    path = np.where(signal["visible"][..., None], signal["tracks"], np.nan)
    with np.errstate(invalid="ignore"):
        reach = np.nanmax(path, axis=0) - np.nanmin(path, axis=0)
    motion = float(np.quantile(np.linalg.norm(reach, axis=-1), 0.9) / clip.timeline.width)
    if motion < params.min_motion:
        raise UnusableClip("static", f"the liveliest points move {motion:.1%} of the width")
    return {
        "tracks": signal["tracks"].shape[1],
        "tracks_seen": float(signal["visible"].mean()),
        "tracks_motion": motion,
    }


MODALITY = Modality(
    name="tracks",
    summary="tracked points as comet trails on black -> the clip",
    params=Params,
    signal=None,
    exact=exact,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=5000,
    schema=pa.schema(
        [("tracks", pa.int64()), ("tracks_seen", pa.float64()), ("tracks_motion", pa.float64())]
    ),
)
