"""Motions by name: files of motion capture, their cache, and the procedural ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from renderers.scenes import bvh, gestures
from renderers.scenes.recording import MotionError, Recording, at, check, read, save
from renderers.scenes.spec import Performance

__all__ = [
    "MotionError",
    "MotionFile",
    "Recording",
    "at",
    "find",
    "load",
    "performances",
    "procedural",
    "read",
    "save",
]

SUFFIXES = (".bvh", ".fbx", ".glb", ".gltf", ".npz")
"""Files that can hold a motion."""
_BLENDER = (".fbx", ".glb", ".gltf")


@dataclass(frozen=True, kw_only=True)
class MotionFile:
    """A file that a performance can be taken from.

    Attributes:
        name: Without suffix.
        sha256: Of the file.
        seconds: How long it lasts; None if Blender has to read it first.
        path: Where it is here.
    """

    name: str
    sha256: str
    seconds: float | None
    path: Path


def load(path: Path, cache: Path | None = None) -> Recording:
    """Read a recording.

    ``.npz`` is what `save` wrote (its documentation has the layout) and read as it is. BVH is parsed here; Blender
    turns FBX and glTF into that npz layout as ``cache/<sha256 of the file>.npz``, where BVH is kept too. Of those three
    a first frame that the motion jumps away from is left out: a calibration pose.

    Raises:
        MotionError: Not a motion; or FBX or glTF that Blender has not read yet.
        OSError: No such file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MotionError(f"{path.name}: motions are {', '.join(SUFFIXES)}")
    if suffix == ".npz":
        return read(path)
    content = path.read_bytes()
    kept = cache / f"{hashlib.sha256(content).hexdigest()}.npz" if cache else None
    if kept and kept.is_file():
        return _without_calibration(read(kept))
    if suffix in _BLENDER:
        raise MotionError(f"{path.name}: needs Blender to read it first")
    try:
        recording = bvh.parse(content.decode("utf-8", errors="replace"))
        check(recording, path.name)
    except MotionError:
        raise
    except ValueError as error:
        raise MotionError(f"{path.name}: {error}") from None
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save(recording, kept)
    return _without_calibration(recording)


def performances(folder: Path, cache: Path | None = None) -> list[MotionFile]:
    """The motion files under ``folder``, sorted by path.

    Raises:
        MotionError: One of them is not a motion; the message names it.
    """
    found = []
    for path in _files(folder):
        digest = _sha256(path)
        waiting = path.suffix.lower() in _BLENDER and not (cache and (cache / f"{digest}.npz").is_file())
        seconds = None if waiting else load(path, cache).seconds
        found.append(MotionFile(name=path.stem, sha256=digest, seconds=seconds, path=path))
    return found


def find(performance: Performance, folders: Sequence[Path] = (), cache: Path | None = None) -> Recording:
    """The recording of a performance, by the hash of its file wherever that is, or the procedural one of that name.

    Raises:
        MotionError: Nothing of that name or hash.
    """
    if not performance.sha256:
        return procedural(performance.name)
    kept = cache / f"{performance.sha256}.npz" if cache else None
    if kept and kept.is_file():
        return _without_calibration(read(kept))
    paths = [path for folder in folders for path in _files(folder)]
    for path in sorted(paths, key=lambda path: path.stem != performance.name):  # the likely ones first
        if _sha256(path) == performance.sha256:
            return load(path, cache)
    where = ", ".join(map(str, folders)) or "no folder"
    raise MotionError(f"{performance.name}: no file with SHA-256 {performance.sha256[:12]}… in {where}")


def procedural(name: str) -> Recording:
    """A motion made by formula, one of ``gestures.NAMES``.

    Raises:
        MotionError: No such motion.
    """
    if name not in gestures.NAMES:
        raise MotionError(f"{name!r} is not a procedural motion; there are {', '.join(gestures.NAMES)}")
    return gestures.record(name)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _without_calibration(recording: Recording) -> Recording:
    """Motion capture often starts with one frame of the rest pose, metres away from the next one."""
    if len(recording.positions) < 4:
        return recording
    jumps = np.abs(np.diff(recording.positions, axis=0)).max((1, 2))
    if jumps[0] <= 5 * jumps[1:].max():
        return recording
    return replace(recording, rotations=recording.rotations[1:], positions=recording.positions[1:])
