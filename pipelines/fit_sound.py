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
    target, given, duration = probe(media["video"]), _given(media), timeline.duration
    if not given and target.audio is None:
        return {}
    rate = _rate(given, duration, fitted)
    row: dict[str, Any] = {name: _cut(root, found, duration, rate, fitted) for name, found in given.items()}
    if "audio" not in row and target.audio is not None:
        assert target.video is not None
        row["audio"] = _written(root, target, target.video.start, round(duration * rate), rate)
    return {**row, "sample_rate": rate, "audio_samples": round(duration * rate)}


def alone(root: Root, media: Mapping[str, Path], fitted: bool) -> dict[str, Any]:
    """A pair of sounds alone, as long as its target is.

    Raises:
        UnusableClip: reason ``audio_span`` or ``unequal_rates``.
    """
    given = _given(media)
    target = given["audio"]
    own = target.audio.sample_rate
    duration = Fraction(round(target.duration * own), own)
    rate = _rate(given, duration, fitted)
    samples = round(duration * rate)
    return {
        **{name: _cut(root, found, duration, rate, fitted) for name, found in given.items()},
        "sample_rate": rate,
        "audio_samples": samples,
        "streams": "audio",
        "reference_downscale": 1,
        "span_start": 0,
        "span_end": int(duration * TICKS_PER_SECOND),
        "timeline": f"{samples}+{rate}",
        "made_with": made_with(),
    }


def _given(media: Mapping[str, Path]) -> dict[str, SoundProbe]:
    return {name: probe_sound(media[name]) for name in ("audio", "reference_audio") if name in media}


def _rate(given: Mapping[str, SoundProbe], duration: Fraction, fitted: bool) -> int:
    """Samples a second of all the sounds: that of the FLACs that are exact, so that they stay as they are, else 48000.

    Raises:
        UnusableClip: reason ``unequal_rates``: such FLACs have several, and are not to be fitted.
    """
    exact = [found.audio.sample_rate for found in given.values() if _exact(found, duration)]
    if len(set(exact)) > 1 and not fitted:
        raise UnusableClip(
            "unequal_rates",
            f"the sounds have {' and '.join(map(str, exact))} samples a second",
            f"With --fit both get {RATE}.",
        )
    return exact[0] if len(set(exact)) == 1 else RATE


def _exact(found: SoundProbe, duration: Fraction) -> bool:
    """Whether it is FLAC and spans so many seconds to the sample."""
    rate = found.audio.sample_rate
    return found.path.suffix.lower() == ".flac" and found.duration * rate == round(duration * rate)


def _cut(root: Root, found: SoundProbe, duration: Fraction, rate: int, fitted: bool) -> str:
    """A sound of that rate that spans so many seconds: as it is if it is exact, else cut and written anew.

    Raises:
        UnusableClip: reason ``audio_span``: more than 20 ms too long or too short, and not to be fitted.
    """
    if _exact(found, duration) and found.audio.sample_rate == rate:
        return stored_copy(root, found.path)
    if abs(found.duration - duration) > Fraction(1, 50) and not fitted:
        raise UnusableClip(
            "audio_span",
            f"{found.path.name} lasts {float(found.duration):.3f} s, the clip {float(duration):.3f} s",
            FIT,
        )
    return _written(root, found, found.audio.start, round(duration * rate), rate)


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
