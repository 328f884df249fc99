"""Building a catalog: list, scan, plan, make, commit. Reads as those five steps."""

from __future__ import annotations

import json
import logging
import platform
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from typing import Any, Literal

import pyarrow.dataset as pads

from catalogs.console import positive, progress
from catalogs.errors import InputError
from catalogs.options import setting
from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import LEDGER, REJECTS, SOURCES, samples_schema
from catalogs.store import Table
from pipelines.estimate import dry_run
from pipelines.identity import digest
from pipelines.modality import Modality
from pipelines.plan import Recipe, Unit, load_recipe, make_plan
from pipelines.runner import MediaWorker, Resources, run
from pipelines.selection import Selection
from pipelines.sources import Source, list_sources
from pipelines.timeline import Timeline

log = logging.getLogger("avcontrol")
_COMMIT_ROWS = 512
_FEW = 200


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Options of ``avcontrol build`` and ``python -m pipelines``; ``--help`` explains each."""

    modality: str = setting("The kind of control.", argument=True, completes="modality")
    input: str = setting("Folder of clips, glob, one file, Parquet table with a column video, or URI.")
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    catalog: str | None = setting("Name of the catalog; the modality's by default.", None)
    resolution: str = setting("WIDTHxHEIGHTxFRAMES of the clips.", "768x448x89")
    fps: str = setting("Frame rate of the clips: 24, 29.97, 30000/1001, …", "24")
    limit: int | None = setting("Use only the first so many sources.", None)
    settings: dict[str, str] = setting("An option of the modality; may be given many times.", {}, flag="set")
    seed: int = setting("Base of every random draw.", 0)
    decoder: Literal["auto", "pyav", "decord", "torchcodec"] = setting("What decodes the sources.", "auto")
    shots: Literal["content", "transnet", "off"] = setting(
        "How cuts are found; transnet is learned and slower, off takes sources as single shots.", "content"
    )
    captioner: str = setting(
        "transformers vision-language model (name or folder) that writes missing captions.", ""
    )
    min_motion: float = setting("Clips with less motion are rejected as static.", Selection().min_motion)
    min_brightness: float = setting(
        "Clips darker than this are rejected as black.", Selection().min_brightness
    )
    media_root: str | None = setting(
        "Folder that paths in a Parquet input may lie in, besides the table's own.", None
    )
    dry_run: bool = setting(
        "Show the graph, what would be built and what it would cost; build nothing.", False
    )
    retry_rejects: bool = setting("Make again what was rejected before.", False)
    workers: int = setting("Workers; 0 takes one for every --cpus that Ray has.", 0)
    cpus: float = setting("CPUs of a worker.", 1.0)
    gpus: float = setting("GPUs of a worker.", 0.0)
    memory_gb: float = setting(
        "Cap on a worker process's memory; 0 for none (captioner and transnet run without).", 6.0
    )
    timeout_s: float = setting("Seconds a clip may take before its worker is killed.", 600.0)
    stall_s: float = setting("Seconds without any result before the watchdog speaks up.", 300.0)
    commit_s: float = setting("Seconds between commits; each one is a version.", 10.0)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of one catalog."""

    samples: Table
    rejects: Table
    ledger: Table


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


def build(config: BuildConfig) -> Report | None:
    """Build a catalog; None for a dry run.

    Raises:
        ConfigError: A bad resolution, modality or option.
        InputError: Nothing usable at the input.
        StorageError: The root cannot be written.
    """
    started = time.monotonic()
    positive(config.limit, "--limit")
    timeline = Timeline.parse(config.resolution, config.fps)
    selection = Selection(min_motion=config.min_motion, min_brightness=config.min_brightness)
    modality, _, recipe = load_recipe(
        config.modality,
        config.settings,
        timeline,
        seed=config.seed,
        selection=selection,
        captioner=config.captioner,
        shots=config.shots,
    )
    name = config.catalog or modality.name
    # Models need more address space than decoders, and CUDA reserves far more than it uses.
    capped = not config.captioner and config.shots != "transnet"
    resources = Resources(
        workers=config.workers,
        cpus=config.cpus,
        gpus=config.gpus,
        stall_s=config.stall_s,
        timeout_s=config.timeout_s,
        memory_gb=config.memory_gb if capped else 0,
    )

    # 1. List the sources.
    sources = list_sources(config.input, limit=config.limit, media_root=config.media_root)
    if config.dry_run:
        dry_run(config.root, name, sources, modality, recipe)
        return None
    root = Root.open(config.root, create=True)
    root.sweep()
    run_info = _run_info(config)

    # 2. Scan those not seen before: hash, streams, length.
    scanned = scan(root, sources, resources, run_info, again=config.retry_rejects)

    # 3. Plan: units that the ledger does not have.
    tables = open_tables(root, name, modality)
    units = make_plan(sources, scanned, recipe, timeline)
    if config.retry_rejects:
        forget_rejects(tables, units, run_info)
    todo = remaining(tables.ledger, units)
    log.info("%s: %d sources, %d units, %d to do", name, len(sources), len(units), len(todo))

    # 4. Make them on Ray, and 5. commit what comes back.
    samples, rejects = make_all(root, tables, todo, modality, recipe, config, resources, run_info)
    replaced = replace_stale(tables, units, recipe, run_info)
    if not samples and rejects and not tables.samples.keys():
        raise InputError(
            f"none of {len(sources)} sources gave a sample; the first was rejected as "
            f"{_first_reason(tables, units)}",
            f"`avcontrol catalog rejects {name} --root {config.root}` lists all.",
        )
    tables.samples.refresh()
    return Report(
        catalog=f"{name}@{tables.samples.version}",
        samples=samples,
        rejects=rejects,
        units=len(todo),
        skipped=len(units) - len(todo),
        replaced=replaced,
        seconds=time.monotonic() - started,
    )


