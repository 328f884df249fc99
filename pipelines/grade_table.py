"""The table ``grades`` of a root: how far each estimator was from the truth, and what error a figure lets expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.root import Root
from catalogs.schema import SCHEMA_VERSION
from catalogs.store import Table
from pipelines.estimators.joined import joined_weights

NAME = "grades"
_WHOSE = ("family", "estimator", "estimator_weights")

GRADES = pa.schema(
    [
        ("grade_id", pa.string()),
        ("family", pa.string()),
        ("estimator", pa.string()),
        ("estimator_weights", pa.string()),
        ("truth", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("clips", pa.int64()),
        ("refused", pa.int64()),
        ("reasons", pa.string()),
        ("calibration", pa.string()),
        ("code_version", pa.string()),
        ("graded_at", pa.string()),
        ("run_id", pa.string()),
        ("schema_version", pa.int32()),
    ]
)
"""One row per estimator, truth and metric: its mean over the clips that were not refused.

``reasons`` counts the refusals, as JSON. ``calibration`` stands with a family's main error
(:mod:`pipelines.calibration`). ``grade_id`` is the hash of the first six, how many clips were asked for, and the code.
"""


def add_grades(root: Root, rows: Iterable[Mapping[str, Any]], run_info: Mapping[str, str]) -> int:
    """Add rows that are not there yet; returns how many."""
    table = Table.open(root, NAME, key=("grade_id",), create=GRADES)
    whole = [{**row, "run_id": run_info["run_id"], "schema_version": SCHEMA_VERSION} for row in rows]
    return table.append_new(whole, run_info)


def load_grades(place: str, family: str, estimator: str, weights: str) -> str:
    """The calibration of an estimator with these weights, of the truth with the most clips and then the latest.

    Of several joined by ``+`` (:mod:`pipelines.estimators.joined`) it is the first one's.

    Args:
        place: Folder or URI of a root, which need not exist.
        family: The estimator's.
        estimator: Its name.
        weights: Hash of its weights.

    Returns:
        What :func:`pipelines.calibration.expected_error` reads; "" if it was never graded here.
    """
    try:
        table = Table.open(Root.open(place), NAME, key=("grade_id",))
    except (CatalogNotFound, ConfigError):
        return ""
    names, first = estimator.split("+"), family.partition("+")[0]
    where = pads.field("calibration").is_valid() & pads.field("estimator").isin(names)
    rows = table.read([*_WHOSE, "calibration", "clips", "graded_at", "grade_id"], where).to_pylist()
    # Joined hashes cannot be taken apart: find the known ones that make them.
    known = [{"", *(row["estimator_weights"] for row in rows if row["estimator"] == name)} for name in names]
    own = {hashes[0] for hashes in product(*known) if joined_weights(hashes) == weights}
    wanted = {(first, names[0], each) for each in own}
    mine = [row for row in rows if tuple(row[column] for column in _WHOSE) in wanted]
    best = max(mine, key=lambda row: (row["clips"], row["graded_at"], row["grade_id"]), default=None)
    return "" if best is None else str(best["calibration"])
