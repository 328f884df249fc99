"""Speech to ambient: the reference is clean speech, the target the same speech in a described place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.errors import UnusableClip
from catalogs.root import Root
from pipelines import beds, sync
from pipelines.modality import Clip, Modality, Signal, Sound
from renderers import acoustics, ambience, levels
from renderers.environments import ENVIRONMENTS, Environment, named

SPEECH_RATE = 10_000
"""Samples a second that intelligibility is measured at (Taal et al. 2011)."""

TIERS = ((0.45, 0.65), (1.0, 0.55), (np.inf, 0.45))
"""Reverberation up to so many seconds (mean of 500 Hz to 2 kHz) must leave an STOI of so much."""

VOICE = ambience.Channel(low=40, high=23_000, bed=False)
"""Hz: recordings have an offset and rumble below the voice, which a room's response would multiply."""

_BOTH = 10 * np.log10(2)

BANDS = (500, 1000, 2000)


@dataclass(frozen=True, kw_only=True)
class Params:
    """Options of speech-to-ambient.

    Attributes:
        environment: Name of a place (``renderers/environments.py``), or ``mix`` for one drawn by lot for each clip.
        beds: Folder of recordings of places; ``auto`` for what installed packages bring, else made; ``made``.
        min_speech: Clips with less speech than this share of their time are rejected.
        intelligibility: Scales the least intelligibility that each place must leave; 0 turns the check off.
    """

    environment: str = "mix"
    beds: str = "auto"
    min_speech: float = 0.3
    intelligibility: float = 1.0

    def __post_init__(self) -> None:
        known = [place.name for place in ENVIRONMENTS]
        if self.environment not in ("mix", *known):
            raise ValueError(f"environment={self.environment} is not mix or one of {', '.join(known)}")
        if not 0 <= self.min_speech <= 1 or not 0 <= self.intelligibility <= 1.5:
            raise ValueError("min_speech must lie in [0, 1] and intelligibility in [0, 1.5]")


def prepare(root: Root, params: Params) -> Params:
    """Put the beds into the root; from here on ``beds`` is the path of their list there."""
    return dataclasses.replace(params, beds=beds.publish(root, params.beds))


def signal(clip: Clip, params: Params, rng: np.random.Generator) -> Signal:
    """The place, drawn by lot: its impulse response [n, 2] at the clip's rate, bed, level over the bed, and seeds."""
    assert clip.audio is not None and clip.local is not None
    fraction = _speech(clip)
    if fraction < params.min_speech:
        raise UnusableClip("no_speech", f"{fraction:.0%} of the clip is speech")
    place = (
        ENVIRONMENTS[rng.integers(len(ENVIRONMENTS))]
        if params.environment == "mix"
        else named(params.environment)
    )
    fit = beds.fitting(beds.listed(clip.local(params.beds)), place.beds)
    bed = fit[rng.integers(len(fit))]
    return {
        "environment": np.array(place.name),
        # Half precision is 66 dB under each sample, and half the bytes of what does not compress.
        "response": acoustics.impulse_response(place, clip.timeline.sample_rate, rng).astype(np.float16),
        "snr_db": np.array(round(float(rng.uniform(*place.snr)), 2)),
        "bed": np.array(bed["sha256"]),
        "bed_seed": np.array(int(rng.integers(2**31))),
        "speech_fraction": np.array(fraction),
    }


def sounds(clip: Clip, signal: Signal, params: Params) -> tuple[Sound, Sound]:
    """Clean speech at -23 LUFS, and the same in the place over its bed; both peak at -1 dBFS at most."""
    assert clip.audio is not None and clip.local is not None
    rate, place = clip.timeline.sample_rate, named(str(signal["environment"]))
    voice = np.ascontiguousarray(clip.audio.mean(axis=1, keepdims=True))  # it comes from one point
    try:
        # Two equal channels are 3 LU louder than one.
        voice = levels.to_lufs(ambience.through(voice, rate, VOICE), rate, levels.SPEECH_LUFS - _BOTH)
    except ValueError as error:
        raise UnusableClip("silence", str(error)) from None
    clean = np.repeat(np.asarray(voice * levels.limit_gain(voice, rate), np.float32), 2, axis=1)
    wet = acoustics.convolve(clean, signal["response"].astype(np.float32))
    recording = beds.samples(clip.local(_bed(clip, signal, params)["path"]), rate)
    under = ambience.bed(recording, len(wet), np.random.default_rng(int(signal["bed_seed"])), rate)
    mixed = ambience.mix(wet, under, float(signal["snr_db"]), rate, place.band)
    return clean, mixed.mixture


