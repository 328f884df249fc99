"""Encoding a catalog on Ray: plan what is missing, make it on actors, commit what comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from catalogs.console import progress
from catalogs.errors import SourceError
from catalogs.options import setting
from catalogs.query import pin
from catalogs.root import Root
from catalogs.schema import ENCODINGS
from catalogs.store import Table
from pipelines.commit import run_metadata
from pipelines.encode import Encoder, missing, wanted
from pipelines.runner import Resources, run

_COMMIT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """Options of ``avcontrol encode`` and ``python -m pipelines encode``."""

    catalog: str = setting("Catalog ID, e.g. 'canny@3?quality>0.5'.", argument=True, completes="catalog")
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    backbone: str = setting("'test', a folder in diffusers' layout, or a hub name.", "test")
    device: Literal["auto", "cpu", "cuda"] = setting("Where the encoders run.", "auto")
    dtype: Literal["auto", "bf16", "fp32"] = setting("auto is bf16 on a GPU, fp32 on a CPU.", "auto")
    workers: int = setting("Actors; 0 takes one for every --cpus that Ray has.", 0)
    cpus: float = setting("CPUs of an actor.", 1.0)
    gpus: float = setting("GPUs of an actor.", 0.0)


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What an encoding run did.

    Attributes:
        encoded, failed, known: Encodings made, failed, and there before.
        reason: Why the first one failed.
    """

    encoded: int
    failed: int
    known: int
    reason: str


class EncodeStage:
    """One actor: holds an encoder, turns a unit into rows; a unit that fails becomes a result that says why."""

    def __init__(self, **arguments: Any) -> None:
        self.encoder = Encoder(**arguments)

    def __call__(self, unit: dict[str, Any]) -> list[dict[str, Any]]:
        """Encode one unit: ``{"row": …}`` or ``{"failed": why}``."""
        try:
            return [{"row": row} for row in self.encoder(unit)]
        except SourceError as error:
            return [{"failed": f"{unit['input']}: {error}"}]


def encode(config: EncodeConfig) -> EncodeReport:
    """Make the encodings that a catalog ID needs and its root does not have; interrupted, it goes on where it was.

    Raises:
        CatalogNotFound: No such catalog or version.
        EstimatorUnavailable: The backbone is not here.
        BrokenCatalog: A media file is missing.
    """
    root = Root.open(config.root)
    catalog = pin(root, config.catalog)
    needed = wanted(root, catalog, config.backbone)
    units = missing(root, needed)
    table = Table.open(root, "encodings", key=("encoding_id",), create=ENCODINGS)
    info = run_metadata("encode", config)
    arguments = {
        "root_uri": root.uri,
        "backbone": config.backbone,
        "run_id": info["run_id"],
        "device": config.device,
        "dtype": config.dtype,
    }
    resources = Resources(workers=config.workers, cpus=config.cpus, gpus=config.gpus)
    rows: list[dict[str, Any]] = []
    encoded, failures, last = 0, list[str](), time.monotonic()
    with progress("encode", len(units), "inputs") as advance:
        try:
            for result in run(units, EncodeStage, arguments, resources):
                advance(1)
                if "failed" in result:
                    failures.append(result["failed"])
                    continue
                rows.append(result["row"])
                if time.monotonic() - last > _COMMIT_SECONDS:
                    encoded, last = encoded + table.append_new(rows, info), time.monotonic()
                    rows.clear()
        finally:
            encoded += table.append_new(rows, info)
    return EncodeReport(
        encoded=encoded,
        failed=len(failures),
        known=len(needed) - len(units),
        reason=failures[0] if failures else "",
    )
