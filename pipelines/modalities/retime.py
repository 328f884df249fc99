"""Retime: the reference is a take, the target the same camera over other moments of the action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.views import View, twins


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of retime.

    Attributes:
        min_change: Pairs whose pictures differ by less than this share of full scale are rejected.
    """

    min_change: float = 0.002

    def __post_init__(self) -> None:
        if self.min_change < 0:
            raise ValueError("min_change must be at least 0")


def takes(views: Sequence[View], params: Params) -> list[tuple[View, View]]:
    """Every camera with its twin that sees other moments."""
    return twins(views, "retime")


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Which moment of the action every frame shows, in seconds, of the target and of the reference [F]."""
    assert clip.view is not None and clip.other is not None
    count = clip.timeline.frames
    return {
        "seconds": np.array(clip.view.row["seconds"][:count], np.float64),
        "reference_seconds": np.array(clip.other.row["seconds"][:count], np.float64),
    }


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The take at its own pace."""
    assert clip.other is not None
    return clip.other.frames


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """Mean pace of the target (0 is frozen, negative backwards) and the mean change of its pictures."""
    assert clip.view is not None and clip.other is not None
    pairs = list(zip(clip.frames, clip.other.frames, strict=True))[::4]
    change = float(np.mean([np.abs(a.astype(np.int16) - b).mean() / 255 for a, b in pairs]))
    if change < params.min_change:
        raise UnusableClip("unchanged", f"the retimed take differs by {change:.2%} of full scale")
    pace = np.ptp(signal["reference_seconds"]) and (
        (signal["seconds"][-1] - signal["seconds"][0])
        / (signal["reference_seconds"][-1] - signal["reference_seconds"][0])
    )
    return {"time": clip.view.row["time"], "pace": float(pace), "change": change}


MODALITY = Modality(
    name="retime",
    summary="a take -> the same camera over other moments: frozen, slow, reversed or shifted",
    params=Params,
    signal=None,
    exact=exact,
    takes=takes,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=3000,
    schema=pa.schema([("time", pa.string()), ("pace", pa.float64()), ("change", pa.float64())]),
)
