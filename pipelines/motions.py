"""Motions: recorded performances on their way from a folder into the root, and from there to whoever renders."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from catalogs.errors import InputError
from catalogs.root import Root
from pipelines.blender import Blender
from pipelines.identity import digest
from pipelines.sample import stored
from renderers.scenes import motion
from renderers.scenes.spec import SceneSpec
from training.backbone import cache_dir

log = logging.getLogger("avcontrol")
SAMPLES = Path("/usr/share/assimp/models/BVH")
"""Where Debian's assimp-testmodels puts three BVH files."""

Performances = list[tuple[str, str, float]]


def folder_of(setting: str) -> Path | None:
    """The folder that ``--set motions=…`` names; ``auto`` is Debian's samples where installed, ``none`` none.

    Raises:
        InputError: No such folder.
    """
    if setting == "none" or (setting == "auto" and not SAMPLES.is_dir()):
        return None
    folder = SAMPLES if setting == "auto" else Path(setting)
    if not folder.is_dir():
        raise InputError(f"motions={setting}: no such folder")
    return folder


def publish(root: Root, folder: Path | None) -> Performances:
    """Put every motion of a folder (BVH, GLB, FBX, npz) into the root, read once and kept as npz.

    Returns:
        Name, SHA-256 of the file and seconds of each.

    Raises:
        InputError: A file is no motion.
        EstimatorUnavailable: Blender must read a GLB or FBX, and is not here.
    """
    if folder is None:
        return []
    cache = cache_folder()
    found: Performances = []
    try:
        files = motion.performances(folder, cache)
        if waiting := [file for file in files if file.seconds is None]:
            _convert(waiting, cache)
            files = motion.performances(folder, cache)
        for file in files:
            kept = cache / f"{file.sha256}.npz"
            path = kept if kept.is_file() else file.path
            stored(root, _key(file.sha256), "signals", ".npz", partial(_copy, path))
            assert file.seconds is not None
            found.append((file.name, file.sha256, file.seconds))
    except motion.MotionError as error:
        raise InputError(str(error), "Give another folder with --set motions=FOLDER.") from None
    log.info("%d recorded motions from %s", len(found), folder)
    return found


def fetch(root: Root, spec: SceneSpec) -> Path:
    """A folder that has the recordings of everybody in a scene as ``<sha256>.npz``, copied from the root if need be.

    Raises:
        InputError: One of them was never published.
    """
    cache = cache_folder()
    for person in spec.people:
        sha256 = person.performance.sha256
        if not sha256 or (cache / f"{sha256}.npz").is_file():
            continue
        kept = root.recall(_key(sha256))
        if kept is None:
            raise InputError(f"the motion {person.performance.name} ({sha256[:12]}) is not in {root.uri}")
        part = cache / f"{sha256}.{id(spec)}.part"
        shutil.copyfile(root.local(kept), part)
        part.rename(cache / f"{sha256}.npz")
    return cache


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def motion_files(performances: Sequence[Sequence[Any]]) -> list[motion.MotionFile]:
    """What :func:`publish` found, as scenes are drawn with; where the files are is not told, hashes find them."""
    return [
        motion.MotionFile(name=name, sha256=sha256, seconds=seconds, path=Path())
        for name, sha256, seconds in performances
    ]


def _convert(files: list[motion.MotionFile], cache: Path) -> None:
    """Let Blender read what only it can."""
    blender = Blender()
    try:
        for file in files:
            blender.ask({"op": "motion", "file": str(file.path), "out": str(cache / f"{file.sha256}.npz")})
    finally:
        blender.close()


def cache_folder() -> Path:
    """Where the recordings of this machine lie as ``<sha256>.npz``."""
    folder = cache_dir() / "motions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _key(sha256: str) -> str:
    return digest(kind="motion", sha256=sha256)
