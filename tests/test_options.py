"""Options out of dataclasses: on the command line, in TOML files, and completed by the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from catalogs.ids import CatalogID
from catalogs.options import options, setting
from catalogs.root import Root
from catalogs.tags import tag

HOME = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Config:
    what: str = setting("What to do.", argument=True)
    root: str = setting("Where.", env="OPTIONS_TEST_ROOT")
    count: int = setting("How many.", 3)
    rate: float = setting("How fast.", 1.5)
    limit: int | None = setting("At most.", None)
    mode: Literal["fast", "good"] = setting("How.", "fast")
    loud: bool = setting("Loudly.", False)
    tidy: bool = setting("Tidily.", True)
    folder: Path = setting("Whence.", Path("here"))
    sizes: tuple[int, ...] = setting("Several.", ())
    extras: dict[str, str] = setting("Pairs.", {"low": "1"}, flag="set")
    long_name: str = setting("Two words.", "")


@click.command()
@options(Config)
def command(config: Config) -> None:
    """Echo."""
    click.echo(json.dumps(asdict(config), default=str))


def _run(*arguments: str, env: dict[str, str] | None = None, toml: str | None = None) -> Result:
    runner = CliRunner()
    with runner.isolated_filesystem():
        if toml is not None:
            Path("c.toml").write_text(toml)
            arguments = (*arguments, "--config", "c.toml")
        return runner.invoke(command, arguments, env={"OPTIONS_TEST_ROOT": None, **(env or {})})


def _config(*arguments: str, **more: Any) -> dict[str, Any]:
    result = _run(*arguments, **more)
    assert result.exit_code == 0, result.output + str(result.exception)
    return dict(json.loads(result.stdout))


def _refused(*arguments: str, **more: Any) -> str:
    result = _run(*arguments, **more)
    assert isinstance(result.exception, ConfigError | SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2) and not result.stdout
    return str(result.exception) if isinstance(result.exception, ConfigError) else result.stderr


DEFAULTS = {
    "what": "it",
    "root": "r",
    "count": 3,
    "rate": 1.5,
    "limit": None,
    "mode": "fast",
    "loud": False,
    "tidy": True,
    "folder": "here",
    "sizes": [],
    "extras": {"low": "1"},
    "long_name": "",
}


def test_defaults() -> None:
    assert _config("it", "--root", "r") == DEFAULTS


def test_the_command_line() -> None:
    said = _config(
        "it",
        "--root",
        "r",
        "--count",
        "7",
        "--rate",
        "2",
        "--limit",
        "5",
        "--mode",
        "good",
        "--loud",
        "--no-tidy",
        "--folder",
        "a b",
        "--set",
        "low=50",
        "--set",
        "high = 2=3",
        "--long-name",
        "x",
    )
    assert said == {
        "what": "it",
        "root": "r",
        "count": 7,
        "rate": 2.0,
        "limit": 5,
        "mode": "good",
        "loud": True,
        "tidy": False,
        "folder": "a b",
        "sizes": [],
        "extras": {"low": "50", "high": "2=3"},
        "long_name": "x",
    }


def test_a_toml_file_says_the_same_in_its_own_way() -> None:
    toml = (
        'what = "it"\nroot = "r"\ncount = 7\nrate = 2\nlimit = 5\nmode = "good"\nloud = true\ntidy = false\n'
        'folder = "a b"\nlong-name = "x"\n[set]\nlow = 50\nblur = 0.5\nkind = "box"\nflag = true\n'
    )
    assert _config(toml=toml) == {
        "what": "it",
        "root": "r",
        "count": 7,
        "rate": 2.0,
        "limit": 5,
        "mode": "good",
        "loud": True,
        "tidy": False,
        "folder": "a b",
        "sizes": [],
        "long_name": "x",
        "extras": {"low": "50", "blur": "0.5", "kind": "box", "flag": "True"},
    }
    assert _config("it", "--root", "r", toml='long_name = "y"\n[extras]\nlow = 1')["extras"] == {"low": "1"}


def test_several_values() -> None:
    assert _config("it", "--root", "r", "--sizes", "3", "--sizes", "1")["sizes"] == [3, 1]
    assert _config("it", "--root", "r", toml="sizes = [2, 4]")["sizes"] == [2, 4]
    assert _config("it", "--root", "r", toml="sizes = 2")["sizes"] == [2]
    assert _config("it", "--root", "r", "--sizes", "3", toml="sizes = [2, 4]")["sizes"] == [3]
    assert "sizes in c.toml must be a single value, not a list" in _refused(
        "it", "--root", "r", toml="sizes = [[2]]"
    )
    assert "sizes in c.toml must be a whole number, not 2.5" in _refused(
        "it", "--root", "r", toml="sizes = 2.5"
    )


def test_what_is_required_may_stand_in_the_file_or_the_environment() -> None:
    assert "Missing option '--root'" in _refused("it")
    assert "Missing argument 'WHAT'" in _refused("--root", "r")
    assert _config("it", toml='root = "r"') == DEFAULTS
    assert _config("it", env={"OPTIONS_TEST_ROOT": "r"}) == DEFAULTS


def test_the_command_line_wins_then_the_environment_then_the_file() -> None:
    toml = 'root = "file"\ncount = 9\n[set]\nlow = 1\n'
    assert _config("it", toml=toml)["root"] == "file"
    assert _config("it", toml=toml, env={"OPTIONS_TEST_ROOT": "env"})["root"] == "env"
    said = _config(
        "it", "--root", "line", "--count", "1", "--set", "high=2", toml=toml, env={"OPTIONS_TEST_ROOT": "e"}
    )
    assert (said["root"], said["count"], said["extras"]) == ("line", 1, {"high": "2"})


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("cuont = 1", r"unknown key 'cuont' in c.toml. Did you mean count?"),
        ("zzz = 1", "unknown key 'zzz' in c.toml. It knows: count, extras, folder, limit, "),
        ("count = 'many'", "'many' is not a valid integer"),
        ("count = 1.5", "count in c.toml must be a whole number, not 1.5"),
        ("limit = 2.0", "limit in c.toml must be a whole number, not 2.0"),
        ("count = true", "count in c.toml must be a single value, not true or false"),
        ("count = [1]", "count in c.toml must be a single value, not a list"),
        ("long_name = true", "must be a single value, not true or false"),
        ("[long_name]\na = 1", "long_name in c.toml must be a single value, not a table"),
        ("set = 'low=1'", "set in c.toml must be a table, not a single value"),
        ("loud = 1", "loud in c.toml must be true or false, not a single value"),
        ("loud = 'yes'", "must be true or false"),
        ("mode = 'slow'", "'slow' is not one of 'fast', 'good'"),
        ("count 3", "c.toml is not TOML"),
    ],
)
def test_files_that_do_not_fit_are_refused(toml: str, says: str) -> None:
    assert says in " ".join(_refused("it", "--root", "r", toml=toml).split())


def test_files_that_cannot_be_read() -> None:
    assert "cannot read none.toml: No such file" in _refused("it", "--root", "r", "--config", "none.toml")
    runner = CliRunner()
    with runner.isolated_filesystem():
        Path("latin.toml").write_bytes('long_name = "é"'.encode("latin-1"))
        result = runner.invoke(command, ["it", "--root", "r", "--config", "latin.toml"])
        assert isinstance(result.exception, ConfigError) and "latin.toml is not TOML" in str(result.exception)
        Path("utf8.toml").write_text('what = "it"\nroot = "é"', encoding="utf-8")
        result = runner.invoke(command, ["--config", "utf8.toml"], env={"LC_ALL": "C"})
        assert json.loads(result.stdout)["root"] == "é"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "low"], "--set 'low' is not key=value"),
        (["--set", "=1"], "--set '=1' is not key=value"),
        (["--count", "x"], "Invalid value for '--count': 'x' is not a valid integer"),
        (["--mode", "slow"], "'slow' is not one of 'fast', 'good'"),
        (["--cuont", "1"], "No such option '--cuont'"),
        (["--limit"], "Option '--limit' requires an argument"),
    ],
)
def test_command_lines_that_do_not_fit_are_refused(arguments: list[str], says: str) -> None:
    assert says.replace("'", "") in _refused("it", "--root", "r", *arguments).replace("'", "")


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(-(10**6), 10**6),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    loud=st.booleans(),
    tidy=st.booleans(),
    mode=st.sampled_from(["fast", "good"]),
    name=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12),
    extras=st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.from_regex(r"[a-z0-9=.]{0,8}", fullmatch=True),
        min_size=1,
        max_size=3,
    ),
)
def test_command_line_and_file_agree(
    count: int, rate: float, loud: bool, tidy: bool, mode: str, name: str, extras: dict[str, str]
) -> None:
    line = [
        "it",
        "--root",
        "r",
        f"--count={count}",
        f"--rate={rate!r}",
        *["--loud"] * loud,
        "--tidy" if tidy else "--no-tidy",
        "--mode",
        mode,
        f"--long-name={name}",
    ]
    toml = [
        f"count = {count}",
        f"rate = {rate!r}",
        f"loud = {str(loud).lower()}",
        f"tidy = {str(tidy).lower()}",
        f'mode = "{mode}"',
        f"long_name = {json.dumps(name)}",
        "[set]",
        *(f"{key} = {json.dumps(value)}" for key, value in extras.items()),
    ]
    for key, value in extras.items():
        line += ["--set", f"{key}={value}"]
    said = _config(*line)
    assert said == _config("it", "--root", "r", toml="\n".join(toml).replace("\\u007f", "\\u007F"))
    assert (said["count"], said["rate"], said["extras"]) == (count, rate, extras)


def test_help_shows_what_there_is() -> None:
    said = " ".join(_run("--help").output.split())
    for words in (
        "WHAT",
        "--count INTEGER How many. [default: 3]",
        "--mode [fast|good] How. [default: fast]",
        "--loud Loudly.",
        "--tidy / --no-tidy Tidily.",
        "--set KEY=VALUE Pairs.",
        "--config FILE",
        "--root TEXT Where. [env var: OPTIONS_TEST_ROOT; required]",
    ):
        assert words in said, words


# Completion, as the shell asks for it.


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    from catalogs.query import table_of
    from catalogs.root import Root
    from catalogs.schema import SAMPLES

    opened = Root.open(str(tmp_path_factory.mktemp("root")))
    for name, commits in (("canny", 2), ("canny-small", 1), ("depth", 0)):
        table = table_of(opened, name, create=SAMPLES)
        for commit in range(commits):
            table.append_new([{"sample_id": f"{name}{commit}", "unit_id": "u"}], {"run_id": "r"})
    return opened.uri


def _completed(line: str, **env: str) -> list[str]:
    """What bash would offer for a line that ends in the word being typed."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", "from avcontrol import main; main()"],
        capture_output=True,
        text=True,
        cwd=HOME,
        env={
            **{key: value for key, value in os.environ.items() if key != "AVCONTROL_ROOT"},
            **env,
            "_AVCONTROL_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        check=False,
    )
    assert done.stderr == "", done.stderr
    return [offer.split(",", 1)[1] for offer in done.stdout.split()]


