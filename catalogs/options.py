"""Command-line options from frozen dataclasses: one declaration for the command line, TOML files and code."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import tomllib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from catalogs.errors import AvcontrolError, ConfigError

F = TypeVar("F", bound=Callable[..., Any])


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    flag: str = "",
    argument: bool = False,
    completes: str = "",
    env: str = "",
) -> Any:
    """A dataclass field that is also an option.

    Args:
        help: One line for ``--help``.
        default: Without one the option is required. A dict becomes ``key=value`` pairs, given many times; a
            tuple (of a field ``tuple[X, ...]``) values, given many times.
        flag: Other spelling of the option.
        argument: Positional instead of ``--name``.
        completes: "catalog" or "modality": what the shell completes it with.
        env: Environment variable that gives the default.
    """
    metadata = {"help": help, "flag": flag, "argument": argument, "completes": completes, "env": env}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options(config: type) -> Callable[[F], F]:
    """Give a click command an option for each field of ``config``, and ``--config``; it gets one instance.

    Values come from the command line, then the environment, then the TOML file, then the defaults. A key in
    the file that is no field is an error.
    """
    hints = typing.get_type_hints(config)

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            values = {field.name: given.pop(field.name) for field in dataclasses.fields(config)}
            for field in dataclasses.fields(config):
                if _is_several(hints[field.name]):
                    values[field.name] = tuple(values[field.name])
                if _is_pairs(hints[field.name]):
                    values[field.name] = _pairs(field, values[field.name])
            return function(config(**values), **given)

        for field in reversed(dataclasses.fields(config)):
            command = _parameter(field, hints[field.name])(command)
        file = click.option(
            "--config",
            "config_file",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=functools.partial(_read_toml, config),
            help="TOML file with any of these options; the command line wins.",
        )
        return typing.cast(F, file(command))

    return decorate


def _parameter(field: dataclasses.Field[Any], hint: Any) -> Callable[[Any], Any]:
    said = field.metadata
    kind = _click_type(hint)
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    completes = {"catalog": complete_catalog, "modality": complete_modality}.get(said.get("completes", ""))
    if said.get("argument"):
        return click.argument(
            field.name, type=kind, required=required, shell_complete=completes, metavar=field.name.upper()
        )
    name = "--" + (said.get("flag") or field.name).replace("_", "-")
    more: dict[str, Any] = {
        "help": said.get("help"),
        "required": required,
        "shell_complete": completes,
        "envvar": said.get("env") or None,
        "show_envvar": bool(said.get("env")),
    }
    if not required:  # click takes default=None for a default, too
        made = field.default_factory
        default: Any = field.default if made is dataclasses.MISSING else made()
        more["default"] = [f"{k}={v}" for k, v in default.items()] if _is_pairs(hint) else default
        more["show_default"] = default not in (None, "", {}, ()) and hint is not bool
    if _is_several(hint):
        return click.option(name, field.name, type=kind, multiple=True, **more)
    if _is_pairs(hint):
        return click.option(name, field.name, multiple=True, metavar="KEY=VALUE", **more)
    if hint is bool:
        both = f"{name}/--no-{name[2:]}" if field.default is True else name
        return click.option(both, field.name, is_flag=True, **more)
    return click.option(name, field.name, type=kind, **more)


def _click_type(hint: Any) -> Any:
    if _is_several(hint):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return click.Choice([str(choice) for choice in typing.get_args(hint)])
    return click.Path(path_type=Path) if hint is Path else hint if hint in (int, float, str, bool) else str


def _is_pairs(hint: Any) -> bool:
    return typing.get_origin(hint) is dict


def _is_several(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _pairs(field: dataclasses.Field[Any], texts: Any) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--{field.metadata.get('flag') or field.name} {text!r} is not key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def _read_toml(config: type, context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    if file is None:
        return
    try:
        with file.open("rb") as handle:
            said = tomllib.load(handle)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:  # TOML's own, or not UTF-8
        raise ConfigError(f"{file} is not TOML: {error}") from None
    names = {field.metadata.get("flag") or field.name: field for field in dataclasses.fields(config)}
    names |= {field.name: field for field in dataclasses.fields(config)}
    hints = typing.get_type_hints(config)
    defaults: dict[str, Any] = {}
    for key, value in said.items():
        field = names.get(key.replace("-", "_"))
        if field is None:
            near = difflib.get_close_matches(key, names, n=1)
            guess = f"Did you mean {near[0]}?" if near else f"It knows: {', '.join(sorted(names))}."
            raise ConfigError(f"unknown key {key!r} in {file}", guess)
        if _is_several(hints[field.name]):
            value = value if isinstance(value, list) else [value]
            for each in value:
                _check_toml(file, key, each, typing.get_args(hints[field.name])[0])
        else:
            _check_toml(file, key, value, hints[field.name])
        defaults[field.name] = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
    context.default_map = {**defaults, **(context.default_map or {})}


def _check_toml(file: Path, key: str, value: Any, hint: Any) -> None:
    """Refuse what click would take for something else: a table or list as text, true as 1, 1.5 as 1."""
    wanted = "a table" if _is_pairs(hint) else "true or false" if hint is bool else "a single value"
    found = (
        "a table"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else "true or false"
        if isinstance(value, bool)
        else "a single value"
    )
    if isinstance(value, float) and int in (hint, *typing.get_args(hint)):
        wanted, found = "a whole number", str(value)
    if found != wanted:
        raise ConfigError(f"{key} in {file} must be {wanted}, not {found}")


def complete_catalog(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Catalog names; once one stands, its versions and tags. For ``--root`` as typed so far or AVCONTROL_ROOT."""
    import os

    from catalogs.query import names, table_of
    from catalogs.root import Root
    from catalogs.tags import tags

    place = context.params.get("root") or os.environ.get("AVCONTROL_ROOT")
    if not place:
        return []
    try:
        root = Root.open(str(place))
        name, at, _ = incomplete.partition("@")
        if not at:
            return [CompletionItem(known) for known in names(root) if known.startswith(incomplete)]
        versions = [*tags(root, name), *(str(commit["version"]) for commit in table_of(root, name).history())]
    except AvcontrolError:
        return []
    found = [f"{name}@{version}" for version in versions]
    return [CompletionItem(each) for each in found if each.startswith(incomplete)]


def complete_modality(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the modalities."""
    import pkgutil

    # By path: this package imports no sibling.
    folder = Path(__file__).parents[1] / "pipelines" / "modalities"
    known = ["multicam", *(module.name.replace("_", "-") for module in pkgutil.iter_modules([str(folder)]))]
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
