"""The commands ``avcontrol catalog serve`` and ``avcontrol catalog html``."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from catalogs.arguments import catalog_argument, catalog_or_all, with_root
from catalogs.console import positive, progress
from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.options import options, setting
from catalogs.root import Root

_MOST = 2000


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of ``catalog serve``."""

    port: int = setting("Port on this machine; 0 for any that is free.", 8765)


@dataclass(frozen=True, kw_only=True)
class HtmlOptions:
    """Options of ``catalog html``."""

    out: Path = setting("Folder to write, made if needed.")
    limit: int = setting("At most so many samples.", _MOST)


@click.command()
@catalog_or_all
@with_root
@options(ServeOptions)
def serve(config: ServeOptions, root: Root, catalog: CatalogID | None) -> None:
    """Look at catalogs in a browser on this machine: filter, sort, play pairs in sync, accept and reject.

    \b
    avcontrol catalog serve
    avcontrol catalog serve 'canny?quality>0.5' --port 9000

    It listens on 127.0.0.1 alone; from elsewhere come by `ssh -L 8765:127.0.0.1:8765 HOST`. Ctrl-C ends it.
    """
    from catalogs.query import condition, names, table_of
    from catalogs.web.server import Server

    if catalog:  # a typo is said here, before there is a page
        table_of(root, catalog.name, version=catalog.version)
        condition(catalog)
    elif not (known := names(root)):
        raise CatalogNotFound(f"no catalogs under {root.uri}", "`avcontrol build` makes the first one.")
    with Server(root, str(catalog or known[0]), config.port) as server:
        click.echo(f"{catalog or root.uri} at {server.url}  (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")


@click.command()
@catalog_argument
@with_root
@options(HtmlOptions)
def html(config: HtmlOptions, root: Root, catalog: CatalogID) -> None:
    """Write samples as a folder that a browser opens from the disk, to be handed over: grid, pairs in sync, statistics.

    \b
    avcontrol catalog html canny --out page/
    avcontrol catalog html 'canny@3?quality>0.7' --out page/ --limit 500

    For more than a few thousand samples use `avcontrol catalog serve`.
    """
    from catalogs import summary
    from catalogs.query import pin, select
    from catalogs.stats import stats
    from catalogs.web.folder import write_page

    positive(config.limit, "--limit")
    if config.out.exists() and not config.out.is_dir():
        raise ConfigError(f"{config.out} is a file", "Give --out a folder.")
    pinned = pin(root, str(catalog))
    rows = select(root, pinned, limit=config.limit).to_pylist()
    if not rows:
        raise CatalogNotFound(f"{pinned} has no samples", "Is the WHERE too narrow?")
    total = summary.count(root, pinned)
    with progress("writing", len(rows), "samples") as advance:
        out = write_page(root, pinned, rows, config.out, total=total, stats=stats(root, pinned), told=advance)
    click.echo(f"{out}: {len(rows)} of {total} samples of {pinned}")
    if total > len(rows):
        click.echo(f"{total - len(rows)} are left out; `avcontrol catalog serve` shows them all.", err=True)


COMMANDS = (serve, html)
