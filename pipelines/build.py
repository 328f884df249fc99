"""Building a catalog from clips: list, scan, plan, make, commit. Reads as those five steps."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

import pyarrow.dataset as pads

from catalogs.console import positive, progress
from catalogs.errors import ConfigError
from catalogs.root import Root
from catalogs.schema import SOURCES
from catalogs.store import Table
from pipelines import modality as modalities
from pipelines.commit import Report, Work, make_and_commit, run_metadata
from pipelines.config import BuildConfig
from pipelines.estimate import dry_run
from pipelines.identity import canonical
from pipelines.plan import load_recipe, make_plan
from pipelines.runner import MediaWorker, Resources, run
from pipelines.selection import Selection
from pipelines.sources import Source, list_sources
from pipelines.timeline import Timeline

_FEW = 200


def build(config: BuildConfig) -> Report | None:
    """Build a catalog: of clips at ``--input``, of takes in a catalog (``--from``), or of scenes (``multicam``).

    Returns:
        What was done; None for a dry run.

    Raises:
        ConfigError: A bad resolution, modality or option.
        InputError: Nothing usable at the input.
        StorageError: The root cannot be written.
        EstimatorUnavailable: Blender is needed and not here.
    """
    started = time.monotonic()
    positive(config.limit, "--limit")
    if config.modality == "multicam":
        from pipelines.multicam import build_scenes

        report = build_scenes(config)
    elif config.from_catalog is not None:
        from pipelines.pairs import build_pairs

        report = build_pairs(config)
    else:
        report = build_clips(config)
    return report and replace(report, seconds=time.monotonic() - started)


def build_clips(config: BuildConfig) -> Report | None:
    """Build a catalog of pairs from the clips at ``--input``; see :func:`build`."""
    if config.input is None:
        raise ConfigError(
            f"build {config.modality} needs --input", "Or --from a catalog of rendered takes: 'scenes@3'."
        )
    timeline = Timeline.parse(config.resolution or "768x448x89", config.fps)
    if modalities.load(config.modality).signal is None:
        raise ConfigError(
            f"{config.modality} is made from rendered scenes only",
            "Give --from 'scenes@N' instead of --input.",
        )
    selection = Selection(min_motion=config.min_motion, min_brightness=config.min_brightness)
    modality, params, recipe = load_recipe(
        config.modality,
        config.settings,
        timeline,
        seed=config.seed,
        selection=selection,
        captioner=config.captioner,
        shots=config.shots,
    )
    if modality.prepare is not None and not config.dry_run:
        params = modality.prepare(Root.open(config.root, create=True), params)
        recipe = replace(recipe, params=canonical(asdict(params)))
    name, resources = config.catalog or modality.name, config.resources()

    # 1. List the sources.
    sound = modality.media == "audio"
    sources = list_sources(config.input, limit=config.limit, media_root=config.media_root, sound=sound)
    if config.dry_run:
        dry_run(config.root, name, sources, modality, recipe)
        return None
    root = Root.open(config.root, create=True)
    root.sweep()
    run_info = run_metadata("build", config)

    # 2. Scan those not seen before: hash, streams, length.
    scanned = scan(root, sources, resources, run_info, again=config.retry_rejects)

    # 3. Plan, 4. make on Ray what the ledger does not have, and 5. commit what comes back.
    work = Work(
        catalog=name,
        label=modality.name,
        columns=modality.schema,
        timeline=recipe.timeline,
        units=make_plan(sources, scanned, recipe),
        request={"op": "make", "recipe": asdict(recipe), "root": root.uri, "decoder": config.decoder},
        resources=resources,
        commit_s=config.commit_s,
    )
    return make_and_commit(root, work, run_info, retry_rejects=config.retry_rejects)


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
    every = table.read(["source_id", "sha256", "ticks", "sound_ticks", "reason", "message"]).to_pylist()
    return {row["source_id"]: row for row in every if row["source_id"] in wanted}
