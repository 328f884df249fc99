"""Beds: recordings of places on their way into the root, and the choice of one that fits a place."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import InputError, SourceError
from catalogs.root import Root, file_sha256
from pipelines.audio import read_audio
from pipelines.identity import digest
from pipelines.probe import probe_sound
from pipelines.sample import stored
from pipelines.scan import local_source
from pipelines.sources import list_sources
from pipelines.writers import write_audio
from renderers import noises
from renderers.ambience import Channel, through

log = logging.getLogger("avcontrol")

Bed = dict[str, Any]

_SHORTEST = 3.0  # seconds; what is shorter is an effect, not a place
_MADE_SECONDS, _MADE_RATE = 20.0, 48_000
_HEARD = Channel(low=40, high=23_000, bed=True)  # no offset, no rumble
_PLACES = (
    "/usr/share/games/lincity-ng/sounds",
    "/usr/share/games/lugaru/Sounds",
    "/usr/share/games/minetest/games/minetest_game/mods",
)
"""Where Debian's packages put recordings of places."""


def publish(root: Root, setting: str) -> str:
    """Put beds into the root.

    Args:
        root: Where they go.
        setting: A folder, searched through for sound files, with sidecars for licence and attribution; ``auto`` for
            those of installed packages and made ones; ``made`` for noise made by formula alone.

    Returns:
        Path in the root of a JSON list: name, words, sha256, path, license and attribution of each bed.

    Raises:
        InputError: No usable sound there.
    """
    folders = _installed() if setting == "auto" else [] if setting == "made" else [setting]
    beds = [bed for folder in folders for bed in _recorded(root, folder)]
    if not beds and folders == [setting]:
        raise InputError(f"beds={setting}: no sound of at least {_SHORTEST:g} s there")
    if setting in ("auto", "made"):  # made ones too: games have no sound of an office
        beds += [_made(root, kind) for kind in noises.KINDS]
    log.info("%d beds from %s", len(beds), ", ".join(folders) or "formula")
    text = json.dumps(sorted(beds, key=lambda bed: str(bed["sha256"])), sort_keys=True)
    return stored(root, digest(kind="beds", text=text), "signals", ".json", partial(_write_text, text))


@cache
def listed(manifest: Path) -> list[Bed]:
    """What :func:`publish` put there."""
    return list(json.loads(manifest.read_text(encoding="utf-8")))


def fitting(beds: Sequence[Bed], wanted: Sequence[str]) -> list[Bed]:
    """The beds that match the first of the wanted words that any bed matches; all of them if none does."""
    for word in wanted:
        found = [bed for bed in beds if any(word in known or known in word for known in bed["words"])]
        if found:
            return found
    return list(beds)


@lru_cache(maxsize=8)  # two minutes are 46 MB
def samples(path: Path, rate: int) -> NDArray[np.float32]:
    """A bed's sound, float32 [n, 2] at ``rate``; at most two minutes of it."""
    found = probe_sound(path)
    count = round(min(float(found.duration), 120.0) * rate)
    sound = read_audio(found, found.audio.start, count, rate)
    assert sound is not None
    return through(sound, rate, _HEARD)


def _recorded(root: Root, folder: str) -> list[Bed]:
    beds = []
    for source in list_sources(folder, sound=True):
        try:
            with local_source(source.uri) as path:
                if probe_sound(path).duration < _SHORTEST:
                    continue
                sha256 = file_sha256(path)
                kept = stored(
                    root, digest(kind="bed", sha256=sha256), "signals", path.suffix, partial(_copy, path)
                )
        except SourceError:
            continue
        place = Path(source.uri)
        name = f"{place.parent.name}/{place.stem}"
        words = [word for word in re.split(r"[^a-z]+", name.lower()) if len(word) > 2]
        beds.append(_bed(name, words, sha256, kept, source.license, source.attribution))
    return beds


def _made(root: Root, kind: str) -> Bed:
    key = digest(kind="bed", made=kind, seconds=_MADE_SECONDS)

    def write(path: Path) -> None:
        write_audio(path, noises.bed(kind, _MADE_SECONDS, _MADE_RATE), _MADE_RATE)

    kept = stored(root, key, "signals", ".flac", write)
    return _bed(f"made {kind}", list(noises.KINDS[kind]), Path(kept).stem, kept, "CC0-1.0", "made by formula")


def _bed(name: str, words: list[str], sha256: str, path: str, licence: str, attribution: str) -> Bed:
    return {
        "name": name,
        "words": words,
        "sha256": sha256,
        "path": path,
        "license": licence,
        "attribution": attribution,
    }


def _installed() -> list[str]:
    found = [place for place in _PLACES if Path(place).is_dir()]
    package = importlib.util.find_spec("ambience")
    if package is not None and package.origin:
        found.append(str(Path(package.origin).parent))
    return found


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
