"""Encoding a catalog on Ray: plan what is missing, make it on actors, commit what comes back."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

from catalogs.console import progress
from catalogs.errors import AvcontrolError, BrokenCatalog, SourceError, UnsafePath
from catalogs.options import setting
from catalogs.query import pin
from catalogs.root import Root
from catalogs.schema import ENCODINGS
from catalogs.store import Table
from pipelines.commit import run_metadata
from pipelines.encode import Encoder, plan
from pipelines.runner import Resources, run

log = logging.getLogger("avcontrol")
_COMMIT_SECONDS = 10.0
_SAID = 20  # failures that are logged; the rest are counted


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """Options of ``avcontrol encode`` and ``python -m pipelines encode``."""

    catalog: str = setting("Catalog ID, e.g. 'canny@3?quality>0.5'.", argument=True, completes="catalog")
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    backbone: str = setting("'test', a folder in diffusers' layout, or a hub name.", "test")
    device: Literal["auto", "cpu", "cuda"] = setting("Where the encoders run.", "auto")
    dtype: Literal["auto", "bf16", "fp32"] = setting("auto is bf16 on a GPU, fp32 on a CPU.", "auto")
    workers: int = setting("Actors; 0 takes as many as Ray has CPUs and GPUs for.", 0)
    cpus: float = setting("CPUs of an actor.", 1.0)
    gpus: float | None = setting("GPUs of an actor; by default one where Ray has any, 0 for none.", None)
    repair: bool = setting(
        "Read what is there too, and make again what is missing, cut short or not finite.", False
    )

    def resources(self) -> Resources:
        """What the actors may use."""
        every = 0.0 if self.device == "cpu" else math.inf
        return Resources(workers=self.workers, cpus=self.cpus, gpus=every if self.gpus is None else self.gpus)


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
    """One actor: holds an encoder, turns a unit into a result; one that fails costs nothing but itself."""

    def __init__(self, **arguments: Any) -> None:
        self.encoder = Encoder(**arguments)

    def __call__(self, unit: dict[str, Any]) -> list[dict[str, Any]]:
        """Encode one unit: ``{"row": …, "before": path}``, ``{"known": True}`` or ``{"failed": why}``.

        Raises:
            AvcontrolError: What would meet every other unit too: no backbone, a full disk.
        """
        try:
            return [{"row": row, "before": unit["path"]} for row in self.encoder(unit)] or [{"known": True}]
        except (SourceError, BrokenCatalog, UnsafePath) as error:
            why = str(error)
        except AvcontrolError:
            raise
        except Exception as error:  # out of memory on a long clip, a decoder's own
            why = f"{type(error).__name__} {str(error).strip().partition(chr(10))[0]}"
        return [{"failed": f"{unit['input']}: {why}"}]


def encode(config: EncodeConfig) -> EncodeReport:
    """Make the encodings that a catalog ID needs and its root does not have; interrupted, it goes on where it was.

    Raises:
        CatalogNotFound: No such catalog or version.
        EstimatorUnavailable: The backbone is not here.
        StorageError: The root cannot be written.
    """
    root = Root.open(config.root)
    catalog = pin(root, config.catalog)
    table = Table.open(root, "encodings", key=("encoding_id",), create=ENCODINGS)
    table.overlook()  # before the plan: what others add from here on is compared with
    todo = plan(root, catalog, config.backbone, repair=config.repair)
    info, resources = run_metadata("encode", config), config.resources()
    arguments = {
        "root_uri": root.uri,
        "backbone": config.backbone,
        "run_id": info["run_id"],
        "device": "cpu" if config.device == "auto" and not resources.gpus else config.device,
        "dtype": config.dtype,
    }
    rows: list[dict[str, Any]] = []
    encoded, failed, known, reason, last = 0, 0, todo.known, "", time.monotonic()

    def commit() -> int:
        fresh = [result for result in rows if result["before"] != result["row"]["path"]]
        table.delete(
            "encoding_id", [result["row"]["encoding_id"] for result in fresh if result["before"]], info
        )
        table.append_new([result["row"] for result in fresh], info)
        made = len(rows)
        rows.clear()
        return made

    with progress("encode", len(todo.units), "inputs") as advance:
        try:
            for result in run(todo.units, EncodeStage, arguments, resources):
                if "failed" in result:
                    failed, reason = failed + 1, reason or result["failed"]
                    if failed <= _SAID:
                        log.warning("failed: %s", result["failed"])
                elif "row" in result:
                    rows.append(result)
                else:
                    known += 1
                advance(1, f"{failed} failed" if failed else "")
                if time.monotonic() - last > _COMMIT_SECONDS:
                    encoded, last = encoded + commit(), time.monotonic()
        finally:
            encoded += commit()
    return EncodeReport(encoded=encoded, failed=failed, known=known, reason=reason)
