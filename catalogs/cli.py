"""The commands ``avcontrol catalog …``."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from catalogs import curate_cli, export_cli
from catalogs.arguments import catalog_argument, with_root
from catalogs.browse import cli as browse_cli
from catalogs.console import emit, listing, positive
from catalogs.errors import BrokenCatalog, CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.options import complete_catalog, options, setting
from catalogs.root import Root
from catalogs.web import cli as web_cli

_TABLE_ROWS, _SHEET_ROWS, _PAGE_ROWS = 50, 50, 200
_TABLE_COLUMNS = ("sample_id", "caption", "timeline", "quality", "motion", "source_uri")


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """Options of ``catalog query``."""

    columns: str = setting("Columns, with commas; a few for a table, all for JSON and CSV by default.", "")
    limit: int | None = setting("At most so many rows; 50 for a table by default.", None)


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Options of ``catalog preview``."""

    out: str = setting("FILE.png for a contact sheet, FILE.mp4 for one pair as a film, FOLDER/ for a page.")
    limit: int | None = setting("At most so many samples; 50 on a sheet and 200 on a page by default.", None)
    sample: str = setting("Only the sample whose ID begins so.", "")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def catalog() -> None:
    """List, show, query, preview and check catalogs.

    A catalog ID is NAME, NAME@VERSION or 'NAME@VERSION?WHERE', where WHERE is an SQL condition on columns.
    """


@catalog.command("list")
@with_root
@listing
def list_command(root: Root) -> list[dict[str, Any]]:
    """The catalogs of a root: version, samples, rejects, timelines, newest run.

    \b
    avcontrol catalog list --root out/
    avcontrol catalog list --root out/ --json
    """
    from catalogs import summary

    return summary.catalogs(root)


@catalog.command()
@catalog_argument
@click.option("--versions", is_flag=True, help="Its versions instead of its columns.")
@with_root
@listing
def show(root: Root, catalog: CatalogID, versions: bool) -> list[dict[str, Any]]:
    """The columns of a catalog with their ranges, or its versions with the runs that made them.

    \b
    avcontrol catalog show canny
    avcontrol catalog show 'canny@3?quality>0.5'
    avcontrol catalog show canny --versions
    """
    from catalogs import summary

    return summary.versions(root, catalog) if versions else summary.columns(root, catalog)


@catalog.command()
@catalog_argument
@with_root
@listing
@options(QueryOptions)
def query(config: QueryOptions, root: Root, catalog: CatalogID) -> list[dict[str, Any]]:
    """The samples of a catalog ID.

    \b
    avcontrol catalog query 'canny@3?quality>0.5 AND motion<0.1'
    avcontrol catalog query canny --columns sample_id,caption,quality --limit 10
    avcontrol catalog query canny --csv > canny.csv
    """
    from catalogs import summary
    from catalogs.query import pin, select

    positive(config.limit, "--limit")
    for_people = click.get_current_context().params.get("style") is None
    pinned = pin(root, str(catalog))
    limit = config.limit or (_TABLE_ROWS if for_people else None)
    named = [name.strip() for name in config.columns.split(",") if name.strip()]
    chosen = named or (list(_TABLE_COLUMNS) if for_people else None)
    rows: list[dict[str, Any]] = select(root, pinned, chosen, limit=limit).to_pylist()
    if for_people and len(rows) == limit:
        more = summary.count(root, pinned) - len(rows)
        if more:
            click.echo(f"{pinned} has {more} more; --limit N shows more, --csv and --json all.", err=True)
    return rows


