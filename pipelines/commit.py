"""Committing: a catalog's three tables, what of a plan is left to do, and the loop that makes and commits it."""

from __future__ import annotations

import json
import logging
import platform
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from catalogs.console import progress
from catalogs.errors import InputError
from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import LEDGER, REJECTS, samples_schema
from catalogs.store import Table
from pipelines.identity import digest
from pipelines.plan import Unit
from pipelines.runner import MediaWorker, Resources, run

log = logging.getLogger("avcontrol")
_COMMIT_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of one catalog."""

    samples: Table
    rejects: Table
    ledger: Table


@dataclass(frozen=True, kw_only=True)
class Work:
    """Units of a plan, and how they are made.

    Attributes:
        catalog: Name of the catalog that they go into.
        label: Name on the progress bar.
        columns: The modality's own columns.
        timeline: Of the clips, canonical.
        units: All of the plan, those that are done included.
        request: What every request to a worker has in common.
        resources: What the workers may use.
        commit_s: Seconds between commits.
    """

    catalog: str
    label: str
    columns: pa.Schema
    timeline: str
    units: Sequence[Unit]
    request: Mapping[str, Any]
    resources: Resources
    commit_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a build did.

    Attributes:
        catalog: Catalog ID of the result.
        samples, rejects: Rows added.
        units, skipped: Work units done now, and found done already.
        replaced: Rows that another recipe or older source bytes had left in the same place.
        seconds: Wall time.
    """

    catalog: str
    samples: int
    rejects: int
    units: int
    skipped: int
    replaced: int
    seconds: float


def make_and_commit(
    root: Root, work: Work, run_info: dict[str, str], *, retry_rejects: bool = False
) -> Report:
    """Make what the ledger does not have, commit it as it comes, and remove what it replaces.

    Raises:
        InputError: Nothing but rejects, and no samples from before.
        StorageError: The root cannot be written.
    """
    started, units = time.monotonic(), work.units
    tables = open_tables(root, work.catalog, work.columns)
    if retry_rejects:
        forget_rejects(tables, units, run_info)
    todo = remaining(tables.ledger, units)
    log.info("%s: %d units, %d to do", work.catalog, len(units), len(todo))
    samples, rejects = make_all(tables, todo, work, run_info)
    replaced = replace_stale(tables, units, work.timeline, run_info)
    if not samples and rejects and not tables.samples.keys():
        raise InputError(
            f"nothing gave a sample; the first of {rejects} rejects is {_first_reason(tables, units)}",
            f"`avcontrol catalog rejects {work.catalog} --root {root.uri}` lists all.",
        )
    tables.samples.refresh()
    return Report(
        catalog=f"{work.catalog}@{tables.samples.version}",
        samples=samples,
        rejects=rejects,
        units=len(todo),
        skipped=len(units) - len(todo),
        replaced=replaced,
        seconds=time.monotonic() - started,
    )


def open_tables(root: Root, name: str, columns: pa.Schema) -> Tables:
    """A catalog's tables, created where they do not exist; ``columns`` are the modality's own."""
    return Tables(
        samples=table_of(root, name, create=samples_schema(columns)),
        rejects=table_of(root, name, "rejects", create=REJECTS),
        ledger=table_of(root, name, "ledger", create=LEDGER),
    )


def remaining(ledger: Table, units: Sequence[Unit]) -> list[Unit]:
    """The units whose place in the ledger is empty: an anti-join on our own keys."""
    done = ledger.keys()
    return [unit for unit in units if (ledger_id(unit.source.uri, unit.id),) not in done]


def ledger_id(source_uri: str, unit_id: str) -> str:
    """Key of a finished unit: what was done, and to which source."""
    return digest(uri=source_uri, unit=unit_id)


