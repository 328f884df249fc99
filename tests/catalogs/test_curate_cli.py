"""The commands as people call them; what they compute is tested beside the functions."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex

import pytest
from click.testing import CliRunner

from catalogs import console
from catalogs.cli import catalog
from catalogs.curate_cli import COMMANDS
from catalogs.query import select, table_of
from tests.catalogs.helpers import as_json, ask, commit, make_row, store, write_audio


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_and_examples(command):
    result = CliRunner().invoke(catalog, [command.name, "--help"])
    assert result.exit_code == 0 and "AVCONTROL_ROOT" in result.output
    assert f"\n  avcontrol catalog {command.name}" in result.output and "\\b" not in result.output


def test_stats(filled, tmp_path):
    told = as_json(filled, "stats", "canny?quality<0.45")
    assert (told["samples"], told["catalog"]) == (4, "canny@2?quality<0.45")
    shown = ask(filled, "stats", "canny", "--out", str(tmp_path / "stats.png"))
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("canny@2: 5 samples, 1.9 seconds from 1 sources, ")
    quality = next(line for line in lines if line.startswith("quality"))
    assert quality.split()[1:6] == ["0", "0.1", "0.3", "0.3", "0.5"] and "█" in quality
    assert (
        next(line for line in lines if line.startswith("modality")).split(maxsplit=1)[1].strip() == "canny 5"
    )
    assert (tmp_path / "stats.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(ask(filled, "stats", "canny", "--csv").stdout)))
    assert [row["column"] for row in rows][:2] == ["seconds", "quality"]
    assert sum(json.loads(rows[1]["counts"])) == 5


def test_diff(filled):
    table_of(filled, "canny").delete("unit_id", ["unit1", "unit2"], {})
    commit(filled, [make_row(filled, 2, sample_id="f" * 40, unit_id="other", code_version="1.2")])
    assert as_json(filled, "diff", "canny@1", "canny") == [
        {"change": "same", "samples": 2, "why": ""},
        {"change": "added", "samples": 1, "why": ""},
        {"change": "removed", "samples": 1, "why": ""},
        {"change": "changed", "samples": 1, "why": "code_version of the modality 1 -> 2"},
    ]
    rows = as_json(filled, "diff", "canny@1", "canny", "--samples")
    assert [row["change"] for row in rows] == ["added", "changed", "removed"]


def test_split(filled):
    (row, other) = as_json(filled, "split", "canny", "--validation", "0.5", "--by", "quality")
    assert [row["split"], other["split"]] == ["train", "validation"]
    assert row["samples"] + other["samples"] == row["groups"] + other["groups"] == 5
    # What is printed can be pasted between single quotes into a shell.
    pasted = shlex.split(shlex.quote(row["catalog_id"]))[0]
    assert len(as_json(filled, "query", pasted, "--columns", "sample_id")) == row["samples"]


def test_dedupe(root, tmp_path):
    one = make_row(root, 1)
    commit(
        root,
        [one, {**one, "sample_id": "a" * 40, "unit_id": "x", "quality": 0.9}, make_row(root, 2, video=None)],
    )
    shown = ask(root, "dedupe", "canny", "--out", str(tmp_path / "ids.txt"), "--reject")
    assert "1 clusters, 1 samples to leave out" in shown.stderr and "NOT IN" in shown.stderr
    assert (tmp_path / "ids.txt").read_text() == f"{'01' * 20}\n"
    left = select(root, "canny?review IS DISTINCT FROM 'reject'", ["sample_id"])["sample_id"].to_pylist()
    assert left == ["02" * 20, "a" * 40] and select(root, "canny").num_rows == 3


def test_merge_and_tags(filled):
    assert [row["added"] for row in as_json(filled, "merge", "canny@1", "canny", "--into", "all")] == [4, 1]
    assert ask(filled, "tag", "canny@1", "best").output == "canny@best is canny@1\n"
    assert ask(filled, "tag", "all", "best").exit_code == 0
    assert [(row["tag"], row["version"]) for row in as_json(filled, "tags")] == [
        ("all@best", "all@2"),
        ("canny@best", "canny@1"),
    ]
    assert len(as_json(filled, "query", "canny@best")) == 4
    assert "is no more" in ask(filled, "tag", "canny", "best", "--delete").output
    assert as_json(filled, "tags", "canny") == []


def test_gc_shows_first(filled):
    lost = store(filled, write_audio, ".flac", level=0.01)
    os.utime(filled.folder / lost, (1, 1))
    shown = ask(filled, "gc")
    assert lost in shown.stdout and "Nothing was removed" in shown.stderr and (filled.folder / lost).exists()
    size = (filled.folder / lost).stat().st_size
    assert as_json(filled, "gc") == [{"what": "media", "files": 1, "bytes": size, "example": lost}]
    assert "removed 1 files" in ask(filled, "gc", "--yes").stderr and not (filled.folder / lost).exists()
    assert "nothing to remove" in ask(filled, "gc").stderr and as_json(filled, "gc") == []


def run(capsys, root, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        console.run(catalog, [*words, "--root", root.uri], "avcontrol catalog")
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stats", "cany"], "Did you mean canny"),
        (["stats", "canny", "--out", "/proc/x/stats.png"], "stats.png"),
        (["stats", "canny", "--out", "stats.xyz"], "PNG, SVG or PDF"),
        (["diff", "canny@1", "canny@1"], "compared with itself"),
        (["diff", "canny@1", "other"], "There are: canny"),
        (["split", "canny", "--validation", "2"], "between 0 and 1"),
        (["dedupe", "canny", "--distance", "-1"], "between 0 and 95"),
        (["dedupe", "canny", "--embedding", "/nowhere"], "no image embedding"),
        (["merge", "canny", "--into", "canny"], "into itself"),
        (["tag", "canny", "7"], "cannot be a tag"),
        (["tag", "canny", "best", "--delete"], "no tag 'best'"),
        (["tags", "cany"], "Did you mean canny"),
        (["gc", "--keep-versions", "0"], "at least 1"),
        (["gc", "--grace-days", "-1"], "between 0 and"),
        (["gc", "--older-than", "inf"], "between 0 and"),
    ],
)
def test_errors_are_one_line(filled, capsys, words, said):
    status, out, err = run(capsys, filled, *words)
    assert status == 2 and not out and len(err.splitlines()) == 1 and said in err
