"""Near duplicates: clips whose fingerprints differ in few bits, and which of them to keep. Nothing is removed.

Codes are compared only where one of their twelve 16-bit bands is equal (locality-sensitive hashing by bands; Indyk and
Motwani 1998). Two codes that differ in at most 11 bits have such a band, so none of those pairs is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs import describe
from catalogs.errors import ConfigError
from catalogs.fingerprints import BITS, fingerprints
from catalogs.ids import CatalogID
from catalogs.query import pin, select, table_of
from catalogs.root import Root

DISTANCE = 7
"""Measured on film: the same clip at half size or a third of the bits differs in 0 to 6 bits of 192 (10 at both), 15%
brighter in 2 to 8, cut by 6% at the edges in 12 to 26; the next clip of a camera that stands in 8 to 14, another in 44
and more."""
_CROWD = 1000
"""So many neighbours in a band are compared; where more share one (black frames), those with the nearest codes."""

_COLUMNS = ("sample_id", "frames", "fps_num", "fps_den", "quality", "source_uri", "span_start", "span_end")
Rows = list[dict[str, Any]]


def dedupe(
    root: Root,
    catalog: CatalogID,
    *,
    distance: int = DISTANCE,
    column: str = "video",
    model: Path | None = None,
) -> tuple[CatalogID, Rows, dict[str, str]]:
    """Find near duplicates.

    Args:
        root: Where the catalog lies.
        catalog: Which rows.
        distance: Most bits of 192 in which duplicates differ.
        column: Whose pictures: ``video`` or ``reference_video``.
        model: Folder of an image embedding; see :mod:`catalogs.fingerprints`.

    Returns:
        The pinned ID; a dict for each sample that has duplicates, cluster by cluster, the one to keep first
        (``cluster``, ``keep``, ``distance`` to that one in bits, ``sample_id``, ``quality``, ``seconds``, ``where``);
        and why files could not be looked at.

    Raises:
        ConfigError: The rows have no pictures, or the distance is none.
    """
    if not 0 <= distance < BITS // 2:
        raise ConfigError(f"--distance must lie between 0 and {BITS // 2 - 1} bits, not {distance}")
    pinned = pin(root, str(catalog))
    present = table_of(root, pinned.name, version=pinned.version).schema.names
    chosen = [name for name in (*_COLUMNS, column) if name in present]
    # Equal sources at two places give rows of one ID, which are one sample.
    every = select(root, pinned, chosen).to_pylist()
    rows = list({row["sample_id"]: row for row in every if row.get(column)}.values())
    if not rows:
        raise ConfigError(
            f"{pinned} has no {column} to compare", "Only pictures are compared, not sounds alone."
        )
    codes, failed = fingerprints(root, {row[column]: describe.frame_count(row) for row in rows}, model)
    # What is kept first: the best, then the longest; the ID only so that the answer is always the same.
    rows = sorted(
        (row for row in rows if row[column] in codes),
        key=lambda row: (-(row.get("quality") or 0.0), -_seconds(row), row["sample_id"]),
    )
    found = clusters(np.array([codes[row[column]] for row in rows]).reshape(-1, 3), distance)
    told = [
        {
            "cluster": number,
            "keep": member == members[0][0],
            "distance": bits,
            "sample_id": rows[member]["sample_id"],
            "quality": rows[member].get("quality"),
            "seconds": _seconds(rows[member]),
            "where": describe.where(rows[member]),
        }
        for number, members in enumerate(found, 1)
        for member, bits in members
    ]
    return pinned, told, failed


def clusters(codes: NDArray[np.uint64], distance: int) -> list[list[tuple[int, int]]]:
    """Groups of near codes [N, 3], given in the order in which they would rather be kept.

    Returns:
        For each group (index, bits from the first) of its members; every member is near the first, which is kept.
    """
    unique, first, place = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    one, other, bits = near_pairs(unique, distance)
    ends = np.concatenate([one, other])
    order = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[order], np.arange(len(unique) + 1))
    beside, apart = np.concatenate([other, one])[order], np.concatenate([bits, bits])[order]

    twins: dict[int, list[int]] = {}
    for index, at in enumerate(place.ravel().tolist()):
        twins.setdefault(at, []).append(index)
    taken, found = set[int](), list[list[tuple[int, int]]]()
    for at in np.argsort(first).tolist():
        if at in taken:
            continue
        taken.add(at)
        members = [(index, 0) for index in twins[at]]
        for near, far in zip(
            beside[starts[at] : starts[at + 1]].tolist(),
            apart[starts[at] : starts[at + 1]].tolist(),
            strict=True,
        ):
            if near not in taken:
                taken.add(near)
                members += [(index, far) for index in twins[near]]
        if len(members) > 1:
            found.append([members[0], *sorted(members[1:], key=lambda member: (member[1], member[0]))])
    return found


def near_pairs(
    codes: NDArray[np.uint64], distance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of distinct codes [N, 3] that share a band and differ in at most ``distance`` bits: i, j > i, bits."""
    bands = codes.view(np.uint16)
    found = [np.empty((0, 3), np.int64)]
    for band in bands.T:
        order = np.lexsort((*codes.T[::-1], band))
        sorted_band = band[order]
        here = np.arange(len(order) - 1)
        for step in range(1, min(_CROWD, len(order))):
            here = here[here + step < len(order)]
            here = here[sorted_band[here] == sorted_band[here + step]]
            if not len(here):
                break
            one, other = order[here], order[here + step]
            bits = np.bitwise_count(codes[one] ^ codes[other]).sum(axis=1)
            close = bits <= distance
            pair = np.sort(np.stack([one[close], other[close]]), axis=0)
            found.append(np.column_stack([*pair, bits[close]]).astype(np.int64))
    one, other, bits = np.unique(np.concatenate(found), axis=0).T
    return one, other, bits


def without(catalog: CatalogID, sample_ids: Sequence[str]) -> CatalogID:
    """The same view less these samples."""
    listed = ", ".join(f"'{sample_id}'" for sample_id in sample_ids)
    both = f"({catalog.where}\n) AND " if catalog.where else ""
    return replace(catalog, where=f"{both}sample_id NOT IN ({listed})")


def _seconds(row: describe.Row) -> float:
    return float(describe.frame_count(row) / describe.fps(row))
