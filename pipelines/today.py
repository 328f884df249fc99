"""What a build of the past would make today: its recipe with this code, these options and estimators, and its units."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from catalogs.errors import AvcontrolError, CatalogNotFound, EstimatorUnavailable
from catalogs.query import pin, run_sql, select
from catalogs.root import Root
from catalogs.store import Table
from pipelines import blender, multicam, pairs
from pipelines import modality as modalities
from pipelines.build import one_by_one, recipe_of
from pipelines.config import BuildConfig
from pipelines.identity import canonical
from pipelines.modality import parse_params
from pipelines.plan import STAGES_VERSION, Recipe, Unit, load_recipe, make_plan
from pipelines.sources import Source, list_sources
from pipelines.takes import TakeParams


@dataclass(frozen=True, kw_only=True)
class Today:
    """What a run would make now.

    Attributes:
        columns: Identity columns as they would be; one that cannot be known is missing.
        units: IDs of its units, None where they cannot be known.
        sources: What lies at its input, by URI; None where that is not files, or cannot be listed.
        unknown: What cannot be known, and why.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    units: frozenset[str] | None = None
    sources: Mapping[str, Source] | None = None
    unknown: tuple[str, ...] = ()


def today(root: Root, config: str | None, modality: str, scanned: dict[str, dict[str, Any]]) -> Today:
    """What a run would make now of the sources as they are.

    Args:
        root: Where its catalog lies.
        config: Options of the run, as its commits carry them; None where the log is gone.
        modality: Which of the run's modalities.
        scanned: Rows of the table ``sources`` by source ID.
    """
    given = json.loads(config) if config else None
    if not isinstance(given, dict) or "modality" not in given:
        return Today(unknown=("the run that made them is not in this catalog's log",))
    known = {each.name for each in dataclasses.fields(BuildConfig)}
    whole = BuildConfig(**{key: value for key, value in given.items() if key in known})
    whole = replace(whole, root=root.uri, dry_run=True)
    try:
        if whole.modality == multicam.NAME:
            return _scenes(whole)
        # Named alone: several of one command have each their own catalog and options.
        named = {
            modalities.load(each.modality).name: each for each in one_by_one(replace(whole, catalog=None))
        }
        own = named[modality]
        return _takes(root, own) if own.from_catalog is not None else _clips(own, scanned)
    except KeyError:
        return Today(unknown=(f"its run made no {modality}",))
    except AvcontrolError as error:
        return Today(unknown=(f"the same command is refused today: {error.message}",))


def _clips(config: BuildConfig, scanned: dict[str, dict[str, Any]]) -> Today:
    unknown = []
    sources: list[Source] | None = None
    sound = modalities.load(config.modality).media == "audio"
    try:
        assert config.input is not None
        sources = list_sources(config.input, limit=config.limit, media_root=config.media_root, sound=sound)
    except AvcontrolError as error:
        unknown.append(f"captions, licences and new sources: {error.message}")
    listed = None if sources is None else {source.uri: source for source in sources}
    try:
        recipe = recipe_of(config)
    except EstimatorUnavailable as error:
        code = f"{STAGES_VERSION}.{modalities.load(config.modality).version}"
        unknown.append(f"the estimator's weights: {error.message}")
        return Today(columns={"code_version": code}, sources=listed, unknown=tuple(unknown))
    units = None if sources is None else make_plan(sources, scanned, recipe)
    return Today(columns=_columns(recipe), units=_ids(units), sources=listed, unknown=tuple(unknown))


def _takes(root: Root, config: BuildConfig) -> Today:
    assert config.from_catalog is not None
    try:
        catalog = pin(root, config.from_catalog)
        takes = select(root, catalog, [*pairs.NEEDED, "estimator"]).to_pylist()
    except CatalogNotFound as error:
        return Today(unknown=(f"the takes: {error.message}",))
    if not takes:
        return Today(unknown=(f"the takes: {catalog} selects none",))
    timeline = pairs.timeline_of(takes, config.resolution)
    recipe = load_recipe(
        config.modality,
        config.settings,
        timeline,
        seed=config.seed,
        selection=pairs.ANY,
        estimator=takes[0]["estimator"],
    )[2]
    units = pairs.plan(catalog.name, takes, recipe, timeline, config.limit)
    return Today(columns=_columns(recipe), units=_ids(units))


def _scenes(config: BuildConfig) -> Today:
    settings = {key: value for key, value in config.settings.items() if key != "motions"}
    params = {
        "params": asdict(parse_params(multicam.NAME, TakeParams, settings)),
        "cameras": config.cameras,
    }
    columns = {"code_version": str(multicam.VERSION), "params": canonical(params), "seed": config.seed}
    unknown = ["the motions that people perform"]
    try:
        columns["estimator"] = f"blender {blender.version()}"
    except AvcontrolError as error:
        unknown.append(f"Blender's version: {error.message}")
    return Today(columns=columns, unknown=tuple(unknown))


def _columns(recipe: Recipe) -> dict[str, Any]:
    return {
        "code_version": recipe.code_version,
        "estimator": recipe.estimator,
        "estimator_weights": recipe.weights,
        "params": recipe.params,
        "timeline": recipe.timeline,
        "seed": recipe.seed,
        "calibration": recipe.calibration or None,
    }


def _ids(units: list[Unit] | None) -> frozenset[str] | None:
    return None if units is None else frozenset(unit.id for unit in units)


def scanned_sources(root: Root) -> dict[str, dict[str, Any]]:
    """Rows of the root's table ``sources`` by source ID."""
    try:
        table = Table.open(root, "sources", key=("source_id",))
    except CatalogNotFound:
        return {}
    rows = run_sql(table, "SELECT source_id, sha256, ticks, sound_ticks, reason, message FROM rows")
    return {row["source_id"]: row for row in rows.to_pylist()}