def test_commands_and_modalities_complete() -> None:
    assert _completed("avcontrol ca") == ["canvas", "catalog"]
    assert {"canny"} <= set(_completed("avcontrol build c"))
    assert {"canny", "detailing", "inpaint"} <= set(_completed("avcontrol build "))
    assert _completed("avcontrol build canny --shot") == ["--shots"]
    assert "content" in _completed("avcontrol build canny --shots ")


def test_catalogs_and_versions_complete(root: str) -> None:
    for line, env in (
        (f"avcontrol train --root {root} ", {}),
        ("avcontrol train ", {"AVCONTROL_ROOT": root}),
        ("avcontrol catalog show ", {"AVCONTROL_ROOT": root}),
    ):
        assert _completed(line, **env) == ["canny", "canny-small", "depth"]
        assert _completed(f"{line}canny", **env) == ["canny", "canny-small"]
        assert set(_completed(f"{line}canny@", **env)) == {"canny@0", "canny@1", "canny@2"}
        assert _completed(f"{line}canny@2", **env) == ["canny@2"]
        assert _completed(f"{line}nothing@", **env) == []
    tag(Root.open(root), CatalogID.parse("canny@1"), "best")
    assert _completed("avcontrol catalog show canny@b", AVCONTROL_ROOT=root) == ["canny@best"]


def test_completion_without_a_root_is_empty_not_an_error(tmp_path: Path) -> None:
    assert _completed("avcontrol train ") == []
    assert _completed("avcontrol train ", AVCONTROL_ROOT=str(tmp_path / "nowhere")) == []
    assert _completed("avcontrol train ", AVCONTROL_ROOT=str(tmp_path)) == []
