"""Building catalogs from clips: list, scan, plan, make, commit. Reads as those five steps."""

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
from pipelines.commit import Output, Report, Work, make_and_commit, run_metadata
from pipelines.config import BuildConfig
from pipelines.estimate import dry_run
from pipelines.grade_table import load_grades
from pipelines.identity import canonical
from pipelines.plan import Recipe, load_recipe, make_plan
from pipelines.runner import MediaWorker, Resources, run
from pipelines.selection import Selection
from pipelines.sources import Source, list_sources
from pipelines.timeline import Timeline

_FEW = 200


def build(config: BuildConfig) -> list[Report]:
    """Build catalogs: of clips at ``--input``, of takes in a catalog (``--from``), or of scenes (``multicam``).

    Returns:
        What was done, for each modality; none for a dry run.

    Raises:
        ConfigError: A bad resolution, modality or option.
        InputError: Nothing usable at the input.
        StorageError: The root cannot be written.
        EstimatorUnavailable: An estimator or Blender is needed and not here.
    """
    started = time.monotonic()
    positive(config.limit, "--limit")
    if config.modality == "multicam":
        from pipelines.multicam import build_scenes

        reports = [build_scenes(config)]
    elif config.from_catalog is not None:
        from pipelines.pairs import build_pairs

        reports = [build_pairs(each) for each in one_by_one(config)]
    else:
        reports = [*build_clips(config)]
    return [replace(report, seconds=time.monotonic() - started) for report in reports if report]


def one_by_one(config: BuildConfig) -> list[BuildConfig]:
    """The same build for each of its modalities, with its own options; of several they begin with its name and a dot.

    Raises:
        ConfigError: A modality is named twice, or an option belongs to none of several.
    """
    names = [modalities.load(name).name for name in config.modality.split(",")]
    if len(names) == 1:
        return [config]
    if len(set(names)) < len(names):
        raise ConfigError(f"{config.modality} names a modality twice")
    if config.catalog is not None:
        raise ConfigError(
            "--catalog names one catalog", "Several modalities go into catalogs of their names."
        )
    settings: dict[str, dict[str, str]] = {name: {} for name in names}
    for key, text in config.settings.items():
        name, _, option = key.partition(".")
        owner = settings.get(name.replace("-", "_"))
        if not option or owner is None:
            raise ConfigError(
                f"--set {key} does not say whose option it is",
                f"Write --set {names[0]}.{option or key}={text}.",
            )
        owner[option] = text
    return [replace(config, modality=name, settings=settings[name]) for name in names]


def build_clips(config: BuildConfig) -> list[Report]:
    """Build a catalog of pairs for each modality from the clips at ``--input``; see :func:`build`."""
    if config.input is None:
        raise ConfigError(
            f"build {config.modality} needs --input", "Or --from a catalog of rendered takes: 'scenes@3'."
        )
    configs = one_by_one(config)
    made = [modalities.load(each.modality) for each in configs]
    sound = made[0].media == "audio"
    for modality in made:
        if modality.signal is None:
            raise ConfigError(
                f"{modality.name} is made from rendered scenes only",
                "Give --from 'scenes@N' instead of --input.",
            )
        if len(made) > 1 and modality.media == "audio":
            raise ConfigError(f"{modality.name} looks at no frames, and shares none", "Build it by itself.")

    # 1. List the sources.
    sources = list_sources(config.input, limit=config.limit, media_root=config.media_root, sound=sound)
    recipes = [recipe_of(each) for each in configs]
    chosen = {name for recipe in recipes for name in recipe.estimator.split("+")}
    for name in sorted(set(config.estimator_path) - chosen):
        raise ConfigError(
            f"--estimator-path {name}=… is of no estimator that is used",
            f"Used: {', '.join(sorted(chosen))}.",
        )
    if config.dry_run:
        for modality, recipe in zip(made, recipes, strict=True):
            dry_run(config.root, config.catalog or modality.name, sources, modality, recipe)
        return []
    root = Root.open(config.root, create=True)
    root.sweep()
    run_info = run_metadata("build", config)

    # 2. Scan those not seen before: hash, streams, length.
    resources = config.resources(networks=any(recipe.weights for recipe in recipes))
    scanned = scan(root, sources, resources, run_info, again=config.retry_rejects)

    # 3. Plan, 4. make on Ray what the ledgers do not have, and 5. commit what comes back.
    work = Work(
        label=config.modality,
        outputs=[
            Output(
                catalog=config.catalog or modality.name,
                columns=modality.schema,
                recipe=recipe,
                units=make_plan(sources, scanned, recipe),
            )
            for modality, recipe in zip(made, recipes, strict=True)
        ],
        request={"op": "sound" if sound else "make", "root": root.uri, "decoder": config.decoder},
        resources=resources,
        commit_s=config.commit_s,
    )
    return make_and_commit(root, work, run_info, retry_rejects=config.retry_rejects)


def recipe_of(config: BuildConfig) -> Recipe:
    """How one modality is made of clips; what its options name is put into the root, unless the run is dry."""
    modality, params, recipe = load_recipe(
        config.modality,
        config.settings,
        Timeline.parse(config.resolution or "768x448x89", config.fps),
        seed=config.seed,
        selection=Selection(min_motion=config.min_motion, min_brightness=config.min_brightness),
        captioner=config.captioner,
        shots=config.shots,
        checkouts=config.estimator_path,
    )
    if modality.estimator_of is not None:
        family = modality.estimator_of(params).family
        graded = load_grades(config.root, family, recipe.estimator, recipe.weights)
        recipe = replace(recipe, calibration=graded)
    if modality.prepare is None or config.dry_run:
        return recipe
    params = modality.prepare(Root.open(config.root, create=True), params)
    return replace(recipe, params=canonical(modalities.sample_params(params)))


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
