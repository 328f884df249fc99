"""What today's code, estimators, options and sources would make differently, and which input changed.

A unit whose ID a build would plan today is as it should be; of any other the columns tell what changed. What no
column keeps (the selection, the shot detector, the captioner, the speaker turns) is named together. Imported pairs
have no plan: only importing them again tells.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pyarrow import fs

from catalogs.console import progress
from catalogs.diff import IDENTITY, changes
from catalogs.errors import CatalogNotFound, SourceError
from catalogs.ids import CatalogID
from catalogs.query import condition, pin, run_sql, table_of
from catalogs.root import Root, file_sha256
from pipelines.identity import canonical
from pipelines.scan import local_source
from pipelines.sources import Source
from pipelines.today import Today, scanned_sources, today

DIFFERS, UNKNOWN, NEW = "would differ", "cannot be known", "not built yet"
_COLUMNS = [name for name in IDENTITY if name not in ("caption", "source_sha256")]
_THREADS = 8
_IMPORTED = "imported pairs are not planned again: import their folder again to compare"

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is the matter with some of a catalog's samples.

    Attributes:
        status: :data:`DIFFERS`, :data:`UNKNOWN` or :data:`NEW`.
        why: Which input, and what it was and is.
        samples: How many it concerns; for new sources, how many sources.
        example: ID of one; for new sources, one of them.
    """

    status: str
    why: str
    samples: int
    example: str


def stale(root: Root, catalog: CatalogID, *, deep: bool = False) -> tuple[CatalogID, int, int, list[Finding]]:
    """Compare a catalog with what the builds that made it would make now.

    Args:
        root: Where it lies.
        catalog: Which rows.
        deep: Hash the sources, whatever their size and time say.

    Returns:
        The pinned ID, its samples, how many of them would differ, and what was found, most samples first.
    """
    pinned = pin(root, str(catalog))
    units = _units(root, pinned)
    scanned = scanned_sources(root)
    configs = _configs(root, pinned)
    now: dict[tuple[str, str], Today] = {}
    for unit in units:
        run = unit["run_id"], unit["modality"]
        if run not in now and not _imported(unit):
            now[run] = today(root, configs.get(unit["run_id"]), unit["modality"], scanned)
    uris = {unit["source_uri"] for unit in units if _is_file(unit["source_uri"]) and not _imported(unit)}
    files = _Files(root, scanned, uris, deep)

    counts: dict[tuple[str, str], int] = defaultdict(int)
    examples: dict[tuple[str, str], str] = {}
    differing = 0
    for unit in units:
        run = unit["run_id"], unit["modality"]
        found = [(UNKNOWN, _IMPORTED)] if _imported(unit) else [*_reasons(unit, now[run], files)]
        differing += unit["samples"] * any(status == DIFFERS for status, _ in found)
        for finding in found:
            counts[finding] += unit["samples"]
            examples.setdefault(finding, unit["example"])
    told = [
        Finding(status=status, why=why, samples=count, example=examples[status, why])
        for (status, why), count in sorted(counts.items(), key=lambda item: (item[0][0] != DIFFERS, -item[1]))
    ]
    if fresh := _new(root, pinned, now.values()):
        told.append(Finding(status=NEW, why="sources at --input", samples=len(fresh), example=fresh[0]))
    return pinned, sum(unit["samples"] for unit in units), differing, told


def _units(root: Root, catalog: CatalogID) -> list[Row]:
    """One row for each unit and source: what its samples have in common, and how many they are."""
    table = table_of(root, catalog.name, version=catalog.version)
    shared = [name for name in _COLUMNS if name in table.schema.names]
    key = ", ".join([*shared, "unit_id", "run_id", "source_uri", "source_sha256"])
    said = ", ".join(
        f"any_value({name}) AS {name}"
        for name in ("caption", "caption_source", "source_license", "source_attribution")
    )
    sql = (
        f"SELECT {key}, {said}, count(*) AS samples, min(sample_id) AS example FROM rows{condition(catalog)}"
    )
    rows: list[Row] = run_sql(table, f"{sql} GROUP BY {key} ORDER BY example").to_pylist()
    return rows


def _configs(root: Root, catalog: CatalogID) -> dict[str, str]:
    """Options by run, as the commits carry them."""
    history = table_of(root, catalog.name).history()
    return {commit["run_id"]: commit.get("config", "") for commit in history if commit.get("run_id")}


def _reasons(unit: Row, now: Today, files: _Files) -> Iterable[tuple[str, str]]:
    yield from ((UNKNOWN, why) for why in now.unknown)
    source, held = files.state(unit)
    if source:
        yield source
    columns, pinned = _settled(unit, now)
    if held:
        yield (UNKNOWN, held)
    if now.units is not None and unit["unit_id"] in now.units and not pinned:
        return
    changed = [
        changes(name, unit.get(name), value)
        for name, value in columns.items()
        if (unit.get(name) or "") != (value or "")
    ]
    listed = (now.sources or {}).get(unit["source_uri"])
    if listed is not None:
        changed += _sidecar_changes(unit, listed)
    yield from ((DIFFERS, why) for why in changed)
    if pinned:
        yield (UNKNOWN, f"params.{pinned}: what it names was put into the root by the build")
    elif now.sources is not None and listed is None and not source:
        yield (
            UNKNOWN,
            "the source is no longer at the run's --input; a build leaves its samples as they are",
        )
    elif now.units is not None and not changed and not source and unit["source_uri"] not in files.unscanned:
        yield (
            DIFFERS,
            "an input without a column: selection, shots, captioner, length, takes or speaker turns",
        )


