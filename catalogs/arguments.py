"""What the commands ``avcontrol catalog …`` have in common: the root, and the catalog ID."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from catalogs.ids import CatalogID
from catalogs.options import complete_catalog
from catalogs.root import Root

F = TypeVar("F", bound=Callable[..., Any])


def with_root(function: F) -> F:
    """The option ``--root``; the command gets the opened root."""

    @click.option(
        "--root",
        required=True,
        envvar="AVCONTROL_ROOT",
        show_envvar=True,
        help="Folder or URI that holds the catalogs.",
    )
    @functools.wraps(function)
    def command(root: str, **given: Any) -> Any:
        return function(root=Root.open(root), **given)

    return cast(F, command)


def catalog_or_all(function: F) -> F:
    """The argument CATALOG_ID, which may be left out; the command gets it parsed, or None."""

    @click.argument("catalog_id", metavar="[CATALOG_ID]", required=False, shell_complete=complete_catalog)
    @functools.wraps(function)
    def command(catalog_id: str | None, **given: Any) -> Any:
        return function(catalog=CatalogID.parse(catalog_id) if catalog_id else None, **given)

    return cast(F, command)


def catalog_argument(function: F) -> F:
    """The argument CATALOG_ID, completed by the shell; the command gets it parsed."""

    @click.argument("catalog_id", metavar="CATALOG_ID", shell_complete=complete_catalog)
    @functools.wraps(function)
    def command(catalog_id: str, **given: Any) -> Any:
        return function(catalog=CatalogID.parse(catalog_id), **given)

    return cast(F, command)
