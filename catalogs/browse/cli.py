"""The commands ``avcontrol catalog browse`` and ``avcontrol catalog review``."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Literal

import click

from catalogs.arguments import catalog_argument, catalog_or_all, with_root
from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.options import options, setting
from catalogs.root import Root


@dataclass(frozen=True, kw_only=True)
class BrowseOptions:
    """Options of ``catalog browse``."""

    pictures: Literal["auto", "kitty", "sixel", "blocks", "none"] = setting(
        "How to draw pairs; auto asks the terminal, and takes half blocks where it says nothing.", "auto"
    )


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Options of ``catalog review``."""

    accept: bool = setting("Accept the samples.", False)
    reject: bool = setting("Reject them.", False)
    clear: bool = setting("Take verdict and note back.", False)
    note: str | None = setting("A note on them; an empty one takes it back.", None)
    all: bool = setting("Every sample that CATALOG_ID selects.", False)
    reviewer: str = setting("Who says so; the user by default.", "", env="AVCONTROL_REVIEWER")


@click.command()
@catalog_or_all
@with_root
@options(BrowseOptions)
def browse(config: BrowseOptions, root: Root, catalog: CatalogID | None) -> None:
    """Browse catalogs in the terminal: filter, sort, look at pairs, read their stories, accept and reject.

    \b
    avcontrol catalog browse
    avcontrol catalog browse 'canny?quality>0.5'

    Press ? for the keys. Works over ssh; pictures come by Kitty's protocol, Sixel, or as half blocks in colour.
    """
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise ConfigError("browse needs a terminal", "`avcontrol catalog query` and `preview` do without.")
    from catalogs.browse import terminal
    from catalogs.browse.app import Browse
    from catalogs.query import table_of

    if catalog:
        table_of(root, catalog.name, version=catalog.version)  # a typo is said before the screen is taken
    Browse(root, catalog, terminal.ask(config.pictures)).run()


@click.command()
@catalog_argument
@click.argument("sample_ids", metavar="[SAMPLE_ID]…", nargs=-1)
@with_root
@options(ReviewOptions)
def review(config: ReviewOptions, root: Root, catalog: CatalogID, sample_ids: tuple[str, ...]) -> None:
    """Accept, reject or note samples, without touching them; a WHERE can then ask for review and review_note.

    \b
    avcontrol catalog review canny 361f4e65 10fff0cc --accept
    avcontrol catalog review canny 361f4e65 --reject --note 'cut in the middle'
    avcontrol catalog review 'canny?motion<0.01' --all --reject
    avcontrol train "canny@3?review='accept'"

    SAMPLE_IDs may be shortened to what is unique among what CATALOG_ID selects.
    """
    from catalogs import review as reviews
    from catalogs.query import pin, select

    if config.accept + config.reject + config.clear > 1:
        raise ConfigError("--accept, --reject and --clear exclude each other")
    if bool(sample_ids) == config.all:
        said = "--all takes no SAMPLE_ID" if config.all else "no SAMPLE_ID"
        raise ConfigError(said, "Give SAMPLE_IDs, or --all for every sample that CATALOG_ID selects.")
    verdict = "accept" if config.accept else "reject" if config.reject else "" if config.clear else None
    note = "" if config.clear and config.note is None else config.note
    if verdict is None and note is None:
        raise ConfigError("no review", "Give --accept, --reject, --clear or --note TEXT.")
    pinned = pin(root, str(catalog))
    if not config.all:
        quoted = (start.replace("'", "''") for start in sample_ids)
        starts = " OR ".join(f"starts_with(sample_id, '{start}')" for start in quoted)
        both = f"({pinned.where}\n) AND " if pinned.where else ""
        pinned = replace(pinned, where=f"{both}({starts})")
    found = list(dict.fromkeys(select(root, pinned, ["sample_id"])["sample_id"].to_pylist()))
    chosen = found if config.all else reviews.whole(sample_ids, found)
    if not chosen:
        raise ConfigError(f"{pinned} selects no samples", "Is the WHERE too narrow?")
    version = reviews.write(root, catalog.name, chosen, verdict=verdict, note=note, reviewer=config.reviewer)
    said = f"{verdict}ed" if verdict else "cleared" if config.clear else "noted"
    click.echo(
        f"{len(chosen)} sample{'s' * (len(chosen) != 1)} {said}: {catalog.name}@{pinned.version}+{version}"
    )


COMMANDS = (browse, review)
