"""Making pairs: from the takes of one rendered scene to samples and rejects. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from catalogs.errors import SourceError
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from pipelines import modality as modalities
from pipelines.identity import digest
from pipelines.make import common_columns, reject
from pipelines.modality import Clip
from pipelines.plan import Recipe
from pipelines.sample import sample_row
from pipelines.timeline import Timeline
from pipelines.views import View


def make_pairs(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make the pairs of one scene.

    Args:
        request: ``unit`` and ``recipe`` as dicts, ``root`` URI, ``from`` (pinned ID of the takes), ``run_id``.

    Yields:
        ``{"event": "clip", "span": …}`` before each pair, then ``{"event": "sample" | "reject", "row": …}``.

    Raises:
        StorageError: The root cannot be written; the build must stop.
    """
    unit, recipe = request["unit"], Recipe(**request["recipe"])
    root, timeline, modality = (
        Root.open(request["root"]),
        recipe.clip_timeline,
        modalities.load(recipe.modality),
    )
    params = recipe.options(modality)
    span, common = (0, timeline.ticks), common_columns(request)
    views = _views(root, CatalogID.parse(request["from"]), unit["sha256"], timeline)
    pairs = modality.takes(views, params)
    if not pairs:
        cameras = ", ".join(view.row["camera"] for view in views)
        yield reject(common, span, "takes", "no_pair", f"its takes make no pair: {cameras}")
    for other, view in pairs:
        yield {"event": "clip", "span": span}
        names = (other.row["camera"], view.row["camera"])
        pair = {
            "sha256": digest(reference=other.row["sample_id"], target=view.row["sample_id"]),
            "source": {
                "caption": view.row["caption"],
                "caption_source": view.row["caption_source"],
                "license": view.row["source_license"],
                "attribution": view.row["source_attribution"],
            },
        }
        try:
            clip = Clip(frames=view.frames, audio=None, timeline=timeline, view=view, other=other)
            kept = view.row["video"] if view.whole else None
            row = sample_row(root, modality, recipe, clip, pair, span, stored_clip=kept)
        except SourceError as error:
            yield reject(common, span, f"pair {names[0]} {names[1]}", error.reason, str(error))
            continue
        takes = {"reference": other, "target": view} if other is not view else {"target": view}
        signals = [
            {"name": f"{side} {signal['name']}", "path": signal["path"]}
            for side, take in takes.items()
            for signal in take.row["signals"]
        ]
        own = {
            "signals": [*row["signals"], *signals],
            "source_sha256": pair["sha256"],
            "scene_id": view.row["scene_id"],
            "scene_index": view.row["scene_index"],
            "camera": names[1],
            "reference_camera": names[0],
        }
        yield {"event": "sample", "row": {**common, **row, **own}}


def _views(root: Root, catalog: CatalogID, scene_id: str, timeline: Timeline) -> list[View]:
    """The takes of a scene that the catalog ID selects, by camera."""
    where = f"scene_id = '{scene_id}'" + (f" AND ({catalog.where}\n)" if catalog.where else "")
    rows = select(root, replace(catalog, where=where)).to_pylist()
    return [
        View(root=root, row=row, timeline=timeline)
        for row in sorted(rows, key=lambda row: str(row["camera"]))
    ]
