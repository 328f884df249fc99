"""The front door: ``avcontrol build | canvas | scene | estimators | import | encode | catalog | train | generate | …``.

Commands are imported when they are called, so ``avcontrol --help`` and shell completion stay quick.
"""

# ruff: noqa: D301 (click marks a paragraph it must not rewrap with a bare \b)

from __future__ import annotations

import importlib
import keyword
from typing import Any

import click

from catalogs.console import run

_COMMANDS = {
    "build": ("pipelines.cli", "Build a catalog of a modality from sources."),
    "canvas": ("pipelines.cli", "Draw a control from a clip of your own, to generate with."),
    "scene": ("pipelines.scene_cli", "Draw and show synthetic multi-camera scenes."),
    "estimators": (
        "pipelines.estimators_cli",
        "List and grade what measures depth, poses, tracks, cameras and masks.",
    ),
    "import": ("pipelines.import_cli", "Make a catalog of pairs that others made, if they align."),
    "encode": ("pipelines.cli", "Encode a catalog's media and captions for a backbone."),
    "catalog": ("catalogs.cli", "List, show, query, preview and check catalogs."),
    "train": ("training.cli", "Train an adapter from a catalog ID."),
    "generate": ("training.cli", "Generate a clip with an adapter."),
    "adapter": ("training.adapter_cli", "Show and check adapter files."),
}


class _Lazy(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        function = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name  # import
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), function)
        assert isinstance(command, click.Command)
        if isinstance(command, click.Group) and cmd_name == "catalog":
            # It compares catalogs with today's pipelines, which the package of catalogs may not import.
            command.add_command(importlib.import_module("pipelines.stale_cli").stale)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            raise click.UsageError(
                error.message + (f" Did you mean {near[0]}?" if near else ""), ctx
            ) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="avcontrol")
def cli() -> None:
    """Teach LTX-2 a new control: build aligned pairs into versioned catalogs, train an adapter from a catalog ID.

    \b
    avcontrol build canny --input clips/ --root out/
    avcontrol catalog list --root out/
    avcontrol train 'canny@3?quality>0.5' --root out/

    --debug, anywhere, shows the traceback of an error.
    Shell completion: eval "$(_AVCONTROL_COMPLETE=bash_source avcontrol)"
    """


def main() -> None:
    """Entry point of the console script."""
    run(cli)


if __name__ == "__main__":
    main()
