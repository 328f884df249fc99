"""Importing pairs that others made: list, check, commit; once in a catalog they are samples like any other."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from catalogs.console import positive
from catalogs.describe import MEDIA
from catalogs.errors import SourceError
from catalogs.options import setting
from catalogs.root import Root, file_sha256
from pipelines.commit import Output, Report, Work, make_and_commit, run_metadata
from pipelines.folders import list_pairs
from pipelines.identity import canonical, digest
from pipelines.plan import Recipe, Unit
from pipelines.runner import Resources

_VERSION = "1"
"""Of what is checked and stored; raise it when the output for the same files changes."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Options of ``avcontrol import``."""

    folder: str = setting("Folder of pairs, or one table or shard.", argument=True)
    catalog: str = setting("Name of the catalog.", completes="catalog")
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    modality: str = setting("What control it is; the catalog's name by default.", "")
    reference_pattern: str = setting(
        "Where a reference lies from its target's folder, e.g. 'depth/{name}_depth'; usual places by default.",
        "",
    )
    media_root: str | None = setting(
        "Folder that paths in a table may lie in, besides the table's own.", None
    )
    licence: str = setting("Licence of what no table or sidecar gives one for.", "")
    attribution: str = setting("Attribution of what no table or sidecar gives one for.", "")
    fit: bool = setting(
        "Crop, resample and cut what does not keep the contract; by default it is rejected.", False
    )
    limit: int | None = setting("At most so many pairs.", None)
    retry_rejects: bool = setting("Check again what was rejected before.", False)
    workers: int = setting("Workers; 0 takes one for every CPU that Ray has.", 0)
    memory_gb: float = setting("Cap on a worker process's memory; 0 for none.", 6.0)
    timeout_s: float = setting("Seconds a pair may take before its worker is killed.", 600.0)


def import_pairs(config: ImportConfig) -> Report:
    """Check the pairs of a folder and add those that keep the contract to a catalog; the others become rejects.

    Raises:
        InputError: No pairs there, or none that keeps the contract.
        UnsafePath: A table names files elsewhere.
        StorageError: The root cannot be written.
    """
    positive(config.limit, "--limit")
    pairs = list_pairs(
        Path(config.folder).expanduser().absolute(),
        pattern=config.reference_pattern,
        media_root=Path(config.media_root) if config.media_root else None,
        limit=config.limit,
    )
    modality = (config.modality or config.catalog).replace("-", "_")
    recipe = Recipe(
        modality=modality,
        params=canonical({"fit": config.fit}),
        timeline="as imported",
        estimator="imported",
        weights="",
        code_version=_VERSION,
        seed=0,
        selection="{}",
        captioner="",
        shots="off",
    )
    units = []
    for pair in pairs:
        pair = replace(
            pair, license=pair.license or config.licence, attribution=pair.attribution or config.attribution
        )
        units.append(Unit(id=digest(recipe=recipe.id, pair=pair.id), source=pair, sha256="", segment=(0, 0)))
    root = Root.open(config.root, create=True)
    root.sweep()
    work = Work(
        label="import",
        outputs=[Output(catalog=config.catalog, columns=pa.schema([]), recipe=recipe, units=units)],
        request={"op": "import", "root": root.uri},
        resources=Resources(workers=config.workers, memory_gb=config.memory_gb, timeout_s=config.timeout_s),
    )
    return make_and_commit(root, work, run_metadata("import", config), retry_rejects=config.retry_rejects)[0]


def make_imports(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Check and store pairs in a worker; requests and events are those of :func:`pipelines.make.make`.

    Raises:
        StorageError: The root cannot be written; the import must stop.
    """
    from pipelines.make import common_columns, reject

    root = Root.open(request["root"])
    for index, part in enumerate(request["parts"]):
        if index < request.get("from_part", 0):
            continue
        common = common_columns({**request, **part})
        yield {"event": "clip", "span": (0, 0), "part": index}
        try:
            yield {"event": "sample", "row": {**common, **_row(root, part)}}
        except SourceError as error:
            yield reject(common, (0, 0), "import", error.reason, str(error))


def _row(root: Root, part: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a pair; its identity is the bytes of its media, their timeline, its caption and what it is."""
    from pipelines.alignment import row_of  # decodes: workers alone need that

    source, recipe = part["unit"]["source"], part["recipe"]
    with tempfile.TemporaryDirectory(prefix="avcontrol-") as folder:
        media = {name: _local(each, Path(folder, name)) for name, each in source["media"].items()}
        row = row_of(root, media, fitted=json.loads(recipe["params"])["fit"])
        sha256 = file_sha256(media.get("video") or media["audio"])
    kept = {name: row.get(name) for name in MEDIA}
    caption, modality = source["caption"], recipe["modality"]
    return {
        "sample_id": digest(media=kept, timeline=row["timeline"], caption=caption, modality=modality),
        "caption": caption,
        "caption_source": source["caption_source"],
        "signals": [],
        "source_sha256": sha256,
        "source_license": source["license"],
        "source_attribution": source["attribution"],
        "estimator": recipe["estimator"],
        "estimator_weights": "",
        "decoder": "pyav",
        "decoder_reason": "import",
        **row,
    }


def _local(piece: Mapping[str, Any], target: Path) -> Path:
    """The file itself, or a member of a shard unpacked."""
    if not piece["name"]:
        return Path(piece["path"])
    target = target.with_suffix(PurePosixPath(piece["name"]).suffix)
    with open(piece["path"], "rb") as shard, target.open("wb") as sink:
        shard.seek(piece["start"])
        sink.write(shard.read(piece["size"]))
    return target
