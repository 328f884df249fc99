"""The command ``avcontrol catalog export``."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from catalogs.arguments import catalog_argument, with_root
from catalogs.console import listing, positive
from catalogs.ids import CatalogID
from catalogs.options import options, setting
from catalogs.root import Root


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of ``catalog export``."""

    format: Literal["ltx-trainer", "webdataset", "huggingface"] = setting("Who is to read it.")
    out: Path = setting("Folder to write, new or of the same export before.")
    media: Literal["copy", "link", "reference"] = setting(
        "Copy media, hard-link them (same disk), or name them where they are (ltx-trainer).", "copy"
    )
    validation: float | None = setting("Share that goes into a split for validation, e.g. 0.1.", None)
    by: str = setting("What that split keeps together: source, folder or a column.", "source")
    limit: int | None = setting("At most so many samples of each split.", None)
    shard_mb: int = setting("Megabytes of a WebDataset shard, at most.", 1000)


@click.command()
@catalog_argument
@with_root
@listing
@options(ExportOptions)
def export(config: ExportOptions, root: Root, catalog: CatalogID) -> list[dict[str, Any]]:
    """Hand samples over: tables for ltx-trainer, WebDataset shards, or a Hugging Face dataset. It can be resumed.

    \b
    avcontrol catalog export canny@3 --format ltx-trainer --out pairs/
    avcontrol catalog export "canny?review='accept'" --format webdataset --out shards/ --validation 0.1
    avcontrol catalog export canny --format huggingface --out dataset/ --media link
    """
    from catalogs.export import export as hand_over

    positive(config.limit, "--limit")
    positive(config.shard_mb, "--shard-mb")
    return hand_over(
        root,
        catalog,
        config.format,
        config.out,
        media=config.media,
        validation=config.validation,
        by=config.by,
        limit=config.limit,
        shard_mb=config.shard_mb,
    )


COMMANDS = (export,)