def columns(clip: Clip, signal: Signal, params: Params) -> dict[str, Any]:
    """What was drawn and what came of it; rejects what cannot be understood, is out of sync or clipped."""
    assert clip.audio is not None and clip.sounds is not None
    rate, place = clip.timeline.sample_rate, named(str(signal["environment"]))
    reference, target = clip.sounds
    if said := levels.problem(target, rate):
        raise UnusableClip(*said)
    offsets = [sync.waveform_offset_ms(clip.audio, sound, rate) for sound in (reference, target)]
    offset = sync.check(max(offsets, key=abs))
    understood = _intelligibility(reference, target, rate)
    wanted = params.intelligibility * tier(place)
    if understood < wanted:
        raise UnusableClip(
            "unintelligible", f"STOI {understood:.2f} in {place.name}, at least {wanted:.2f} is wanted"
        )
    bed, response = _bed(clip, signal, params), signal["response"].astype(np.float32)
    decay = acoustics.rt60(response, rate, BANDS) if place.indoors else {}
    return {
        "environment": place.name,
        "rt60_s": float(np.mean([decay[band] for band in (500, 1000, 2000)])) if decay else 0.0,
        "snr_db": float(signal["snr_db"]),
        "drr_db": float(acoustics.direct_to_reverberant(response, rate)),
        "band": place.band or "full",
        "stoi": understood,
        "speech_fraction": float(signal["speech_fraction"]),
        "lufs": levels.lufs(target, rate),
        "true_peak_db": levels.true_peak_db(target, rate),
        "bandwidth_hz": levels.bandwidth(clip.audio[:, :1], rate),
        "sync_ms": offset,
        "bed": bed["name"],
        "bed_sha256": bed["sha256"],
        "bed_license": bed["license"],
        "bed_attribution": bed["attribution"],
        "bed_seed": int(signal["bed_seed"]),
    }


def caption(clip: Clip, signal: Signal, params: Params) -> str:
    """A person speaks in the place, what is heard there, and the words if they are known."""
    place = named(str(signal["environment"]))
    name = str(_bed(clip, signal, params)["name"]).split("/")[-1].replace("_", " ").removeprefix("made ")
    snr = float(signal["snr_db"])
    level = "loud" if snr < 8 else "soft" if snr > 14 else "clear"
    text = f"A person speaks {place.place}, with {level} {name} in the background"
    words = " ".join(clip.caption.split())
    return f'{text}: "{words}"' if words else f"{text}."


def tier(place: Environment) -> float:
    """The least STOI that speech in a place must keep."""
    decay = float(np.mean(place.rt60[2:5])) if place.indoors else 0.0
    return next(least for limit, least in TIERS if decay <= limit)


def _bed(clip: Clip, signal: Signal, params: Params) -> beds.Bed:
    assert clip.local is not None
    return next(bed for bed in beds.listed(clip.local(params.beds)) if bed["sha256"] == str(signal["bed"]))


def _speech(clip: Clip) -> float:
    from pipelines.estimators.voice import speech_fraction

    assert clip.audio is not None
    return speech_fraction(clip.audio, clip.timeline.sample_rate)


def _intelligibility(reference: Sound, target: Sound, rate: int) -> float:
    """Short-time objective intelligibility of the target against the reference, about 0 to 1."""
    import warnings

    from pystoi import stoi
    from scipy.signal import resample_poly

    low = [resample_poly(sound.mean(axis=1), SPEECH_RATE, rate) for sound in (reference, target)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too little speech in it; that is 1e-5, and rejected
        return float(stoi(low[0], low[1], SPEECH_RATE))


MODALITY = Modality(
    name="speech_to_ambient",
    summary="clean speech -> the same speech in a described place",
    params=Params,
    signal=signal,
    columns=columns,
    estimator="room simulation",
    estimator_license="MIT",
    steps=5000,
    media="audio",
    sounds=sounds,
    caption=caption,
    prepare=prepare,
    schema=pa.schema(
        [
            ("environment", pa.string()),
            ("rt60_s", pa.float64()),
            ("snr_db", pa.float64()),
            ("drr_db", pa.float64()),
            ("band", pa.string()),
            ("stoi", pa.float64()),
            ("speech_fraction", pa.float64()),
            ("lufs", pa.float64()),
            ("true_peak_db", pa.float64()),
            ("bandwidth_hz", pa.float64()),
            ("sync_ms", pa.float64()),
            ("bed", pa.string()),
            ("bed_sha256", pa.string()),
            ("bed_license", pa.string()),
            ("bed_attribution", pa.string()),
            ("bed_seed", pa.int64()),
        ]
    ),
)
