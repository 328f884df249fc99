"""The command ``import``."""

# ruff: noqa: D301 (click marks a paragraph it must not rewrap with a bare \b)

from __future__ import annotations

import click

from catalogs.options import options
from pipelines.import_pairs import ImportConfig, import_pairs


@click.command("import")
@options(ImportConfig)
def import_(config: ImportConfig) -> None:
    """Import pairs that others made from FOLDER: each is checked, and what does not align is rejected with why.

    \b
    avcontrol import pairs/ --catalog mine --licence CC-BY-4.0
    avcontrol import pairs/ --catalog mine --reference-pattern '../depth/{name}' --fit
    avcontrol import shards/train-000000.tar --catalog mine
    """
    report = import_pairs(config)
    click.echo(
        f"{report.catalog}: {report.samples} new samples, {report.rejects} new rejects, {report.skipped} there before"
        + (f", {report.replaced} rows replaced" if report.replaced else "")
        + f" ({report.seconds:.0f} s)"
    )
    if report.rejects:
        click.echo(f"`avcontrol catalog rejects {config.catalog}` says what does not align.", err=True)
