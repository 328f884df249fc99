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
from pipelines.plan import Recipe, Unit
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
class Output:
    """What one catalog gets of a build.

    Attributes:
        catalog: Its name.
        columns: The modality's own columns.
        recipe: How its units are made.
        units: All of the plan, those that are done included.
    """

    catalog: str
    columns: pa.Schema
    recipe: Recipe
    units: Sequence[Unit]


@dataclass(frozen=True, kw_only=True)
class Work:
    """A plan, and how it is made.

    Attributes:
        label: Name on the progress bar.
        outputs: Its catalogs. Units of several outputs over one segment of a source are made together.
        request: What every request to a worker has in common.
        resources: What the workers may use.
        commit_s: Seconds between commits.
    """

    label: str
    outputs: Sequence[Output]
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
) -> list[Report]:
    """Make what the ledgers do not have, commit it as it comes, and remove what it replaces; a report per output.

    Raises:
        InputError: Nothing but rejects, and no samples from before.
        StorageError: The root cannot be written.
    """
    started, outputs = time.monotonic(), work.outputs
    tables = [open_tables(root, output.catalog, output.columns) for output in outputs]
    todo = []
    for output, own in zip(outputs, tables, strict=True):
        if retry_rejects:
            forget_rejects(own, output.units, run_info)
        todo.append(remaining(own.ledger, output.units))
        log.info("%s: %d units, %d to do", output.catalog, len(output.units), len(todo[-1]))
    counts = make_all(tables, todo, work, run_info)
    reports, barren = [], []
    for output, own, mine, (samples, rejects) in zip(outputs, tables, todo, counts, strict=True):
        replaced = replace_stale(own, output.units, output.recipe.timeline, run_info)
        if not samples and rejects and not own.samples.keys():
            barren.append(
                InputError(
                    f"nothing gave a sample; the first of {rejects} rejects is {_first_reason(own, output.units)}",
                    f"`avcontrol catalog rejects {output.catalog} --root {root.uri}` lists all.",
                )
            )
        own.samples.refresh()
        reports.append(
            Report(
                catalog=f"{output.catalog}@{own.samples.version}",
                samples=samples,
                rejects=rejects,
                units=len(mine),
                skipped=len(output.units) - len(mine),
                replaced=replaced,
                seconds=time.monotonic() - started,
            )
        )
    if len(barren) == len(outputs):
        raise barren[0]
    for error in barren:
        log.warning("%s", error)
    return reports


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


def make_all(
    tables: Sequence[Tables], todo: Sequence[Sequence[Unit]], work: Work, run_info: dict[str, str]
) -> list[tuple[int, int]]:
    """Make units and commit them in small batches; returns how many samples and rejects each output got.

    Args:
        tables: Where the rows of each output go.
        todo: What to make for each.
        work: The plan, and how it is made.
        run_info: Metadata that every commit carries.
    """
    owner = {unit.id: index for index, units in enumerate(todo) for unit in units}
    pending: list[dict[str, list[dict[str, Any]]]] = [{"sample": [], "reject": [], "unit": []} for _ in todo]
    counts, last = [(0, 0) for _ in todo], time.monotonic()

    def commit() -> None:
        for index, (own, output, waiting) in enumerate(zip(tables, work.outputs, pending, strict=True)):
            # The ledger last: a unit counts as done only when its rows are in.
            schema = samples_schema(output.columns)
            added = own.samples.append_new([result["row"] for result in waiting["sample"]], run_info, schema)
            refused = own.rejects.append_new([result["row"] for result in waiting["reject"]], run_info)
            done = [
                {
                    **result,
                    "ledger_id": ledger_id(result["source_uri"], result["unit_id"]),
                    "timeline": output.recipe.timeline,
                    "run_id": run_info["run_id"],
                }
                for result in waiting["unit"]
            ]
            own.ledger.append_new(done, run_info)
            counts[index] = (counts[index][0] + added, counts[index][1] + refused)
            for results in waiting.values():
                results.clear()

    resources = work.resources
    limits = {"timeout_s": resources.timeout_s, "memory_gb": resources.memory_gb}
    arguments = {"request": {**work.request, "run_id": run_info["run_id"]}, **limits}
    with progress(work.label, len(owner), "units") as advance:
        try:
            for result in run(requests(todo, work.outputs), MediaWorker, arguments, resources):
                unit_id = result["unit_id"] if result["event"] == "unit" else result["row"]["unit_id"]
                pending[owner[unit_id]][result["event"]].append(result)
                if result["event"] != "unit":
                    continue
                made = [sum(len(waiting[kind]) for waiting in pending) for kind in ("sample", "reject")]
                samples, rejects = (sum(count[kind] for count in counts) + made[kind] for kind in range(2))
                advance(1, f"{samples} samples, {rejects} rejects")
                if sum(made) >= _COMMIT_ROWS or time.monotonic() - last >= work.commit_s:
                    commit()
                    last = time.monotonic()
        finally:
            commit()
    return counts


def requests(todo: Sequence[Sequence[Unit]], outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """What workers are asked: for each segment of a source its ``parts``, a ``unit`` with its ``recipe`` each."""
    together: dict[tuple[str, tuple[int, int]], list[dict[str, Any]]] = {}
    for units, output in zip(todo, outputs, strict=True):
        recipe = asdict(output.recipe)
        for unit in units:
            parts = together.setdefault((unit.source.uri, unit.segment), [])
            parts.append({"unit": asdict(unit), "recipe": recipe})
    return [{"parts": parts} for parts in together.values()]


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
