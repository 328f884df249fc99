"""Cut on action: the reference is a take, the target the same action and timing from a very different camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.views import View, apart, both_cameras, synchronized


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of cut-on-action.

    Attributes:
        min_angle: Degrees that the two viewing directions differ by at least, in the first frame.
        min_scale: Or the ratio of the subject's sizes, at least: a cut from a wide shot to a close one.
    """

    min_angle: float = 30.0
    min_scale: float = 2.5

    def __post_init__(self) -> None:
        if not 0 < self.min_angle <= 180 or self.min_scale <= 1:
            raise ValueError("min_angle must lie in (0, 180] and min_scale exceed 1")


def takes(views: Sequence[View], params: Params) -> list[tuple[View, View]]:
    """Every two cameras that saw the same moments from far enough apart, in both orders."""
    return [
        (a, b)
        for a in views
        for b in views
        if a is not b
        and synchronized(a, b)
        and not a.row["twin"]
        and not b.row["twin"]
        and _differ(a, b, params)
    ]


def exact(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Both cameras per frame: K [F, 3, 3] in pixels, world to camera [F, 4, 4]."""
    return both_cameras(clip)


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """The other take, frame by frame at the same moments."""
    assert clip.other is not None
    return clip.other.frames


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How far apart the two cameras are in the first frame."""
    angle, distance = apart(signal["extrinsics"][0], signal["reference_extrinsics"][0])
    return {"view_angle_deg": angle, "baseline_m": distance}


def _differ(a: View, b: View, params: Params) -> bool:
    angle, _ = apart(a.extrinsics[0], b.extrinsics[0])
    small, large = sorted((a.row["subject_share"], b.row["subject_share"]))
    return angle >= params.min_angle or (small > 0 and large / small >= params.min_scale**2)


MODALITY = Modality(
    name="cut_on_action",
    summary="a take -> the same action at the same moments from a very different camera",
    params=Params,
    signal=None,
    exact=exact,
    takes=takes,
    canvas=canvas,
    columns=columns,
    estimator="exact",
    estimator_license="Apache-2.0",
    steps=15_000,
    schema=pa.schema([("view_angle_deg", pa.float64()), ("baseline_m", pa.float64())]),
)
