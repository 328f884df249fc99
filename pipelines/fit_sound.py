"""The sounds of a pair that others made, each cut to the span of its clip."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from catalogs.errors import UnusableClip
from catalogs.root import Root, file_sha256, storage_errors
from pipelines.audio import read_audio
from pipelines.films import FIT, RATE
from pipelines.probe import Probe, SoundProbe, probe, probe_sound
from pipelines.sample import made_with
from pipelines.timeline import TICKS_PER_SECOND, Timeline
from pipelines.writers import write_audio


def beside_pictures(
    root: Root, media: Mapping[str, Path], timeline: Timeline, fitted: bool
) -> dict[str, Any]:
    """The sounds beside pictures: those given, or for the target's what its own file holds."""
    row: dict[str, Any] = {}
    rates = {}
    for name in ("audio", "reference_audio"):
        if name in media:
            row[name], rates[name] = _cut(root, media[name], timeline.duration, fitted)
    target = probe(media["video"])
    if "audio" not in row and target.audio is not None:
        assert target.video is not None
        rates["audio"] = rates.get("reference_audio", RATE)
        samples = round(timeline.duration * rates["audio"])
        row["audio"] = _written(root, target, target.video.start, samples, rates["audio"])
    return row | _rate(rates, timeline.duration)


def alone(root: Root, media: Mapping[str, Path]) -> dict[str, Any]:
    """A pair of sounds alone, as long as its target is.

    Raises:
        UnusableClip: reason ``audio_span``.
    """
    target = probe_sound(media["audio"])
    samples = round(target.duration * target.audio.sample_rate)
    duration, rates = Fraction(samples, target.audio.sample_rate), {}
    row: dict[str, Any] = {}
    for name in ("audio", "reference_audio"):
        row[name], rates[name] = _cut(root, media[name], duration, False)
    said = _rate(rates, duration)
    return {
        **row,
        **said,
        "streams": "audio",
        "reference_downscale": 1,
        "span_start": 0,
        "span_end": int(duration * TICKS_PER_SECOND),
        "timeline": f"{said['audio_samples']}+{said['sample_rate']}",
        "made_with": made_with(),
    }


def _rate(rates: Mapping[str, int], duration: Fraction) -> dict[str, Any]:
    if not rates:
        return {}
    if len(set(rates.values())) > 1:
        raise UnusableClip(
            "unequal_rates", f"the sounds have {' and '.join(map(str, rates.values()))} samples a second"
        )
    rate = next(iter(rates.values()))
    return {"sample_rate": rate, "audio_samples": round(duration * rate)}


def _cut(root: Root, path: Path, duration: Fraction, fitted: bool) -> tuple[str, int]:
    """A sound that spans so many seconds, and its rate: as it is if it is FLAC and exact, else cut and written anew.

    Raises:
        UnusableClip: reason ``audio_span``: more than 20 ms too long or too short, and not to be fitted.
    """
    found = probe_sound(path)
    rate = found.audio.sample_rate
    if path.suffix.lower() == ".flac" and found.duration * rate == round(duration * rate):
        return stored_copy(root, path), rate
    if abs(found.duration - duration) > Fraction(1, 50) and not fitted:
        raise UnusableClip(
            "audio_span",
            f"{path.name} lasts {float(found.duration):.3f} s, the clip {float(duration):.3f} s",
            FIT,
        )
    return _written(root, found, found.audio.start, round(duration * RATE), RATE), RATE


def _written(root: Root, found: Probe | SoundProbe, start: Fraction, samples: int, rate: int) -> str:
    sound = read_audio(found, start, samples, rate)
    assert sound is not None
    scratch = root.scratch(".flac")
    write_audio(scratch, sound, rate)
    return root.put(scratch, "media")


def stored_copy(root: Root, path: Path) -> str:
    """A copy of a file in the root."""
    sha256 = file_sha256(path)
    relative = f"media/{sha256[:2]}/{sha256}{path.suffix.lower()}"
    if root.exists(relative):
        return relative
    scratch = root.scratch(path.suffix.lower())
    with storage_errors(scratch):
        shutil.copyfile(path, scratch)
    return root.put(scratch, "media")
