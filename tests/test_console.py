"""What a person sees: listings, errors in one line, exit statuses, progress."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from catalogs import console
from catalogs.console import emit, listing, positive, printable, progress
from catalogs.errors import ConfigError, InputError

HOME = Path(__file__).parents[1]

ROWS = [
    {
        "name": "canny",
        "rows": 3,
        "share": 0.123456789,
        "none": None,
        "list": [1, "a"],
        "odd": "[b]x[/b] :dog:",
    },
    {
        "name": 'a,"b"\nc',
        "rows": 12345678901,
        "share": 2.0,
        "none": None,
        "list": [],
        "odd": "ü",
        "more": True,
    },
]


@click.command()
@listing
def shown() -> list[dict[str, Any]]:
    """Rows."""
    return ROWS


def test_listings_for_programs() -> None:
    assert json.loads(CliRunner().invoke(shown, ["--json"]).stdout) == ROWS
    table = list(csv.DictReader(io.StringIO(CliRunner().invoke(shown, ["--csv"]).stdout)))
    assert list(table[0]) == ["name", "rows", "share", "none", "list", "odd", "more"]
    assert table[0] == {
        "name": "canny",
        "rows": "3",
        "share": "0.123456789",
        "none": "",
        "list": '[1, "a"]',
        "odd": "[b]x[/b] :dog:",
        "more": "",
    }
    assert table[1]["name"] == ROWS[1]["name"] and table[1]["rows"] == "12345678901"


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"a": float("nan"), "b": [1.5, float("inf")]}], "json")
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [{"a": None, "b": [1.5, None]}]


def test_a_listing_for_people_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS[:1])
    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["name", "rows", "share", "none", "list", "odd"]
    assert row == ["canny", "3", "0.1235", "[1,", '"a"]', "[b]x[/b]", ":dog:"]
    emit([{"path": "x" * 300, "n": 1}, {"path": "y", "n": 22}])
    long, short = capsys.readouterr().out.splitlines()[1:]
    assert long.split() == ["x" * 300, "1"] and short.rstrip().endswith("22")  # a pipe gets whole lines
    assert long.rstrip().index("1") == short.rstrip().index("22") + 1  # numbers stand right
    emit([])
    assert capsys.readouterr().out == "nothing\n"
    emit([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_listing_for_people_cannot_steer_their_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    steering = "a\x1b]0;x\x07b\x1b[2J\x9b1m\x7f\x00c\r"
    emit([{f"n\x1b{n}": steering if n else [steering] for n in range(2)}])
    said = capsys.readouterr().out
    assert "b\ufffd[2J\ufffd1m" in said and not set(said) & {
        *map(chr, range(10)),
        *map(chr, range(11, 32)),
        "\x9b",
    }
    emit([{"n": steering}], "csv")
    assert steering in capsys.readouterr().out  # programs get it as it is
    assert printable("one\ttwo\nthree \x85é日") == "one\ttwo\nthree \ufffdé日"


FAULTS = """
import sys, click
from catalogs.console import run
from catalogs.errors import InputError

@click.command()
@click.argument("how")
@click.option("--size", type=int, help="Size.")
def command(how, size):
    if how == "well": click.echo("done")
    if how == "ours": raise InputError("no clips at\\n  x", "Give --input another folder.")
    if how == "unforeseen": raise RuntimeError("first line\\nsecond line")
    if how == "silent": raise RuntimeError
    if how == "interrupted": raise KeyboardInterrupt
    if how == "aborted": raise click.Abort
    if how == "status": sys.exit(7)

run(command, sys.argv[1:], "tool")
"""


def _program(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, cwd=HOME, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [
        ("ours", 2, "error: no clips at x. Give --input another folder.\n"),
        (
            "unforeseen",
            1,
            "error: RuntimeError: first line. This is not one we foresaw: run again with --debug for the "
            "traceback.\n",
        ),
        ("silent", 1, "error: RuntimeError: no message. This is not one"),
        ("interrupted", 130, "interrupted; what was committed stays, the same command goes on\n"),
        ("aborted", 130, "interrupted; what was committed stays"),
    ],
)
def test_an_error_is_one_line_and_a_status(how: str, status: int, says: str) -> None:
    returned, out, err = _program(how)
    assert (returned, out) == (status, "") and err.lstrip("\n").startswith(says)
    assert len(err.strip().splitlines()) == 1


def test_other_ways_to_end() -> None:
    assert _program("well") == (0, "done\n", "")
    assert _program("--help")[0] == 0 and "Usage: tool" in _program("--help")[1]
    assert _program("status")[0] == 7
    status, out, err = _program("well", "--size", "big")
    assert (status, out) == (2, "") and "'big' is not a valid integer" in err and "Traceback" not in err
    assert _program()[0] == 2


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("how", "last"),
    [("ours", "catalogs.errors.InputError: no clips at"), ("unforeseen", "RuntimeError: first line")],
)
def test_debug_anywhere_shows_the_traceback(how: str, last: str, place: int) -> None:
    arguments = [how]
    arguments.insert(place, "--debug")
    status, _, err = _program(*arguments)
    assert status == 1 and "Traceback (most recent call last)" in err and last in err


def test_a_reader_that_stops_early_is_no_error() -> None:
    code = (
        "import click\nfrom catalogs.console import run\n@click.command()\ndef c():\n"
        "    for n in range(200_000): click.echo(n)\nrun(c, [])"
    )
    done = subprocess.run(
        f"'{sys.executable}' -c '{code}' | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=HOME,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_limits_are_positive() -> None:
    positive(None, "--limit"), positive(1, "--limit")
    for value in (0, -3):
        with pytest.raises(ConfigError, match=f"--limit must be at least 1, not {value}"):
            positive(value, "--limit")


def test_progress_in_plain_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "avcontrol")
    now = 100.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with progress("canny", 40, "units") as advance:
        for _ in range(40):
            now += 1.0
            advance(1, "7 samples")
    assert caplog.messages == [
        *(f"canny: {done}/40 units, {40 - done} s left (7 samples)" for done in (5, 10, 15, 20, 25, 30, 35)),
        "canny: 40/40 units (7 samples)",
    ]


def test_progress_without_an_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "avcontrol")
    monkeypatch.setattr(console, "_LOG_EVERY_S", 0.0)
    with progress("scan", None, "sources") as advance:
        advance(2), advance()
    assert caplog.messages == ["scan: 2 sources", "scan: 3 sources"]
    with progress("scan", 0, "sources"):
        pass


def test_progress_on_a_terminal_is_a_bar() -> None:
    code = (
        "import time\nfrom catalogs.console import progress\nwith progress('canny', 4, 'units') as advance:\n"
        "    for _ in range(4): advance(1, '3 samples')\n"
    )
    master, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code],
        stderr=terminal,
        cwd=HOME,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(terminal)
    said = os.read(master, 65536).decode()
    os.close(master)
    assert "4/4" in said and "canny" in said and "3 samples" in said and "━" in said


def test_an_error_of_ours_is_what_a_caller_in_python_gets() -> None:
    assert (
        str(InputError("no clips", "Look.")) == "no clips. Look."
        and str(InputError("no clips")) == "no clips"
    )
