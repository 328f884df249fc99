"""Pairs that others made, as they lie in a folder: in a table, in WebDataset shards, or by their names.

By names, a reference is found from its target: ``clip_reference.mp4``, ``clip_ref.mp4`` or ``references/clip.mp4``.
A sound of the target's name is its sound, and captions and licences lie beside it (:mod:`pipelines.sources`). Of two
files that differ in their suffix alone, ``a.mov`` and ``a.mp4``, the first counts.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from catalogs.console import log
from catalogs.errors import ConfigError, InputError
from pipelines.imported import Pair, Piece, pair
from pipelines.sources import SOUND_SUFFIXES, list_sources
from pipelines.tables import in_shard, in_table

TABLES = (
    "dataset.jsonl",
    "dataset.json",
    "dataset.csv",
    "metadata.jsonl",
    "metadata.csv",
    "metadata.parquet",
)
SPLITS = ("train.jsonl", "validation.jsonl", "train/metadata.parquet", "validation/metadata.parquet")
PATTERNS = (
    *("{name}_reference", "{name}_ref", "{name}_control"),
    *("references/{name}", "reference/{name}", "../references/{name}", "../reference/{name}"),
)


def list_pairs(
    place: Path, *, pattern: str = "", media_root: Path | None = None, limit: int | None = None
) -> list[Pair]:
    """The pairs in a folder, or in one table or shard; a target without a reference is among them.

    Args:
        place: The folder or file. In a folder, a table counts before shards, and shards before names.
        pattern: Where a reference lies from its target's folder, less the suffix; ``{name}`` is the target's name.
            With one, only names count.
        media_root: A folder that paths in a table may lie in besides the table's own.
        limit: The first so many.

    Raises:
        ConfigError: A pattern without ``{name}``.
        InputError: Nothing there, or a table that cannot be read.
        UnsafePath: A table names a file elsewhere.
    """
    if pattern and "{name}" not in pattern:
        raise ConfigError(f"--reference-pattern {pattern!r} has no {{name}}", "E.g. 'depth/{name}_depth'.")
    if not place.exists():
        raise InputError(f"no file or folder at {place}", "Give the folder that the pairs lie in.")
    if place.is_file():
        found = list(in_shard(place) if place.suffix == ".tar" else in_table(place, media_root))
    elif pattern:
        found = list(_by_name(place, [pattern]))
    elif tables := _tables(place):
        found = [each for table in tables for each in in_table(table, media_root)]
    elif shards := sorted(place.glob("*.tar")):
        found = [each for shard in shards for each in in_shard(shard)]
    else:
        found = list(_by_name(place, PATTERNS))
    if not found:
        raise InputError(
            f"no pairs at {place}", "Name tables and shards themselves if they are called otherwise."
        )
    return found[:limit]


def _tables(folder: Path) -> list[Path]:
    one = [folder / name for name in TABLES if (folder / name).is_file()][:1]
    return one or [folder / name for name in SPLITS if (folder / name).is_file()]


def _by_name(folder: Path, patterns: Sequence[str]) -> Iterator[Pair]:
    files: dict[Path, dict[str, Path]] = defaultdict(dict)  # by path without suffix, then by kind
    sources = {Path(source.uri): source for source in list_sources(str(folder), sound=True)}
    for path in sources:  # sorted
        kind = "audio" if path.suffix.lower() in SOUND_SUFFIXES else "video"
        first = files[path.with_suffix("")].setdefault(kind, path)
        if first != path:
            log.warning("%s is passed over: %s is the %s of that name", path, first.name, kind)
    references: dict[Path, Path] = {}
    for stem in files:
        places = (
            Path(os.path.normpath(stem.parent / each.replace("{name}", stem.name))) for each in patterns
        )
        found = next((near for near in places if near in files and near != stem), None)
        if found is not None:
            references[stem] = found
    taken = set(references.values())
    for stem, own in files.items():
        if stem in taken:
            continue
        theirs = files[references[stem]] if stem in references else {}
        media = {kind: Piece.at(path) for kind, path in own.items()}
        media |= {f"reference_{kind}": Piece.at(path) for kind, path in theirs.items()}
        said = [sources[path] for path in own.values()]
        beside = next((one for one in said if one.caption or one.license), said[0])
        known = {"caption": beside.caption, "license": beside.license, "attribution": beside.attribution}
        yield pair(media, known, source=beside.caption_source)
