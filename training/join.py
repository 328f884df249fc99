"""A catalog's samples joined with their encodings by streaming queries; what comes out is kept as an index."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalogs import encodings
from catalogs.encodings import KINDS, MEDIA
from catalogs.errors import EstimatorUnavailable, TrainingError
from catalogs.ids import CatalogID
from catalogs.query import asking, condition, table_of
from catalogs.root import Root, storage_errors
from catalogs.spool import set_aside
from catalogs.store import Table
from training.backbone import cache_dir, encoder_hash
from training.index import Examples, folder_of, write

_FORMAT = "1"  # of an index; another one is made anew
_MEMORY = "1GB"  # what the join may hold; the rest goes to the disk
_BATCH_ROWS = 32_768

Ask = Callable[[str], duckdb.DuckDBPyRelation]


def opened(root: Root, catalog: CatalogID, path: Path, backbone: str, streams: str) -> Examples:
    """The index of a pinned catalog ID, made now if the cache has none; arguments and errors as `data.load`."""
    samples, made = table_of(root, catalog.name, version=catalog.version), encodings.encodings(root)
    version = f"{made.id}@{made.version}" if isinstance(made, Table) else ""
    hashes = {kind: _hash(path, kind) for kind in KINDS}
    key = (_FORMAT, root.uri, samples.id, str(catalog), version, *hashes.values(), streams)
    folder = folder_of(cache_dir(), *key)
    if not folder.is_dir():
        join = _Join(
            root=root, catalog=catalog, path=path, backbone=backbone, samples=samples, encodings=made
        )
        join.write(folder, streams, hashes)
    examples = Examples(folder)
    _check_shapes(examples, catalog, path, backbone)
    return examples


@dataclass(frozen=True, kw_only=True)
class _Join:
    root: Root
    catalog: CatalogID
    path: Path
    backbone: str
    samples: Table
    encodings: Table | pa.Table

    def write(self, folder: Path, streams: str, hashes: Mapping[str, str]) -> None:
        """Check the samples, join them and write their index."""
        chosen = _chosen(self.samples, self.catalog)
        with asking({"rows": self.samples, "encodings": self.encodings}, _MEMORY) as ask:
            about = self._about(ask, chosen, streams)
            columns = {name: encodings.COLUMNS[name] for name in about["columns"]}
            kinds = {*columns.values(), "text"}
            hashes = {kind: hashes[kind] or encoder_hash(self.path, kind) for kind in kinds}
            self._check_encoded(ask, columns, hashes)
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        # One join at a time, and the sort apart: together each of them wants all of the memory.
        rows: Table | pa.Table = self.samples
        last = f"SELECT sample_id, unit_id, caption, fps, {', '.join(columns)} FROM ({chosen})"
        for name, source, encoder in (
            *((column, column, hashes[kind]) for column, kind in columns.items()),
            ("text", "caption", hashes["text"]),
        ):
            made = f"SELECT input, path, shape FROM encodings WHERE encoder = '{encoder}'"
            sql = (
                f"SELECT last.*, made.path AS {name}_latents, made.shape AS {name}_shape "
                f"FROM ({last}) AS last JOIN ({made}) AS made ON input = {source}"
            )
            with asking({"rows": rows, "encodings": self.encodings}, _MEMORY) as ask:
                rows = set_aside(ask(sql).to_arrow_reader(_BATCH_ROWS), folder.parent)
            last = "SELECT * FROM rows"
        with asking({"rows": rows, "encodings": self.encodings}, _MEMORY) as ask:
            write(folder, ask(_sorted(columns)).to_arrow_reader(_BATCH_ROWS), about)

    def _about(self, ask: Ask, chosen: str, streams: str) -> dict[str, Any]:
        """What the samples have in common.

        Raises:
            TrainingError: There are none, or they differ where they must not.
        """
        lacking = ", ".join(
            f"min(sample_id) FILTER ({name} IS NULL) AS no_{name}, count({name}) AS {name}"
            for name in encodings.COLUMNS
        )
        found = ask(
            "SELECT count(*) AS count, list_sort(list(DISTINCT scale)) AS scales, "
            "list_sort(list(DISTINCT streams)) AS streams, arg_min(modality, sample_id) AS modality, "
            f"arg_min(steps, sample_id) AS steps, {lacking} FROM ({chosen})"
        )
        about = found.to_arrow_table().to_pylist()[0]
        catalog = self.catalog
        if not about["count"]:
            raise TrainingError(f"{catalog} selects no samples", "avcontrol catalog show lists what there is")
        streams = _streams(about["streams"], catalog) if streams == "auto" else streams
        kinds = ("video", "audio") if streams == "joint" else (streams,)
        columns = []
        for kind in kinds:  # a joint run may have a stream without a reference
            target, reference = MEDIA[kind]
            columns += [target, reference] if about[reference] or streams != "joint" else [target]
        for column in columns:
            if about[f"no_{column}"]:
                raise TrainingError(
                    f"sample {about[f'no_{column}']} has no {column}, which training {streams} needs",
                    f"select samples that do: '…?{column} is not null', or choose other --streams",
                )
        if len(about["scales"]) > 1:
            raise TrainingError(
                f"{catalog} mixes canvas scales {about['scales']}",
                f"select one: '{catalog.name}?reference_downscale={about['scales'][0]}'",
            )
        return {
            "columns": columns,
            "streams": streams,
            "references": [kind for kind in kinds if MEDIA[kind][1] in columns],
            "scale": about["scales"][0],
            "modality": about["modality"],
            "steps": about["steps"],
        }

    def _check_encoded(self, ask: Ask, columns: Mapping[str, str], hashes: Mapping[str, str]) -> None:
        """Say which encodings are missing, and whether another backbone's are there."""
        missing = (
            f"SELECT kind, input FROM ({encodings.found(self.catalog, hashes, columns)}) WHERE path IS NULL"
        )
        [(count,)] = ask(f"SELECT count(*) FROM ({missing})").fetchall()
        if not count:
            return
        others = ask(
            f"SELECT backbone, count(DISTINCT (kind, input)) FROM ({missing}) JOIN encodings USING (kind, input) "
            "GROUP BY backbone ORDER BY 2 DESC, 1"
        ).fetchall()
        said = "".join(
            f"; {number} are there by {'other weights of ' if other == self.backbone else ''}{other}"
            for other, number in others
        )
        raise TrainingError(
            f"{count} encodings of {self.catalog} by {self.backbone} are missing{said}",
            "python -m pipelines encode "
            f"{shlex.join([str(self.catalog), '--root', self.root.uri, '--backbone', self.backbone])}",
        )