@catalog.command()
@catalog_argument
@with_root
@options(PreviewOptions)
def preview(config: PreviewOptions, root: Root, catalog: CatalogID) -> None:
    """Pictures of samples: a contact sheet, one pair as a film, or a page that plays every pair in sync.

    \b
    avcontrol catalog preview canny --out canny.png
    avcontrol catalog preview canny --out pair.mp4 --sample 361f4e65
    avcontrol catalog preview 'canny?quality>0.7' --out page/
    """
    from catalogs import summary
    from catalogs.query import pin, sample, select

    positive(config.limit, "--limit")
    out, kind = Path(config.out), Path(config.out).suffix.lower()
    if kind not in (".png", ".mp4", "") and not out.is_dir():
        raise ConfigError(f"cannot preview as {kind}", "Give --out FILE.png, FILE.mp4 or FOLDER/.")
    pinned = pin(root, str(catalog))
    limit = config.limit or {".png": _SHEET_ROWS, ".mp4": 1}.get(kind, _PAGE_ROWS)
    if kind == ".mp4" and limit > 1:
        raise ConfigError("an MP4 shows one sample", "Choose it with --sample; a folder or a PNG shows many.")
    rows = (
        [sample(root, config.sample, str(pinned))[1]]
        if config.sample
        else select(root, pinned, limit=limit).to_pylist()
    )
    if not rows:
        raise CatalogNotFound(f"{pinned} has no samples", "Is the WHERE too narrow?")
    total = len(rows) if config.sample else summary.count(root, pinned)
    if kind == ".png":
        from catalogs.contact import contact_sheet

        contact_sheet(root, rows, out, title=str(pinned), limit=limit, total=total)
    elif kind == ".mp4":
        from catalogs.sidebyside import side_by_side

        side_by_side(root, rows[0], out)
    else:
        from catalogs.web.folder import write_page

        out = write_page(root, pinned, rows, out, total=total)
    click.echo(f"{out}: {len(rows)} of {total} samples of {pinned}")


@catalog.command()
@catalog_argument
@click.option("--reasons", is_flag=True, help="How many for each reason instead.")
@with_root
@listing
def rejects(root: Root, catalog: CatalogID, reasons: bool) -> list[dict[str, Any]]:
    """The clips and sources that could not become samples, and why.

    \b
    avcontrol catalog rejects canny
    avcontrol catalog rejects canny --reasons
    avcontrol catalog rejects "canny?reason='static'" --csv
    """
    from catalogs import summary

    return summary.reasons(root, catalog) if reasons else summary.rejects(root, catalog)


@catalog.command()
@click.argument("sample_id")
@click.option("--catalog", "name", help="Look into this catalog only.", shell_complete=complete_catalog)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_root
def explain(root: Root, sample_id: str, name: str | None, as_json: bool) -> None:
    """The whole story of the sample whose ID begins with SAMPLE_ID, and the command that makes it again.

    \b
    avcontrol catalog explain 361f4e65
    avcontrol catalog explain 361f4e65 --catalog canny@3 --json
    """
    from catalogs.explain import explain as tell
    from catalogs.explain import render

    story = tell(root, sample_id, name)
    click.echo(json.dumps(story, indent=2, default=str) if as_json else render(story))


@catalog.command()
@catalog_argument
@click.option("--deep", is_flag=True, help="Open and hash the files of all samples, not of a few.")
@click.option("--fix", is_flag=True, help="Mend what can be mended, and list what a build has to make again.")
@click.option(
    "--copies", default="", help="With --fix: another root, such as a backup, to take lost media from."
)
@click.option("--json", "style", flag_value="json", help="Print JSON.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV.")
@with_root
def validate(root: Root, catalog: CatalogID, deep: bool, fix: bool, copies: str, style: str | None) -> None:
    """Check that every row is sound and its files are there, whole and as the row says. Exit 2 if not.

    Without --fix it only says what is wrong and what --fix would do. Damaged files are set aside, not deleted, and
    earlier versions stay.

    \b
    avcontrol catalog validate canny
    avcontrol catalog validate canny@3 --deep
    avcontrol catalog validate canny --deep --fix
    """
    from catalogs.validate import validate as check

    if copies and not fix:
        raise ConfigError("--copies says where --fix takes media from", "Give both.")
    if fix:
        _fix(root, catalog, deep, copies, style)
    problems = check(root, catalog, deep=deep)
    if problems or (style and not fix):
        emit(problems, style)
    if problems:
        raise BrokenCatalog(
            f"{catalog} has {len(problems)} problem{'s' * (len(problems) > 1)}",
            "The listing says where each one is and what to do.",
        )
    if not style:
        click.echo(f"{catalog}: nothing wrong{'' if deep else ' (--deep opens every file)'}")


def _fix(root: Root, catalog: CatalogID, deep: bool, copies: str, style: str | None) -> None:
    from catalogs import repair

    done = repair.repair(root, catalog, deep=deep, copies=Root.open(copies) if copies else None)
    if done or style:
        emit(done, style)
    again = repair.rebuild_list(root, catalog.name)
    if again:
        made_by = repair.rebuild_command(root, catalog.name) or "the build that made them"
        click.echo(f"{len(again)} units are to be made again; this does it: {made_by}", err=True)


for _command in (*curate_cli.COMMANDS, *browse_cli.COMMANDS, *web_cli.COMMANDS, *export_cli.COMMANDS):
    catalog.add_command(_command)
