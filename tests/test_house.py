"""The house rules: who imports whom, what loads when, what is said about every command."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

import avcontrol
from pipelines import modality

HOME = Path(__file__).parents[1]
PACKAGES = ("pipelines", "renderers", "training", "catalogs")
FILES = [
    *sorted(file for package in PACKAGES for file in (HOME / package).rglob("*.py")),
    HOME / "avcontrol.py",
]


def _imports(file: Path) -> set[str]:
    """Modules that a file imports, anywhere in it; ``from a import b`` counts as ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("catalogs", []),
        ("renderers", []),
        ("pipelines", ["catalogs", "renderers", "training.backbone", "training.codec"]),  # docs/design/0002
        ("training", ["catalogs", "renderers"]),
    ],
)
def test_imports_go_one_way(package: str, allowed: list[str]) -> None:
    wrong = [
        f"{file.relative_to(HOME)} imports {name}"
        for file in FILES
        if file.is_relative_to(HOME / package)
        for name in sorted(_imports(file))
        if _within(name, *PACKAGES, "avcontrol") and not _within(name, package, *allowed)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("module", "only"),
    [
        ("ray", ("pipelines/runner.py", "training/cluster.py")),
        ("bpy", ("renderers/blender.py",)),
        ("mathutils", ("renderers/blender.py",)),
    ],
)
def test_one_module_alone_knows(module: str, only: tuple[str, ...]) -> None:
    assert [
        name
        for file in FILES
        if (name := str(file.relative_to(HOME))) not in only
        and any(_within(imported, module) for imported in _imports(file))
    ] == []


def test_the_rules_can_fail(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "def f():\n    import ray.data as r\n    from training import loop, backbone\n"
    )
    assert _imports(tmp_path / "x.py") == {"ray.data", "training.loop", "training.backbone"}
    assert _within("ray.data", "ray") and not _within("rayon", "ray")
    assert not _within("training.loop", "training.backbone")


def test_files_are_short_and_named_after_what_they_are() -> None:
    every = [
        *FILES,
        *(HOME / "tests").rglob("*.py"),
        *(HOME / "benchmarks").rglob("*.py"),
        *(HOME / "examples").rglob("*.py"),
    ]
    assert len(every) > 60
    assert [str(file) for file in every if len(file.read_text().splitlines()) > 500] == []
    assert [
        str(file)
        for file in every
        if file.stem in ("utils", "util", "helper", "misc", "common")
        or file.parent.name in ("utils", "util", "misc", "common")
    ] == []


def test_nobody_else_provides_our_names() -> None:
    owners = packages_distributions()
    for name in (*PACKAGES, "avcontrol"):
        assert set(owners.get(name, [])) <= {"avcontrol"}, name


HEAVY = (
    "torch",
    "textual",
    "ray",
    "cv2",
    "av",
    "deltalake",
    "duckdb",
    "pyarrow",
    "numpy",
    "transformers",
    "diffusers",
    "rich",
)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import avcontrol", ()),
        ("import avcontrol; avcontrol.cli(['--help'], standalone_mode=False)", ()),
        # A command's own help may load what its options come from, but no model, no Ray and no decoder.
        *(
            (
                f"import avcontrol; avcontrol.cli(['{name}', '--help'], standalone_mode=False)",
                ("deltalake", "duckdb", "pyarrow", "numpy", "rich"),
            )
            for name in avcontrol._COMMANDS
        ),
        ("import training.backbone, pipelines.plan", ("pyarrow", "numpy")),
    ],
)
def test_what_is_heavy_is_loaded_late(code: str, allowed: tuple[str, ...]) -> None:
    code += f"\nimport json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) <= set(allowed)


def _commands() -> Iterator[tuple[str, click.Command]]:
    waiting: list[tuple[str, click.Command]] = [("", avcontrol.cli)]
    while waiting:
        name, command = waiting.pop(0)
        yield name.strip(), command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                waiting.append((f"{name} {inner}", found))


COMMANDS = dict(_commands())


def test_the_tree_is_walked() -> None:
    assert {"build", "encode", "catalog", "catalog list", "train", "generate"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert command.help and command.help[0].isupper() and command.get_short_help_str(200)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            said = parameter.help or ""
            assert len(said) > 8 and said.endswith((".", "…")), parameter.opts
            assert all(name == name.lower() and "_" not in name for name in parameter.opts), parameter.opts


def test_the_front_door_says_what_the_commands_say() -> None:
    """The summaries are written twice, so that --help need not import the commands: they must exist."""
    for name, (module, summary) in avcontrol._COMMANDS.items():
        assert COMMANDS[name].callback is not None and summary.endswith(".")
        assert COMMANDS[name].callback.__module__ == module
        assert COMMANDS[name].name == name


@pytest.fixture(scope="module")
def written() -> str:
    texts = [file.read_text() for file in [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]]
    return "\n".join(texts)


@pytest.mark.parametrize("name", [name.replace("_", "-") for name in modality.names()])
def test_every_modality_is_written_about(written: str, name: str) -> None:
    assert re.search(rf"\b{name}\b", written)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name])
def test_every_command_is_written_about(written: str, name: str) -> None:
    assert f"avcontrol {name}" in written


def test_benchmarks_start_as_is_written() -> None:
    """One that imports another starts as a module, wherever its start is written."""
    together = [
        file.stem for file in (HOME / "benchmarks").glob("*.py") if "\nfrom benchmarks" in file.read_text()
    ]
    assert "catalog" in together
    places = [
        *HOME.glob("*.md"),
        *(HOME / "docs").rglob("*.md"),
        HOME / "Makefile",
        *(HOME / "benchmarks").glob("*.py"),
    ]
    said = {place: re.findall(r"python benchmarks/(\w+)\.py", place.read_text()) for place in places}
    assert not {
        place.name: set(named) & set(together) for place, named in said.items() if set(named) & set(together)
    }


def test_the_shape_of_the_house_is_installed() -> None:
    import tomllib

    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"avcontrol": "avcontrol:main"}
    assert project["tool"]["setuptools"]["py-modules"] == ["avcontrol"]
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{name}*" for name in PACKAGES]
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]
    # setuptools finds packages by their __init__.py.
    folders = {file.parent for file in FILES} - {HOME}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
