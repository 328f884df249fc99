"""What a person sees: listings as table, JSON or CSV; progress bars; one line for an error."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import click

from catalogs.errors import AvcontrolError, ConfigError

log = logging.getLogger("avcontrol")
F = TypeVar("F", bound=Callable[..., Any])
_LOG_EVERY_S = 5.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def listing(function: F) -> F:
    """The options ``--json`` and ``--csv`` of a listing; the command returns its rows, this prints them."""

    @click.option("--json", "style", flag_value="json", help="Print JSON.")
    @click.option("--csv", "style", flag_value="csv", help="Print CSV.")
    @functools.wraps(function)
    def command(style: str | None = None, **given: Any) -> None:
        emit(function(**given), style)

    return cast(F, command)


def emit(rows: Sequence[dict[str, Any]], style: str | None = None) -> None:
    """Print rows: a table for people, or ``json`` or ``csv`` for programs."""
    if style == "json":
        click.echo(json.dumps(_finite(rows), indent=2, default=str))
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_flat(row.get(column)) for column in columns] for row in rows])
        return
    if not rows:
        click.echo("nothing")
        return
    from rich.console import Console
    from rich.table import Table

    wide = not sys.stdout.isatty()
    table = Table(show_edge=False, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(
            printable(column), justify="right" if numeric else "left", overflow="fold", no_wrap=wide
        )
    for row in rows:
        table.add_row(*[_short(row.get(column)) for column in columns], style=None)
    Console(width=10_000 if wide else None, highlight=False, markup=False, emoji=False).print(table)


def printable(text: str) -> str:
    """A text of somebody's for a terminal: what could steer it is shown as U+FFFD; tabs and line breaks stay."""
    return _CONTROL.sub("\ufffd", text)


@contextlib.contextmanager
def progress(what: str, total: float | None, unit: str = "") -> Iterator[Callable[..., None]]:
    """A progress bar on a terminal, a plain log line every few seconds elsewhere.

    Yields:
        ``advance(by, note)``: how much further, and a few words such as counts so far.
    """
    done, started, last = 0.0, time.monotonic(), time.monotonic()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, note="")
            yield lambda by=1, note="": bar.update(task, advance=by, note=note)
        return

    def advance(by: float = 1, note: str = "") -> None:
        nonlocal done, last
        done += by
        now = time.monotonic()
        if now - last >= _LOG_EVERY_S or (total is not None and done >= total):
            last = now
            share = f"{done:.0f}/{total:.0f}" if total is not None else f"{done:.0f}"
            known = total is not None and 0 < done < total
            left = f", {(now - started) / done * (total - done):.0f} s left" if total and known else ""
            log.info("%s: %s %s%s%s", what, share, unit, left, f" ({note})" if note else "")

    yield advance


def run(command: click.Command, arguments: Sequence[str] | None = None, name: str = "avcontrol") -> None:
    """Run a command and exit: 0 well, 1 unexpected, 2 an error of ours or of use, 130 interrupted."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        result = command.main(argv, prog_name=name, standalone_mode=False)
        raise SystemExit(result if isinstance(result, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted; what was committed stays, the same command goes on", 130)
    except KeyboardInterrupt:
        _fail("interrupted; what was committed stays, the same command goes on", 130)
    except click.ClickException as error:
        error.show()
        raise SystemExit(2) from None
    except AvcontrolError as error:
        if debug:
            raise
        _fail(f"error: {error}", 2)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception as error:
        if debug:
            raise
        _fail(
            f"error: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}. "
            "This is not one we foresaw: run again with --debug for the traceback.",
            1,
        )


def positive(value: int | None, name: str) -> None:
    """Refuse a limit below 1.

    Raises:
        ConfigError: It is.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")


def _fail(line: str, status: int) -> None:
    click.echo(" ".join(line.split()), err=True)
    raise SystemExit(status)


def _finite(value: Any) -> Any:
    """NaN and infinity as null: JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else value


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(_flat(value)))
