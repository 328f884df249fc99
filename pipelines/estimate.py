"""What a build would do and cost, before it is run: the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from catalogs.errors import CatalogNotFound, ConfigError, SourceError
from catalogs.query import table_of
from catalogs.root import Root
from catalogs.store import Table
from pipelines.modality import Modality
from pipelines.plan import Recipe, Unit, make_plan
from pipelines.probe import probe
from pipelines.scan import local_source, sound_ticks, video_ticks
from pipelines.sources import Source
from pipelines.timeline import Timeline

# Measured on one core, frames of 1280x720 a CPU-second: decode and scale 150, x264 veryfast 46 (two a frame).
_DECODE_PIXELS, _ENCODE_PIXELS = 150 * 1280 * 720, 46 * 1280 * 720
_SOURCE_PIXELS = 1280 * 720
# x264 at crf 18, measured on ordinary footage and its edges.
_BYTES_PER_PIXEL = 0.06
_PROBE_AT_MOST = 500


def unit_seconds(units: Sequence[Unit], timeline: Timeline) -> float:
    """CPU-seconds that the average unit takes."""
    if not units:
        return 0.0
    frames = sum(unit.seconds for unit in units) / len(units) * float(timeline.fps)
    return frames * (_SOURCE_PIXELS / _DECODE_PIXELS + 2 * timeline.width * timeline.height / _ENCODE_PIXELS)


def dry_run(place: str, name: str, sources: list[Source], modality: Modality, recipe: Recipe) -> None:
    """Print the graph, the work and its cost. Nothing is written; at most 500 new sources are opened."""
    timeline = recipe.clip_timeline
    known, done = _known(place, name)
    new = [source for source in sources if source.id not in known]
    opened = {source.id: _scan(source) for source in new[:_PROBE_AT_MOST]}
    units = make_plan(sources, {**known, **opened}, recipe)
    todo = [unit for unit in units if unit.id not in done and not unit.reason]
    refused = [unit for unit in units if unit.reason]
    # Unscanned sources have no hash yet, so their unit IDs cannot be in the ledger: they count as work.
    scale = len(new) / len(opened) if opened else 1.0
    fresh = {source.id for source in new}
    seconds = sum(unit.seconds * (scale if unit.source.id in fresh else 1.0) for unit in todo)
    clips = int(seconds / float(timeline.duration))
    share = seconds / max(1e-9, sum(unit.seconds for unit in todo))
    cpu_hours = unit_seconds(todo, timeline) * len(todo) * share / 3600
    pixels = clips * timeline.frames * timeline.width * timeline.height
    size = pixels * (1 + 1 / modality.downscale**2) * _BYTES_PER_PIXEL
    shape = f"{timeline.width}x{timeline.height}x{timeline.frames}"
    click.echo(f"""graph
  list      {len(sources)} sources
  scan      {len(new)} new: hash, streams, length
  plan      {len(units)} units of up to 2 minutes, {len(units) - len(todo) - len(refused)} done before
  make      decode -> resample to {float(timeline.fps):g} fps by PTS -> split at cuts -> {shape} clips
            -> select -> {recipe.estimator} -> canvas at 1/{modality.downscale} -> H.264, FLAC, npz
  commit    to {name} under {place}
to build    {len(todo)} units, {seconds / 60:.1f} minutes of video, at most {clips} samples
refused     {len(refused)} sources{
        "".join(
            f'''
            {unit.source.uri}: {unit.reason}'''
            for unit in refused[:10]
        )
    }
estimate    {cpu_hours:.3g} CPU hours, 0 GPU hours, {size / 1e6:.0f} MB, before cuts and rejects""")


def _known(place: str, name: str) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Scanned sources and finished units of a root that may not exist yet."""
    try:
        root = Root.open(place)
        scanned = Table.open(root, "sources", key=("source_id",)).read().to_pylist()
        known = {row["source_id"]: row for row in scanned}
        return known, set(table_of(root, name, "ledger").read(["unit_id"])["unit_id"].to_pylist())
    except ConfigError:
        return {}, set()
    except CatalogNotFound:
        return {}, set()


def _scan(source: Source) -> dict[str, Any]:
    row: dict[str, Any] = {"sha256": None, "ticks": 0, "sound_ticks": 0, "reason": None, "message": None}
    try:
        with local_source(source.uri) as path:
            row["sound_ticks"] = sound_ticks(path)
            row["ticks"] = video_ticks(probe(path))
    except SourceError as error:
        row |= {"reason": error.reason, "message": str(error)}
    return row
