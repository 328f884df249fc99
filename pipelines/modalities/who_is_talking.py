"""Who is talking: the reference is a box for each head, green while it speaks, the target the clip with its sound."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines import rttm
from pipelines.estimators import blazeface, faces, lips, speakers, voice
from pipelines.estimators.faces import Faces
from pipelines.modality import Clip, Frames, Modality, Signal
from pipelines.rttm import Turn
from renderers.canvas import speakers as boxes


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of who-is-talking.

    Attributes:
        overlap: Heads speak at the same time, or nobody does; without it somebody always does, and is held through
            pauses until another begins.
        min_speech: Clips with less speech than this share of their time are rejected.
        min_margin: Clips in which a turn's speaker is less sure than this are rejected (the signal does not change).
    """

    overlap: bool = False
    min_speech: float = 0.2
    min_margin: float = field(default=0.4, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if not 0 <= self.min_speech <= 1 or self.min_margin < 0:
            raise ValueError("min_speech must lie in [0, 1] and min_margin be at least 0")


CERTAIN = 10.0
"""Margin where there is no other choice."""


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """Heads and who speaks.

    ``boxes`` [F, P, 4], ``mouths`` and ``scores`` [F, P] as :class:`pipelines.estimators.faces.Faces` has them;
    ``speaking`` [F, P]; ``margin``, see :func:`talking`; ``speech``, the share of the time; ``labelled``, whether turns
    came with the source.
    """
    assert clip.audio is not None
    heard, turns = voice.speech(clip.audio, clip.timeline.sample_rate), _labels(clip)
    share = float(np.diff(heard, axis=1).sum() / clip.timeline.duration)
    if share < params.min_speech if turns is None else not turns:
        raise UnusableClip("no_speech", f"{share:.0%} of the clip is speech")
    seen = faces.track(clip.frames)
    if not seen.boxes.shape[1]:
        raise UnusableClip("no_face", "no face is seen in half of the clip")
    speaking, margin = talking(seen, clip, heard, turns, params.overlap)
    return {
        "boxes": seen.boxes,
        "mouths": seen.mouths,
        "scores": seen.scores,
        "speaking": speaking,
        "margin": np.array(margin),
        "speech": np.array(share),
        "labelled": np.array(turns is not None),
    }


def talking(
    seen: Faces, clip: Clip, heard: NDArray[np.float64], turns: Sequence[Turn] | None, overlap: bool
) -> tuple[NDArray[np.bool_], float]:
    """Which of the faces speak in each frame.

    Args:
        seen: The faces.
        clip: Its sound and timeline.
        heard: Stretches of speech, seconds, [N, 2].
        turns: Who speaks when, where that is known: then only which face has which name is estimated.
        overlap: Whether several may speak at a time, or none.

    Returns:
        [F, P], and the least margin (nats per 0.8 s) of a turn or, with ``turns``, of a name.

    Raises:
        UnusableClip: ``off_screen``: there are more speakers than faces.
    """
    assert clip.audio is not None
    fps, count = float(clip.timeline.fps), clip.timeline.frames
    level = lips.levels(clip.audio, clip.timeline.sample_rate, fps, count)
    scores, voiced = lips.evidence(seen.mouths, level, fps), lips.covered(heard, fps, count)
    if turns is not None:
        try:
            face, margin = speakers.match(turns, scores, fps)
        except ValueError as error:
            raise UnusableClip(
                "off_screen", f"the RTTM file has more speakers than there are faces: {error}"
            ) from None
        if overlap:
            speaking = np.zeros(scores.shape, bool)
            for turn in turns:
                speaking[:, face[turn.speaker]] |= lips.covered(
                    np.array([[turn.start, turn.end]]), fps, count
                )
        else:
            speaking = _exclusive(speakers.given(turns, face, count, fps), scores.shape)
        return speaking, min(margin, CERTAIN)
    if overlap:
        anybody = np.array([[0, count, 0]])
        margin = speakers.margins(scores.max(axis=1, keepdims=True), voiced, anybody, fps).min()
        return speakers.overlapping(scores, voiced, fps), float(margin)
    assigned = speakers.assign(scores, voiced, fps)
    return _exclusive(assigned.turns, scores.shape), float(assigned.margins.min())


def canvas(clip: Clip, signal: Signal, params: Params) -> Frames:
    """Boxes on black."""
    size = clip.timeline.width, clip.timeline.height
    return [
        boxes.draw(heads, speaking, *size)
        for heads, speaking in zip(signal["boxes"], signal["speaking"], strict=True)
    ]


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """How many there are and speak, how often the word changes, how evenly it is shared, and how sure that is."""
    margin, speaking = float(signal["margin"]), signal["speaking"]
    if margin < params.min_margin:
        raise UnusableClip(
            "uncertain",
            f"who speaks is sure by {margin:.2f} at the least certain place, not {params.min_margin:g}",
        )
    heights = signal["boxes"][..., 3] - signal["boxes"][..., 1]
    begins = speaking & ~np.roll(speaking, 1, axis=0)
    begins[0] = speaking[0]
    return {
        "faces": speaking.shape[1],
        "speakers": int(speaking.any(axis=0).sum()),
        "turns": int(begins.sum()),
        "talk_share": float(speaking.mean(axis=0).max()),
        "speech_fraction": float(signal["speech"]),
        "margin": margin,
        "labelled": bool(signal["labelled"]),
        "head_height": float(np.nanmedian(heights, axis=0).min() / clip.timeline.height),
    }


def _labels(clip: Clip) -> list[Turn] | None:
    if not clip.turns:
        return None
    try:
        turns = rttm.parse(clip.turns)
    except ValueError as error:
        raise UnusableClip("bad_rttm", f"the RTTM file beside the source: {error}") from None
    return rttm.cut(turns, clip.start, clip.start + float(clip.timeline.duration))


def _exclusive(turns: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    speaking = np.zeros(shape, bool)
    for begin, end, face in turns:
        speaking[begin:end, face] = True
    return speaking


MODALITY = Modality(
    name="who_is_talking",
    summary="a box for each head, green while it speaks -> the clip with its sound",
    params=Params,
    signal=signal,
    canvas=canvas,
    columns=columns,
    estimator=f"{blazeface.NAME}+{voice.NAME}",
    estimator_license=f"{blazeface.LICENSE} AND {voice.LICENSE}",
    weights=hashlib.sha256("".join([*blazeface.WEIGHTS.values(), voice.WEIGHTS]).encode()).hexdigest(),
    steps=3500,
    media="joint",
    schema=pa.schema(
        [
            ("faces", pa.int64()),
            ("speakers", pa.int64()),
            ("turns", pa.int64()),
            ("talk_share", pa.float64()),
            ("speech_fraction", pa.float64()),
            ("margin", pa.float64()),
            ("labelled", pa.bool_()),
            ("head_height", pa.float64()),
        ]
    ),
)