def scan(
    root: Root, sources: list[Source], resources: Resources, run_info: dict[str, str], *, again: bool = False
) -> dict[str, Any]:
    """Rows of the root's ``sources`` table for these sources, by source ID; unknown ones are scanned now.

    With ``again``, so are those that could not be used before.
    """
    table = Table.open(root, "sources", key=("source_id",), create=SOURCES)
    wanted = {source.id for source in sources}
    if again:
        refused = table.read(["source_id"], where=pads.field("reason").is_valid())["source_id"].to_pylist()
        table.delete("source_id", wanted.intersection(refused), run_info)
    known = table.keys()
    new = [source for source in sources if (source.id,) not in known]
    rows: list[dict[str, Any]] = []
    requests = [{"op": "scan", "source": asdict(source)} for source in new]
    limits: dict[str, Any] = {
        "request": {},
        "timeout_s": resources.timeout_s,
        "memory_gb": resources.memory_gb,
    }
    if len(new) <= _FEW:  # a worker process here and now: a pool on Ray takes longer to start than they do
        worker = MediaWorker(**limits)
        results: Iterable[dict[str, Any]] = chain.from_iterable(map(worker, requests))
    else:
        results = run(requests, MediaWorker, limits, resources)
    with progress("scan", len(new), "sources") as advance:
        for result in results:
            rows.append({**result, "run_id": run_info["run_id"]})
            advance(1)
            if len(rows) >= 4096:
                table.append_new(rows, run_info)
                rows.clear()
    table.append_new(rows, run_info)
    every = table.read(["source_id", "sha256", "ticks", "reason", "message"]).to_pylist()
    return {row["source_id"]: row for row in every if row["source_id"] in wanted}


def open_tables(root: Root, name: str, modality: Modality) -> Tables:
    """A catalog's tables, created where they do not exist."""
    return Tables(
        samples=table_of(root, name, create=samples_schema(modality.schema)),
        rejects=table_of(root, name, "rejects", create=REJECTS),
        ledger=table_of(root, name, "ledger", create=LEDGER),
    )


def remaining(ledger: Table, units: list[Unit]) -> list[Unit]:
    """The units whose place in the ledger is empty: an anti-join on our own keys."""
    done = ledger.keys()
    return [unit for unit in units if (ledger_id(unit.source.uri, unit.id),) not in done]


def ledger_id(source_uri: str, unit_id: str) -> str:
    """Key of a finished unit: what was done, and to which source."""
    return digest(uri=source_uri, unit=unit_id)


def make_all(
    root: Root,
    tables: Tables,
    todo: list[Unit],
    modality: Modality,
    recipe: Recipe,
    config: BuildConfig,
    resources: Resources,
    run_info: dict[str, str],
) -> tuple[int, int]:
    """Make units and commit them in small batches; returns how many samples and rejects were added."""
    request = {
        "op": "make",
        "recipe": asdict(recipe),
        "root": root.uri,
        "decoder": config.decoder,
        "run_id": run_info["run_id"],
    }
    pending: dict[str, list[dict[str, Any]]] = {"sample": [], "reject": [], "unit": []}
    samples = rejects = 0
    last = time.monotonic()
    schema = samples_schema(modality.schema)

    def commit() -> tuple[int, int]:
        # The ledger last: a unit counts as done only when its rows are in.
        added = tables.samples.append_new([result["row"] for result in pending["sample"]], run_info, schema)
        refused = tables.rejects.append_new([result["row"] for result in pending["reject"]], run_info)
        tables.ledger.append_new(
            [
                {
                    **result,
                    "ledger_id": ledger_id(result["source_uri"], result["unit_id"]),
                    "timeline": recipe.timeline,
                    "run_id": run_info["run_id"],
                }
                for result in pending["unit"]
            ],
            run_info,
        )
        for results in pending.values():
            results.clear()
        return added, refused

    with progress(modality.name, len(todo), "units") as advance:
        try:
            for result in run(
                [{"unit": asdict(unit)} for unit in todo],
                MediaWorker,
                {"request": request, "timeout_s": resources.timeout_s, "memory_gb": resources.memory_gb},
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
                if waiting >= _COMMIT_ROWS or time.monotonic() - last >= config.commit_s:
                    added, refused = commit()
                    samples, rejects, last = samples + added, rejects + refused, time.monotonic()
        finally:
            added, refused = commit()
    return samples + added, rejects + refused


def forget_rejects(tables: Tables, units: list[Unit], run_info: dict[str, str]) -> None:
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


def replace_stale(tables: Tables, units: list[Unit], recipe: Recipe, run_info: dict[str, str]) -> int:
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
        if row["source_uri"] in finished and row["timeline"] == recipe.timeline and row["unit_id"] not in mine
    ]
    stale = {row["unit_id"] for row in old}
    removed = tables.samples.delete("unit_id", stale, run_info)
    tables.rejects.delete("unit_id", stale, run_info)
    tables.ledger.delete("ledger_id", {row["ledger_id"] for row in old}, run_info)
    return removed


def _first_reason(tables: Tables, units: list[Unit]) -> str:
    mine = {unit.id for unit in units}
    row = next((row for row in tables.rejects.read().to_pylist() if row["unit_id"] in mine), None)
    return f"{row['reason']} ({row['message']})" if row else "unknown"


def _run_info(config: BuildConfig) -> dict[str, str]:
    """Metadata that every commit of this build carries."""
    return {
        "run_id": uuid.uuid4().hex[:12],
        "program": "build",
        "avcontrol": version("avcontrol"),
        "python": platform.python_version(),
        "config": json.dumps(asdict(config), sort_keys=True),
        "command": " ".join(sys.argv[1:])[:500],
    }
