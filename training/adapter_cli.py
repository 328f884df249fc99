"""The commands ``avcontrol adapter …``."""

# ruff: noqa: D301 (click marks a paragraph it must not rewrap with a bare \b)

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group("adapter", context_settings={"help_option_names": ["-h", "--help"]})
def adapter() -> None:
    """Show and check adapter files, ours and other trainers'."""


@adapter.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """What an adapter is: streams, rank, layers, strength by layer and block, and what it was trained from.

    \b
    avcontrol adapter show runs/canny/adapter.safetensors
    avcontrol adapter show other.safetensors --json
    """
    from training import adapter_report

    told = adapter_report.report(file)
    click.echo(
        json.dumps(adapter_report.as_json(told), indent=2, default=str, ensure_ascii=False)
        if as_json
        else "\n".join(adapter_report.lines(told))
    )


@adapter.command()
@click.argument("files", type=_FILE, nargs=-1, required=True, metavar="FILE…")
@click.option("--backbone", help="Also check that it fits this backbone and was trained on it.")
@click.option("--root", envvar="AVCONTROL_ROOT", show_envvar=True,
              help="Also check that its catalog in this folder or URI has the same samples.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(files: tuple[Path, ...], backbone: str | None, root: str | None, as_json: bool) -> None:
    """Check that adapters are whole and sound, and that diffusers, ComfyUI and ltx-core read them alike.

    A line a check: ok, wrong, or ? where the file does not say what it needs. Exit 1 if anything is wrong.

    \b
    avcontrol adapter verify runs/canny/adapter.safetensors --backbone Lightricks/LTX-2 --root out/
    avcontrol adapter verify adapters/*.safetensors
    """
    from catalogs.root import Root
    from training.adapter_check import check

    opened = Root.open(root) if root else None
    found = {str(file): check(file, backbone=backbone, root=opened) for file in files}
    if as_json:
        click.echo(
            json.dumps({file: [asdict(one) for one in checks] for file, checks in found.items()}, indent=2)
        )
    else:
        for file, checks in found.items():
            click.echo(file)
            for one in checks:
                click.echo(f"  {one.state:5}  {one.name:<10}  {one.wrong or one.note}")
    if any(one.wrong for checks in found.values() for one in checks):
        click.get_current_context().exit(1)
