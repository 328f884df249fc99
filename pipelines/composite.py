"""Composites: clips of one speaker each become a clip of several who take turns, with exact labels.

Nobody packages a clip of two people in dialogue under a free licence. Here every head is cut out of a clip of its own;
in its turn it shows and says a stretch of that clip, in the turns of others it shows a stretch where it is silent, to
and fro. The labels are known because the turns were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines import rttm
from pipelines.rttm import Turn


@dataclass(frozen=True, kw_only=True)
class Head:
    """A clip of one speaker.

    Attributes:
        name: Of the speaker in the labels.
        frames: RGB [H, W, 3] of any one size, at the composite's rate.
        samples: Its sound, [n, 2].
        silent: Start and end, seconds, of a stretch that it listens in: mouth shut, or moving without a sound.
    """

    name: str
    frames: Sequence[NDArray[np.uint8]]
    samples: NDArray[np.float32]
    silent: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What a head says in one turn: a stretch of its clip.

    Attributes:
        head: Index.
        start, end: Seconds in the head's clip.
        pause: Seconds of silence before it; less than 0 to talk over the one before.
    """

    head: int
    start: float
    end: float
    pause: float = 0.3


LEAD, TAIL = 0.4, 0.2
"""Seconds that a head shows more of its clip before and after its voice: mouths open before they sound."""

_FADE = 0.01  # seconds, against clicks


def turns(heads: Sequence[Head], utterances: Iterable[Utterance]) -> list[Turn]:
    """When who speaks in the composite, one turn an utterance, to the millisecond that RTTM has."""
    made, now = list[Turn](), 0.0
    for said in utterances:
        start = round(now + said.pause, 3)
        now = round(start + said.end - said.start, 3)
        made.append(Turn(start=start, end=now, speaker=heads[said.head].name))
    return made


def shown(
    heads: Sequence[Head], utterances: Sequence[Utterance], fps: Fraction, count: int
) -> NDArray[np.intp]:
    """Which frame of its clip each head shows in each of ``count`` frames of the composite, [count, P]."""
    times = (np.arange(count) + 0.5) / float(fps)
    which = np.empty((count, len(heads)), np.intp)
    for index, head in enumerate(heads):
        begin, end = head.silent
        seconds = begin + np.abs((times + end - begin) % (2 * (end - begin)) - (end - begin))  # to and fro
        for said, turn in zip(utterances, turns(heads, utterances), strict=True):
            if said.head == index:
                own = (times >= turn.start - LEAD) & (times < turn.end + TAIL)
                seconds[own] = (times + said.start - turn.start)[own]
        which[:, index] = np.clip(np.floor(seconds * float(fps)), 0, len(head.frames) - 1)
    return which


def sound(
    heads: Sequence[Head], utterances: Sequence[Utterance], rate: int, length: int
) -> NDArray[np.float32]:
    """What is heard: [length, 2] at ``rate``, each utterance with short fades, as loud as each other in RMS."""
    mixed = np.zeros((length, 2), np.float32)
    for said, turn in zip(utterances, turns(heads, utterances), strict=True):
        voice = heads[said.head].samples[round(said.start * rate) : round(said.end * rate)].astype(np.float32)
        at = round(turn.start * rate)
        voice = voice[: max(0, length - at)] * 0.05 / max(1e-6, float(np.sqrt(np.mean(np.square(voice)))))
        ramp = np.minimum(1, (np.arange(len(voice)) + 0.5) / (_FADE * rate))
        mixed[at : at + len(voice)] += voice * np.minimum(ramp, ramp[::-1])[:, None].astype(np.float32)
    return np.clip(mixed, -1, 1)


def pictures(
    heads: Sequence[Head], which: NDArray[np.intp], width: int, height: int
) -> list[NDArray[np.uint8]]:
    """The heads side by side, each centred in an equal part of the picture and cut to fill it.

    Args:
        heads: P of them.
        which: [F, P] frames; see :func:`shown`.
        width: Of the composite, pixels.
        height: The same.
    """
    edges = np.linspace(0, width, len(heads) + 1).round().astype(int)
    made = []
    for row in which:
        parts = []
        for head, index, wide in zip(heads, row, np.diff(edges), strict=True):
            frame = head.frames[index]
            across = min(frame.shape[1], round(frame.shape[0] * wide / height))
            down = min(frame.shape[0], round(across * height / wide))
            x, y = (frame.shape[1] - across) // 2, (frame.shape[0] - down) // 2
            how = cv2.INTER_AREA if across > wide else cv2.INTER_CUBIC
            parts.append(
                cv2.resize(frame[y : y + down, x : x + across], (int(wide), height), interpolation=how)
            )
        made.append(np.asarray(np.hstack(parts), np.uint8))
    return made


def write(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    samples: NDArray[np.float32],
    said: Iterable[Turn],
    fps: Fraction,
    rate: int,
) -> None:
    """Write a composite as MP4 (H.264 and AAC), and its turns beside it with the suffix ``.rttm``.

    Args:
        path: Of the MP4.
        frames: RGB [H, W, 3], sides even.
        samples: [n, 2] at ``rate``.
        said: The turns.
        fps: Frames a second.
        rate: Sample rate, Hz.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "veryfast"})
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="stereo")
        for index, pixels in enumerate(frames):
            if not index:
                video.height, video.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, 1 / fps
            container.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = rate, 0
        container.mux([*video.encode(None), *audio.encode(sound), *audio.encode(None)])
    path.with_suffix(".rttm").write_text(rttm.text(said, path.stem))
