"""Building pairs out of the takes of rendered scenes: read, plan, make, commit. Nothing is rendered again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import click
import pyarrow as pa

from catalogs.errors import ConfigError, InputError
from catalogs.query import pin, select, table_of
from catalogs.root import Root
from pipelines import modality as modalities
from pipelines.commit import Output, Report, Work, make_and_commit, run_metadata
from pipelines.config import BuildConfig
from pipelines.identity import digest
from pipelines.plan import Recipe, Unit, load_recipe
from pipelines.selection import Selection
from pipelines.sources import Source
from pipelines.timeline import Timeline
from training.backbone import FACTORS

COLUMNS = pa.schema(
    [
        ("scene_id", pa.string()),
        ("scene_index", pa.int64()),
        ("camera", pa.string()),
        ("reference_camera", pa.string()),
    ]
)
"""Own columns of every pair made from takes, after the modality's."""

NEEDED = ["sample_id", "scene_id", "scene_index", "seed", "width", "height", "frames", "fps_num", "fps_den"]
ANY = Selection(min_motion=0, min_brightness=0, max_black=1)


def build_pairs(config: BuildConfig) -> Report | None:
    """Make a catalog of pairs from the takes that ``--from`` selects; see :func:`pipelines.build.build`."""
    assert config.from_catalog is not None
    if config.input is not None:
        raise ConfigError("--input and --from exclude each other", "Give the one that holds the material.")
    if modalities.load(config.modality).exact is None:
        raise ConfigError(
            f"{config.modality} is not made from rendered scenes", "Give --input instead of --from."
        )

    # 1. Read which takes there are.
    root = Root.open(config.root)
    catalog = pin(root, config.from_catalog)
    if "scene_id" not in table_of(root, catalog.name, version=catalog.version).schema.names:
        raise InputError(
            f"{catalog} holds no rendered takes", "Render some: avcontrol build multicam --root …"
        )
    takes = select(root, catalog, [*NEEDED, "estimator"]).to_pylist()
    if not takes:
        raise InputError(f"{catalog} selects no takes", "Render some: avcontrol build multicam --root …")
    timeline = timeline_of(takes, config.resolution)
    modality, _, recipe = load_recipe(
        config.modality,
        config.settings,
        timeline,
        seed=config.seed,
        selection=ANY,
        estimator=takes[0]["estimator"],
    )

    # 2. Plan: one unit a scene.
    units = plan(catalog.name, takes, recipe, timeline, config.limit)
    name = config.catalog or modality.name
    if config.dry_run:
        click.echo(f"""graph
  read      {len(takes)} takes of {len(units)} scenes from {catalog}
  make      choose takes -> {recipe.timeline.partition("@")[0]} -> exact signal -> canvas at 1/{modality.downscale}
  commit    to {name} under {config.root}
to build    {len(units)} scenes, those done before included; nothing is rendered""")
        return None

    # 3. Make what the ledger does not have, and 4. commit it.
    columns = pa.schema([*modality.schema, *COLUMNS])
    work = Work(
        label=modality.name,
        outputs=[Output(catalog=name, columns=columns, recipe=recipe, units=units)],
        request={"op": "pairs", "root": root.uri, "from": str(catalog)},
        resources=config.resources(),
        commit_s=config.commit_s,
    )
    return make_and_commit(root, work, run_metadata("build", config), retry_rejects=config.retry_rejects)[0]


def timeline_of(takes: Iterable[Mapping[str, Any]], resolution: str | None) -> Timeline:
    """The clip timeline of pairs: as asked for, or the takes' own size and length cut to what the backbone takes.

    Raises:
        ConfigError: The takes differ in rate, or in size and nothing was asked for, or are too short or small.
    """
    shapes = {
        (take["width"], take["height"], take["frames"], take["fps_num"], take["fps_den"]) for take in takes
    }
    width, height, frames, *rate = min(shapes, key=lambda shape: shape[2])
    if len({shape[3:] for shape in shapes}) > 1 or (resolution is None and len(shapes) > 1):
        raise ConfigError(
            "the takes differ in size, length or rate", "Select alike ones: 'scenes@3?width=256'."
        )
    if resolution is None:
        width, height = width // FACTORS.space * FACTORS.space, height // FACTORS.space * FACTORS.space
        resolution = f"{width}x{height}x{(frames - 1) // FACTORS.time * FACTORS.time + 1}"
    timeline = Timeline.parse(resolution, str(Fraction(*rate)))
    if timeline.frames > frames:
        raise ConfigError(f"the takes have {frames} frames, {timeline.frames} are asked for")
    return timeline


def plan(
    catalog: str, takes: Iterable[Mapping[str, Any]], recipe: Recipe, timeline: Timeline, limit: int | None
) -> list[Unit]:
    """One unit for every scene, in the order of their numbers; its ID hangs on all takes of the scene."""
    scenes: dict[tuple[int, int, str], list[str]] = defaultdict(list)
    for take in takes:
        scenes[take["seed"], take["scene_index"], take["scene_id"]].append(take["sample_id"])
    return [
        Unit(
            id=digest(recipe=recipe.id, takes=sorted(ids)),
            source=Source(uri=f"{catalog}:{seed}/{index}", size=0, mtime_ns=0),
            sha256=scene,
            segment=(0, timeline.ticks),
        )
        for (seed, index, scene), ids in sorted(scenes.items())[:limit]
    ]