def _hash(path: Path, kind: str) -> str:
    """The encoder's hash, or "" where the backbone has none, which matters only to a catalog that needs it."""
    try:
        return encoder_hash(path, kind)
    except EstimatorUnavailable:
        return ""


def _chosen(samples: Table, catalog: CatalogID) -> str:
    """A SELECT of the ID's samples with what the join and the checks need; nulls for "" and for older columns."""
    present = samples.schema.names
    media = ", ".join(f"nullif({name}, '') AS {name}" for name in encodings.COLUMNS)
    pairs = {
        kind: f"(coalesce({target}, '') <> '' AND coalesce({reference}, '') <> '')"
        for kind, (target, reference) in MEDIA.items()
    }
    said = "nullif(streams, '')" if "streams" in present else "NULL"
    return f"""
        SELECT sample_id, unit_id, modality, coalesce(caption, '') AS caption, {media},
            coalesce(CASE WHEN fps_num > 0 THEN fps_num / fps_den END, 0) AS fps,
            coalesce(nullif(reference_downscale, 0), 1) AS scale,
            {"steps" if "steps" in present else "NULL"} AS steps,
            CASE
                WHEN {said} IS NOT NULL THEN {said}
                WHEN modality = 'who_is_talking' THEN 'joint' -- its reference is video alone
                WHEN {pairs["video"]} AND {pairs["audio"]} THEN 'joint'
                WHEN {pairs["video"]} THEN 'video'
                WHEN {pairs["audio"]} THEN 'audio'
                ELSE ''
            END AS streams
        FROM rows{condition(catalog)}"""


def _streams(found: Sequence[str], catalog: CatalogID) -> str:
    """What `auto` trains, by what every row says of itself."""
    if "" in found:
        raise TrainingError(f"{catalog} has samples without a pair of a target and its reference")
    if len(found) > 1:
        raise TrainingError(
            f"{catalog} mixes samples for {' and '.join(found)}",
            "give --streams, or select one kind, e.g. '…?reference_audio is null'",
        )
    return found[0]


def _sorted(columns: Iterable[str]) -> str:
    """The rows of an index, of those joined."""
    paths = ", ".join(f"{column}, {column}_latents" for column in columns)
    shapes = " || ', ' || ".join(f"'\"{name}\": ' || {name}_shape" for name in (*columns, "text"))
    return (
        f"SELECT sample_id, caption, {paths}, text_latents AS prompt, "
        f"'{{' || {shapes} || ', \"fps\": ' || fps || '}}' AS bucket FROM rows ORDER BY sample_id, unit_id"
    )


def _check_shapes(examples: Examples, catalog: CatalogID, path: Path, backbone: str) -> None:
    """Hold the latents' channels against the transformer's; a bucket at a time.

    Raises:
        TrainingError: They differ; names a sample.
    """
    config = json.loads((path / "transformer" / "config.json").read_text())
    for bucket, shared in enumerate(examples.buckets):
        for column in examples.about["columns"]:
            shape, kind = shared[column], encodings.COLUMNS[column]
            takes = config.get("in_channels" if kind == "video" else "audio_in_channels", 128)
            has = shape[0] if kind == "video" else shape[0] * shape[-1]
            if has != takes:
                sample_id = examples[examples.row(bucket, 0)].sample_id
                raise TrainingError(
                    f"the {column} latents of {catalog} (sample {sample_id}, shape {shape}) have {has} channels, "
                    f"the transformer of {backbone} takes {takes}",
                    "its VAE and its transformer are not of one model: check --backbone",
                )
