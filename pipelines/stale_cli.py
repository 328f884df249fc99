"""The command ``avcontrol catalog stale``: of catalogs, but it knows today's code and estimators."""

# ruff: noqa: D301  (click wants a real backspace before lines it must not wrap)
from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from catalogs.arguments import catalog_argument, with_root
from catalogs.console import listing
from catalogs.ids import CatalogID
from catalogs.root import Root


@click.command()
@catalog_argument
@click.option("--deep", is_flag=True, help="Hash the sources instead of trusting their size and time.")
@with_root
@listing
def stale(root: Root, catalog: CatalogID, deep: bool) -> list[dict[str, Any]]:
    """What today's code, estimators, options or sources would make differently, and which input changed.

    \b
    avcontrol catalog stale canny
    avcontrol catalog stale canny@3 --deep
    """
    from pipelines.stale import stale as compare

    pinned, samples, differing, found = compare(root, catalog, deep=deep)
    click.echo(f"{pinned}: {differing} of {samples} samples would be made differently today", err=True)
    return [asdict(finding) for finding in found]
