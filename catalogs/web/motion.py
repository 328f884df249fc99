"""What a page draws over and beside a pair: points that were followed, and where the cameras were. JSON-able."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.camera_panel import ground, has_cameras
from catalogs.describe import Row
from catalogs.errors import AvcontrolError
from catalogs.root import Root

_MOST = 256  # points of a kind
_SURE = 0.3  # joints that are seen less surely are left out
_Arrays = dict[str, NDArray[Any]]


def arrays(root: Root, row: Row) -> _Arrays:
    """The small arrays among a row's signals; none of a file that cannot be read, which `validate` tells."""
    found: _Arrays = {}
    wanted = {
        "tracks",
        "pixels",
        "visible",
        "joints",
        "scores",
        "reference_extrinsics",
        "reference_intrinsics",
    }
    for signal in row.get("signals") or []:
        if not str(signal["path"]).endswith(".npz"):
            continue
        try:
            with np.load(root.local(signal["path"]), allow_pickle=False) as kept:
                found |= {name: kept[name] for name in wanted & set(kept.files)}
        except (AvcontrolError, OSError, ValueError, zipfile.BadZipFile):
            continue
    return found


def points(signals: _Arrays) -> list[dict[str, Any]]:
    """Followed points and joints, in pixels of the target.

    Args:
        signals: ``tracks`` or ``pixels`` [F, N, 2] with ``visible`` [F, N]; ``joints`` [F, P, J, 2] with ``scores``
            [F, P, J].

    Returns:
        For each kind ``what`` and ``frames``: per frame a flat list x, y, x, y, …, null where a point is not seen.
        At most 256 points, evenly from all.
    """
    found = []
    at = signals.get("tracks", signals.get("pixels"))
    if at is not None and "visible" in signals and at.shape[:2] == signals["visible"].shape:
        found.append(("tracks", at, signals["visible"].astype(bool)))
    joints, scores = signals.get("joints"), signals.get("scores")
    if joints is not None and scores is not None and joints.shape[:-1] == scores.shape and joints.ndim == 4:
        count = len(joints)
        found.append(("joints", joints.reshape(count, -1, 2), scores.reshape(count, -1) >= _SURE))
    return [{"what": what, "frames": _flat(at, seen)} for what, at, seen in found if at.shape[1]]


def _flat(at: NDArray[Any], seen: NDArray[np.bool_]) -> list[list[float | None]]:
    chosen = np.unique(np.linspace(0, at.shape[1] - 1, min(_MOST, at.shape[1])).round().astype(int))
    at, seen = at[:, chosen].astype(float), seen[:, chosen] & np.isfinite(at[:, chosen]).all(axis=-1)
    rounded = np.round(at, 1).tolist()
    return [
        [
            value
            for point, shown in zip(frame, flags, strict=True)
            for value in (point if shown else (None, None))
        ]
        for frame, flags in zip(rounded, seen.tolist(), strict=True)
    ]


def cameras(row: Row, signals: _Arrays) -> dict[str, Any] | None:
    """Where a row's camera is, and the reference's where it has one of its own; None for a row without cameras.

    Returns:
        ``unit`` of lengths, and ``paths``: dicts of ``name``, ``eyes`` [F, 3], ``axes`` [F, 9] (what is right, down and
        ahead in the picture), ``fov`` [F] (horizontal, degrees) and ``aspect``. The axes of space are the right of the
        target's first frame, what is ahead of it on the ground, and up; its first eye is the origin.
    """
    if not has_cameras(row):
        return None
    aspect = (row.get("width") or 16) / (row.get("height") or 9)
    target = np.array(row["extrinsics"], float).reshape(-1, 4, 4)
    views = [("target", target, np.array(row["fov"], float))]
    other, k = signals.get("reference_extrinsics"), signals.get("reference_intrinsics")
    if other is not None and k is not None and len(other) == len(k):
        wide = np.degrees(2 * np.arctan(float(row.get("width") or 0) / 2 / k[:, 0, 0]))
        views.insert(0, ("reference", other.astype(float), wide))
    turn, origin = ground(target[:, :3, :3]), _eyes(target)[0]
    return {
        "unit": row.get("camera_unit") or "",
        "paths": [
            {
                "name": name,
                "eyes": ((_eyes(w2c) - origin) @ turn).round(4).tolist(),
                "axes": (w2c[:, :3, :3] @ turn).reshape(-1, 9).round(4).tolist(),
                "fov": fov.round(2).tolist(),
                "aspect": aspect,
            }
            for name, w2c, fov in views
        ],
    }


def _eyes(w2c: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.einsum("nji,nj->ni", w2c[:, :3, :3], w2c[:, :3, 3]))