def make_all(tables: Tables, units: Sequence[Unit], work: Work, run_info: dict[str, str]) -> tuple[int, int]:
    """Make units and commit them in small batches; returns how many samples and rejects were added.

    Args:
        tables: Where the rows go.
        units: What to make of the plan.
        work: The plan, and how it is made.
        run_info: Metadata that every commit carries.
    """
    pending: dict[str, list[dict[str, Any]]] = {"sample": [], "reject": [], "unit": []}
    samples = rejects = 0
    last = time.monotonic()
    schema = samples_schema(work.columns)

    def commit() -> tuple[int, int]:
        # The ledger last: a unit counts as done only when its rows are in.
        added = tables.samples.append_new([result["row"] for result in pending["sample"]], run_info, schema)
        refused = tables.rejects.append_new([result["row"] for result in pending["reject"]], run_info)
        tables.ledger.append_new(
            [
                {
                    **result,
                    "ledger_id": ledger_id(result["source_uri"], result["unit_id"]),
                    "timeline": work.timeline,
                    "run_id": run_info["run_id"],
                }
                for result in pending["unit"]
            ],
            run_info,
        )
        for results in pending.values():
            results.clear()
        return added, refused

    resources = work.resources
    with progress(work.label, len(units), "units") as advance:
        try:
            for result in run(
                [{"unit": asdict(unit)} for unit in units],
                MediaWorker,
                {
                    "request": {**work.request, "run_id": run_info["run_id"]},
                    "timeout_s": resources.timeout_s,
                    "memory_gb": resources.memory_gb,
                },
                resources,
            ):
                pending[result["event"]].append(result)
                if result["event"] != "unit":
                    continue
                waiting = len(pending["sample"]) + len(pending["reject"])
                advance(
                    1,
                    f"{samples + len(pending['sample'])} samples, {rejects + len(pending['reject'])} rejects",
                )
                if waiting >= _COMMIT_ROWS or time.monotonic() - last >= work.commit_s:
                    added, refused = commit()
                    samples, rejects, last = samples + added, rejects + refused, time.monotonic()
        finally:
            added, refused = commit()
    return samples + added, rejects + refused


def forget_rejects(tables: Tables, units: Sequence[Unit], run_info: dict[str, str]) -> None:
    """Take the planned units that had rejects out of the ledger, and their rejects out of the table."""
    mine = {unit.id for unit in units}
    again = {
        row["unit_id"]
        for row in tables.ledger.read(["unit_id", "rejects"]).to_pylist()
        if row["rejects"] and row["unit_id"] in mine
    }
    # The ledger first: a build killed in between makes those units again, and their rejects are keyed rows.
    tables.ledger.delete("unit_id", again, run_info)
    tables.rejects.delete("unit_id", again, run_info)


def replace_stale(tables: Tables, units: Sequence[Unit], timeline: str, run_info: dict[str, str]) -> int:
    """Remove what other recipes or older bytes made of the sources that this plan has finished; returns rows removed.

    Only rows on the same clip timeline are replaced, so catalogs of several resolutions can be built one by one.
    Earlier versions of the catalog keep what is removed.
    """
    done, mine = tables.ledger.keys(), {unit.id for unit in units}
    unfinished = {unit.source.uri for unit in units if (ledger_id(unit.source.uri, unit.id),) not in done}
    finished = {unit.source.uri for unit in units} - unfinished
    old = [
        row
        for row in tables.ledger.read(["ledger_id", "unit_id", "source_uri", "timeline"]).to_pylist()
        if row["source_uri"] in finished and row["timeline"] == timeline and row["unit_id"] not in mine
    ]
    stale = {row["unit_id"] for row in old}
    removed = tables.samples.delete("unit_id", stale, run_info)
    tables.rejects.delete("unit_id", stale, run_info)
    tables.ledger.delete("ledger_id", {row["ledger_id"] for row in old}, run_info)
    return removed


def _first_reason(tables: Tables, units: Sequence[Unit]) -> str:
    """Why the first of these units' rejects was refused."""
    mine = {unit.id for unit in units}
    row = next((row for row in tables.rejects.read().to_pylist() if row["unit_id"] in mine), None)
    return f"{row['reason']} ({row['message']})" if row else "unknown"


def run_metadata(program: str, config: Any) -> dict[str, str]:
    """Metadata that every commit of one run carries; ``config`` is the dataclass of its options."""
    return {
        "run_id": uuid.uuid4().hex[:12],
        "program": program,
        "avcontrol": version("avcontrol"),
        "python": platform.python_version(),
        "config": json.dumps(asdict(config), sort_keys=True),
        "command": " ".join(sys.argv[1:])[:500],
    }
