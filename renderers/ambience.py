"""The sound of a place under a voice: beds of any length, channels that narrow the band, the mixture's levels.

Arrays of sound are float [samples, channels]; full scale is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from renderers.environments import Band
from renderers.levels import SPEECH_LUFS, limit_gain, to_lufs

Sound = NDArray[np.floating[Any]]

FADE = 0.25
"""Seconds in which the end of a bed fades into its start."""

SHORTEST = 0.2
"""Seconds of the shortest bed that can be looped: its fade is then 100 ms."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What a transmission passes.

    Attributes:
        low, high: Hz where it is 6 dB down.
        bed: Whether the bed comes through it too, or is heard beside it.
    """

    low: float
    high: float
    bed: bool


CHANNELS: dict[Band, Channel] = {
    "telephone": Channel(low=300, high=3400, bed=True),  # ITU-T G.712
    "car": Channel(low=100, high=7000, bed=True),  # wideband hands-free in vehicles, ITU-T P.1110
    "pa": Channel(low=350, high=6000, bed=False),  # a horn loudspeaker; the listener stands in the crowd
}


class Mix(NamedTuple):
    """Speech in a place, float32 [n, 2] each.

    Attributes:
        mixture: Exactly ``speech + bed``.
        speech, bed: The parts as they are in it.
        gain: That both got last, so that the mixture peaks where it may; at most one.
    """

    mixture: NDArray[np.float32]
    speech: NDArray[np.float32]
    bed: NDArray[np.float32]
    gain: float


def bed(samples: Sound, length: int, rng: np.random.Generator, rate: int) -> NDArray[np.float32]:
    """A stretch of a recording from a random start, looped where it is too short.

    Args:
        samples: [n, channels] of at least :data:`SHORTEST` seconds. Other than two channels are averaged.
        length: Samples wanted.
        rng: Draws the start.
        rate: Sample rate, Hz.

    Returns:
        [length, 2]. Where it loops, the end fades into the start with equal power, over :data:`FADE` seconds or half
        of the recording.

    Raises:
        ValueError: The recording is too short.
    """
    if len(samples) < SHORTEST * rate:
        raise ValueError(f"a bed of {len(samples) / rate:.3f} s is too short to loop: {SHORTEST} s")
    if samples.shape[1] != 2:
        samples = samples.mean(axis=1, keepdims=True).repeat(2, axis=1)
    fade = min(round(FADE * rate), len(samples) // 2)
    if length <= len(samples) - fade:
        start = rng.integers(len(samples) - length + 1)
        return np.array(samples[start : start + length], np.float32)
    angle = (np.pi / 2 * (np.arange(fade) + 0.5) / fade)[:, None]
    joint = samples[-fade:] * np.cos(angle) + samples[:fade] * np.sin(angle)
    loop = np.concatenate([joint, samples[fade:-fade]]).astype(np.float32)
    return np.take(loop, rng.integers(len(loop)) + np.arange(length), axis=0, mode="wrap")


def through(samples: Sound, rate: int, channel: Channel) -> NDArray[np.float32]:
    """What a channel passes: a Butterworth band pass, forth and back in time, so that nothing is late.

    Where the rate cannot carry the upper edge, only the lower one is cut.
    """
    if channel.high < 0.49 * rate:
        sections = signal.butter(4, (channel.low, channel.high), "bandpass", fs=rate, output="sos")
    else:
        sections = signal.butter(4, channel.low, "highpass", fs=rate, output="sos")
    padding = min(len(samples) - 1, round(0.05 * rate))
    return np.asarray(signal.sosfiltfilt(sections, samples, axis=0, padlen=padding), np.float32)


def mix(speech: Sound, bed: Sound, snr: float, rate: int, band: Band | None = None) -> Mix:
    """Speech at -23 LUFS over a bed, then both at one gain that keeps the true peak at -1 dBFS or below.

    Args:
        speech: [n, 2], reverberant.
        bed: [n, 2].
        snr: Speech over bed in integrated loudness, dB (:func:`renderers.levels.snr_db`).
        rate: Sample rate, Hz.
        band: The channel, applied before levels are set.

    Raises:
        ValueError: One of them is silent, or they differ in length.
    """
    if speech.shape != bed.shape:
        raise ValueError(f"speech {speech.shape} and bed {bed.shape} differ in shape")
    if band is not None:
        channel = CHANNELS[band]
        speech = through(speech, rate, channel)
        bed = through(bed, rate, channel) if channel.bed else bed
    try:
        speech = to_lufs(speech, rate)
    except ValueError as error:
        raise ValueError("the speech is silent") from error
    try:
        bed = to_lufs(bed, rate, SPEECH_LUFS - snr)
    except ValueError as error:
        raise ValueError("the bed is silent") from error
    gain = limit_gain(speech + bed, rate)
    parts = np.float32(gain) * np.stack([speech, bed]).astype(np.float32)
    return Mix(parts[0] + parts[1], parts[0], parts[1], gain)
