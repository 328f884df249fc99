"""The header of an adapter file: what it was trained on, from and for.

Safetensors headers hold strings. `reference_downscale_factor` is the name that LTX-2's own tools read; the rest are
this project's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from catalogs.errors import TrainingError
from catalogs.ids import CatalogID
from catalogs.query import condition, run_sql, table_of
from catalogs.root import Root
from training.config import TrainConfig, as_strings
from training.data import Dataset

VERSION = "1"  # of the entries
_AT_MOST = 50  # licences and attributions written out; the catalog has them all


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The samples of a catalog ID, as far as someone who is handed the adapter should know them.

    Attributes:
        samples: How many.
        timelines: `768x448x89@24` each, the commonest first; empty for sound alone.
        licenses: Of the sources; "" stands for sources that state none.
        attributions: Of the sources, the first of `attribution_count`.
        attribution_count: Different attributions there are.
        estimator_licenses: Of what measured the signals.
        commercial_ok: Whether every estimator's results may be used commercially; None where a row does not say.
    """

    samples: int
    timelines: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()
    attribution_count: int = 0
    estimator_licenses: tuple[str, ...] = ()
    commercial_ok: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the file says of itself.

    Attributes:
        catalog: Catalog ID, pinned to a version.
        manifest_sha256: Hash of its samples' IDs.
        modality: The control.
        streams: video, audio or joint.
        references: The streams that have a reference.
        reference_downscale_factor: s, where the reference video is drawn at 1/s.
        base_model: Name of the backbone.
        base_model_sha256: `backbone.weights_hash` of its transformer.
        rank: Of the matrices.
        alpha: The tensors' own: equal to rank, for the configured one is folded into lora_B.
        steps: Optimizer steps done.
        pairs: What it was trained on; None in files older than version 1.
        config: The run's options.
        avcontrol: Version that wrote it.
        header_version: Of these entries.
    """

    catalog: str
    manifest_sha256: str
    modality: str
    streams: str
    references: tuple[str, ...]
    reference_downscale_factor: int
    base_model: str
    base_model_sha256: str
    rank: int
    alpha: int
    steps: int = 0
    pairs: Pairs | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    avcontrol: str = ""
    header_version: str = ""


def header(config: TrainConfig, dataset: Dataset, base_model_sha256: str, steps: int) -> dict[str, str]:
    """The header of a run's adapter after `steps` steps, as safetensors holds it.

    Args:
        config: The run.
        dataset: What it reads; its catalog is asked for sizes and licences.
        base_model_sha256: `backbone.weights_hash` of the transformer.
        steps: Optimizer steps done.
    """
    return strings(
        Header(
            catalog=str(dataset.catalog),
            manifest_sha256=dataset.manifest,
            modality=dataset.modality,
            streams=dataset.streams,
            references=tuple(dataset.references),
            reference_downscale_factor=dataset.scale,
            base_model=config.backbone,
            base_model_sha256=base_model_sha256,
            rank=config.rank,
            alpha=config.rank,
            steps=steps,
            pairs=pairs_of(dataset.root, dataset.catalog),
            config=as_strings(config),
            avcontrol=version("avcontrol"),
            header_version=VERSION,
        )
    )


def strings(header: Header) -> dict[str, str]:
    """The header as safetensors holds it."""
    said = {entry.name: getattr(header, entry.name) for entry in dataclasses.fields(header)}
    said["references"] = ",".join(header.references)
    said["pairs"] = json.dumps(dataclasses.asdict(header.pairs), sort_keys=True) if header.pairs else ""
    said["config"] = json.dumps(header.config, sort_keys=True)
    return {name: str(value) for name, value in said.items()}


def parse(metadata: Mapping[str, str]) -> Header | None:
    """Read a file's header back; None where this project did not write it.

    Raises:
        TrainingError: It is ours and broken; the message names the entry.
    """
    if "catalog" not in metadata or "manifest_sha256" not in metadata:
        return None
    known = {entry.name for entry in dataclasses.fields(Header)}
    said: dict[str, Any] = {name: value for name, value in metadata.items() if name in known}
    name = ""
    try:
        for name in ("reference_downscale_factor", "rank", "alpha", "steps"):
            said[name] = int(said.get(name) or (0 if name == "steps" else 1))
        name = "references"
        said[name] = tuple(part for part in said.get(name, "").split(",") if part)
        name = "config"
        said[name] = json.loads(said.get(name) or "{}")
        name = "pairs"
        loaded: dict[str, Any] = json.loads(said.get(name) or "{}")
        lists = {key: tuple(value) for key, value in loaded.items() if isinstance(value, list)}
        said[name] = Pairs(**{**loaded, **lists}) if loaded else None
        return Header(**said)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the header is broken at {name or 'its entries'} ({error})") from error


def pairs_of(root: Root, catalog: CatalogID) -> Pairs:
    """Count a catalog ID's samples, their timelines and their licences; reads no media."""
    table = table_of(root, catalog.name, version=catalog.version)
    where = condition(catalog)
    present = set(table.schema.names)

    def distinct(column: str) -> list[str]:
        if column not in present:
            return []
        sql = f"SELECT DISTINCT coalesce({column}, '') AS found FROM rows{where} ORDER BY 1"
        return [str(text) for text in run_sql(table, sql)["found"].to_pylist()]

    size = "width, height, frames, fps_num, fps_den"
    timelines = run_sql(
        table, f"SELECT {size}, count(*) AS n FROM rows{where} GROUP BY ALL ORDER BY n DESC, {size}"
    ).to_pylist()
    attributions = [text for text in distinct("source_attribution") if text]
    ok = "commercial_ok" if "commercial_ok" in present else "NULL::BOOLEAN"
    counted = run_sql(
        table,
        f"SELECT count(*) AS n, bool_and({ok}) AS ok, bool_and({ok} IS NOT NULL) AS said FROM rows{where}",
    ).to_pylist()[0]
    return Pairs(
        samples=counted["n"],
        timelines=tuple(
            f"{row['width']}x{row['height']}x{row['frames']}@{row['fps_num'] / (row['fps_den'] or 1):.6g}"
            for row in timelines
            if row["width"] and row["fps_num"]
        )[:_AT_MOST],
        licenses=tuple(distinct("source_license")[:_AT_MOST]),
        attributions=tuple(attributions[:_AT_MOST]),
        attribution_count=len(attributions),
        estimator_licenses=tuple(text for text in distinct("estimator_license")[:_AT_MOST] if text),
        commercial_ok=False if counted["ok"] is False else counted["said"] or None,
    )