def _settled(unit: Row, now: Today) -> tuple[dict[str, Any], str]:
    """The columns to compare. What a build puts into the root (beds) has the same place only until it changes."""
    columns = dict(now.columns)
    kept, wanted = json.loads(unit["params"] or "{}"), json.loads(columns.get("params") or "{}")
    if not wanted:
        return columns, ""
    put = [key for key, value in kept.items() if str(value).startswith("signals/") and key in wanted]
    taken = {key: kept[key] for key in [*put, *(kept.keys() & {"performances"} - wanted.keys())]}
    columns["params"] = canonical({**wanted, **taken})
    return columns, ", ".join(put)


def _sidecar_changes(unit: Row, source: Source) -> list[str]:
    """What is said of the source now, where that is what the samples hold."""
    found = []
    if (unit["caption_source"] in ("sidecar", "column", "corpus") or source.caption) and (
        unit["caption"] or ""
    ) != source.caption:
        found.append(changes("caption", unit["caption"], source.caption))
    for column, value in (("source_license", source.license), ("source_attribution", source.attribution)):
        if (unit[column] or "") != value:
            found.append(changes(column, unit[column], value))
    return found


def _new(root: Root, catalog: CatalogID, now: Iterable[Today]) -> list[str]:
    """Sources that lie at the inputs and that no build has seen."""
    listed = {uri for each in now for uri in each.sources or {}}
    try:
        done = run_sql(table_of(root, catalog.name, "ledger"), "SELECT DISTINCT source_uri FROM rows")
    except CatalogNotFound:
        return []
    return sorted(listed - set(done["source_uri"].to_pylist()))


def _is_file(uri: str) -> bool:
    """Whether a source is a file: those of rendered scenes are not."""
    return uri.startswith("/") or "://" in uri


def _imported(unit: Row) -> bool:
    """Whether `avcontrol import` made it."""
    return unit.get("estimator") == "imported"


class _Files:
    """Source files as they are now."""

    def __init__(self, root: Root, scanned: Mapping[str, dict[str, Any]], uris: set[str], deep: bool) -> None:
        self._hashes: dict[str, str | None] = {}
        self._found, self._unreachable = _looked_up(sorted(uris))
        self.unscanned = set[str]()  # no scan has seen them as they are, so no unit of theirs is known
        for uri, info in self._found.items():
            source = info and Source(uri=uri, size=int(info.size), mtime_ns=int(info.mtime_ns or 0))
            if source and source.id in scanned:
                self._hashes[uri] = scanned[source.id]["sha256"]
            else:
                self.unscanned.add(uri)
        if deep:
            there = [uri for uri, info in self._found.items() if info]
            with progress("hash", len(there), "sources") as advance, ThreadPoolExecutor(_THREADS) as pool:
                for uri, sha256 in zip(there, pool.map(_sha256, there), strict=True):
                    self._hashes[uri] = sha256
                    advance(1)

    def state(self, unit: Row) -> tuple[tuple[str, str] | None, str]:
        """What is the matter with a unit's source, and what cannot be told of it."""
        uri = unit["source_uri"]
        if uri in self._unreachable:
            return None, f"whether the source changed: {self._unreachable[uri]}"
        if uri not in self._found:
            return None, ""
        if self._found[uri] is None:
            return (UNKNOWN, "the source is gone: its samples stay, and cannot be made again"), ""
        if uri not in self._hashes:
            return None, "whether the source changed: its size or time did; --deep compares the bytes"
        if self._hashes[uri] != unit["source_sha256"]:
            return (DIFFERS, "the source's bytes changed"), ""
        return None, ""


def _looked_up(uris: list[str]) -> tuple[dict[str, fs.FileInfo | None], dict[str, str]]:
    """What lies at each URI, None for nothing; and why nothing can be said of the others."""
    found: dict[str, fs.FileInfo | None] = {}
    unreachable: dict[str, str] = {}
    stores: dict[str, list[str]] = defaultdict(list)
    for uri in uris:  # a bucket, or the local disk
        stores["/".join(uri.split("/")[:3]) if "://" in uri else ""].append(uri)
    for store, named in stores.items():
        try:
            filesystem = fs.FileSystem.from_uri(store)[0] if store else fs.LocalFileSystem()
            infos = filesystem.get_file_info([uri.partition("://")[2] if store else uri for uri in named])
        except (OSError, ValueError) as error:
            unreachable |= dict.fromkeys(
                named, f"{store} cannot be reached ({str(error).splitlines()[0]:.80})"
            )
            continue
        found |= {
            uri: info if info.type == fs.FileType.File else None
            for uri, info in zip(named, infos, strict=True)
        }
    return found, unreachable


def _sha256(uri: str) -> str | None:
    try:
        with local_source(uri) as path:
            return file_sha256(path)
    except (SourceError, OSError):
        return None
