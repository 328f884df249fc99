"""The commands ``avcontrol catalog …`` that look after catalogs: count, compare, split, thin out, merge, tag, clear."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from catalogs.arguments import catalog_argument, with_root
from catalogs.console import emit, listing, positive
from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.options import complete_catalog, options, setting
from catalogs.root import Root, storage_errors

_EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class DedupeOptions:
    """Options of ``catalog dedupe``."""

    distance: int = setting("Bits of 192 in which duplicates differ at most; up to 11 no pair is missed.", 7)
    of: Literal["video", "reference_video"] = setting("Whose pictures are compared.", "video")
    embedding: Path | None = setting(
        "Folder of a CLIP or SigLIP model, to compare what is shown; perceptual hashes by default.", None
    )
    out: Path | None = setting("File for the IDs of the samples to leave out, one a line.", None)
    reject: bool = setting(
        "Review them as 'reject': for training on \"NAME?review IS DISTINCT FROM 'reject'\".", False
    )


@dataclass(frozen=True, kw_only=True)
class GcOptions:
    """Options of ``catalog gc``."""

    keep_versions: int | None = setting(
        "Let go of all but the newest so many versions of each catalog, and those with a tag; all stay by default.",
        None,
    )
    older_than: float | None = setting(
        "Let go of versions that were replaced more than so many days ago.", None
    )
    grace_days: float = setting("Files younger than this stay: a build may be about to commit them.", 1.0)
    yes: bool = setting("Remove. Without it, only what would be removed is shown.", False)


@click.command()
@catalog_argument
@click.option("--out", type=click.Path(path_type=Path), help="PNG, SVG or PDF with the histograms.")
@click.option("--json", "style", flag_value="json", help="Print JSON.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV: a line for every figure.")
@with_root
def stats(root: Root, catalog: CatalogID, out: Path | None, style: str | None) -> None:
    """Samples, hours, bytes, and how every figure is distributed.

    \b
    avcontrol catalog stats canny
    avcontrol catalog stats 'canny@3?quality>0.5' --out stats.png
    """
    from catalogs import histograms
    from catalogs.stats import stats as count

    told = count(root, catalog)
    if out is not None:
        histograms.draw(told, out)
    if style == "json":
        click.echo(json.dumps(told, indent=2))
        return
    if style == "csv":
        emit(told["figures"], style)
        return
    click.echo(f"{told['catalog']}: {histograms.headline(told)}\n")
    emit(
        [
            {name: each[name] for name in ("column", "null", "min", "median", "mean", "max")}
            | {"distribution": histograms.blocks(each["counts"])}
            for each in told["figures"]
        ]
    )
    if told["values"]:
        click.echo()
        emit([{"column": each["column"], "values": _counted(each["counts"])} for each in told["values"]])
    if out is not None:
        click.echo(f"\n{out}: {len(told['figures'])} histograms")


@click.command()
@click.argument("before", metavar="BEFORE", shell_complete=complete_catalog)
@click.argument("after", metavar="AFTER", shell_complete=complete_catalog)
@click.option("--samples", is_flag=True, help="Every sample instead of how many for each reason.")
@with_root
@listing
def diff(root: Root, before: str, after: str, samples: bool) -> list[dict[str, Any]]:
    """What was added, removed and changed between two catalog IDs, and which input made the difference.

    \b
    avcontrol catalog diff canny@3 canny@5
    avcontrol catalog diff canny@3 canny@5 --samples --csv
    """
    from catalogs.diff import diff as compare

    found = compare(root, CatalogID.parse(before), CatalogID.parse(after))
    if samples:
        rows: list[dict[str, Any]] = found["samples"].to_pylist()
        return rows
    plain = [{"change": name, "samples": found[name], "why": ""} for name in ("same", "added", "removed")]
    return [
        *(row for row in plain if row["samples"]),
        *({"change": "changed", "samples": each["samples"], "why": each["why"]} for each in found["reasons"]),
    ]


@click.command()
@catalog_argument
@click.option("--validation", type=float, required=True, help="Share that validates, e.g. 0.1.")
@click.option(
    "--by", default="source", show_default=True, help="What stays together: source, folder or a column."
)
@with_root
@listing
def split(root: Root, catalog: CatalogID, validation: float, by: str) -> list[dict[str, Any]]:
    """Catalog IDs for training and for validation: no source on both sides, stable as the catalog grows.

    \b
    avcontrol catalog split canny --validation 0.1
    avcontrol catalog split who-is-talking@4 --validation 0.2 --by folder
    """
    from catalogs.split import split as cut

    sides = cut(root, catalog, validation, by)
    return [{**counts, "catalog_id": str(view)} for view, counts in sides]


@click.command()
@catalog_argument
@with_root
@listing
@options(DedupeOptions)
def dedupe(config: DedupeOptions, root: Root, catalog: CatalogID) -> list[dict[str, Any]]:
    """Near duplicates by their pictures, and which one of each cluster to keep. Nothing is removed.

    \b
    avcontrol catalog dedupe canny
    avcontrol catalog dedupe canny@3 --out leave_out.txt
    avcontrol catalog dedupe canny --reject
    """
    from catalogs import review
    from catalogs.dedupe import dedupe as find
    from catalogs.dedupe import without

    pinned, rows, failed = find(
        root, catalog, distance=config.distance, column=config.of, model=config.embedding
    )
    drop = [row["sample_id"] for row in rows if not row["keep"]]
    for path, why in list(failed.items())[:_EXAMPLES]:
        click.echo(f"passed over {path}: {why}", err=True)
    if config.out is not None:
        with storage_errors(config.out):
            config.out.parent.mkdir(parents=True, exist_ok=True)
            config.out.write_text("".join(f"{sample_id}\n" for sample_id in drop))
    if config.reject and drop:
        review.write(root, pinned.name, drop, verdict="reject", note="near duplicate")
    clusters = len(rows) - len(drop)
    click.echo(f"{pinned}: {clusters} clusters, {len(drop)} samples to leave out", err=True)
    if 0 < len(drop) <= _EXAMPLES:
        click.echo(f"without them: {json.dumps(str(without(pinned, drop)))}", err=True)
    return rows


@click.command()
@click.argument("catalogs", nargs=-1, required=True, metavar="CATALOG_ID…", shell_complete=complete_catalog)
@click.option("--into", required=True, help="Name of the catalog that gets the rows.")
@with_root
@listing
def merge(root: Root, catalogs: tuple[str, ...], into: str) -> list[dict[str, Any]]:
    """Put the rows of catalogs together in one, each once; a column says where each came from.

    \b
    avcontrol catalog merge canny@3 'films@7?quality>0.5' --into both
    """
    from catalogs.merge import merge as put_together

    result, told = put_together(root, [CatalogID.parse(text) for text in catalogs], into)
    click.echo(f"{result}: {sum(row['added'] for row in told)} rows added", err=True)
    return told


@click.command()
@catalog_argument
@click.argument("name")
@click.option("--force", is_flag=True, help="Move the tag from the version that has it.")
@click.option("--delete", is_flag=True, help="Take the tag away instead; the version stays.")
@with_root
def tag(root: Root, catalog: CatalogID, name: str, force: bool, delete: bool) -> None:
    """Give a version a name: canny@best is then as good as canny@41, and gc keeps that version.

    \b
    avcontrol catalog tag canny@41 best
    avcontrol catalog tag canny best --force
    avcontrol catalog tag canny best --delete
    """
    from catalogs import tags as store
    from catalogs.query import opened

    if delete:
        store.untag(root, catalog.name, name)
        click.echo(f"{catalog.name}@{name} is no more")
        return
    pinned, table = opened(root, str(catalog))
    if table.lost():
        raise table.unreadable(OSError())
    store.tag(root, pinned, name, move=force)
    click.echo(f"{pinned.name}@{name} is {pinned}")


@click.command()
@click.argument("name", required=False, shell_complete=complete_catalog)
@with_root
@listing
def tags(root: Root, name: str | None) -> list[dict[str, Any]]:
    """The tags of a catalog, or of all.

    \b
    avcontrol catalog tags canny
    """
    from catalogs import tags as store
    from catalogs.query import names, table_of

    chosen = [table_of(root, name).name.split("/")[1]] if name else names(root)
    return [
        {"tag": f"{catalog}@{word}", "version": f"{catalog}@{said['version']}", "when": said["tagged_at"]}
        for catalog in chosen
        for word, said in store.tags(root, catalog).items()
    ]


@click.command()
@with_root
@click.option("--json", "style", flag_value="json", help="Print JSON.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV.")
@options(GcOptions)
def gc(config: GcOptions, root: Root, style: str | None) -> None:
    """Show files that nothing refers to any more; --yes removes them. A running build loses nothing.

    \b
    avcontrol catalog gc
    avcontrol catalog gc --keep-versions 3 --older-than 30
    avcontrol catalog gc --yes
    """
    from catalogs import gc as clear

    positive(config.keep_versions, "--keep-versions")
    if not all(0 <= days <= 100_000 for days in (config.grace_days, config.older_than or 0)):
        raise ConfigError("days lie between 0 and 100,000", "--grace-days 1 and --older-than 30 are usual.")
    made = clear.plan(
        root,
        keep_versions=config.keep_versions,
        older_than=config.older_than,
        grace_s=config.grace_days * clear.DAY,
    )
    rows = clear.summary(made)
    if rows or style:
        emit(rows, style)
    if not rows:
        click.echo("nothing to remove", err=True)
    elif not config.yes:
        click.echo("Nothing was removed; --yes removes it.", err=True)
    else:
        count, size = clear.remove(root, made)
        click.echo(f"removed {count} files, {size / 1e6:.1f} MB", err=True)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{value or '(empty)'} {count}" for value, count in counts.items())


COMMANDS = (stats, diff, split, dedupe, merge, tag, tags, gc)
