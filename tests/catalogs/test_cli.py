from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from catalogs import console
from catalogs.cli import catalog
from catalogs.options import complete_catalog
from tests.catalogs.helpers import as_json, ask, commit, make_row

COMMANDS = ["list", "show", "query", "preview", "rejects", "explain", "validate"]


def test_commands():
    assert set(COMMANDS) <= set(catalog.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_examples(name):
    result = CliRunner().invoke(catalog, [name, "--help"])
    assert result.exit_code == 0
    assert f"\n  avcontrol catalog {name} " in result.output and "\\b" not in result.output
    assert "AVCONTROL_ROOT" in result.output
    short = catalog.commands[name].get_short_help_str(200)
    assert len(short) > 20


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["show", "canny"],
        ["show", "canny", "--versions"],
        ["query", "canny"],
        ["rejects", "canny"],
        ["rejects", "canny", "--reasons"],
    ],
)
def test_listings_come_as_table_json_and_csv(filled, words):
    rows = as_json(filled, *words)
    assert rows and isinstance(rows, list)
    table = list(csv.DictReader(io.StringIO(ask(filled, *words, "--csv").stdout)))
    assert len(table) == len(rows) and list(table[0]) == list(rows[0])
    assert len(ask(filled, *words).stdout.splitlines()) >= len(rows)


def test_list(filled):
    (row,) = as_json(filled, "list")
    assert (row["catalog"], row["version"], row["samples"], row["rejects"]) == ("canny", 2, 5, 3)
    assert row["timelines"] == "64x32x9@24/1+16000" and row["newest_run"] == "run2"
    for file in (filled.folder / "catalogs/canny/samples").glob("*.parquet"):
        file.write_bytes(b"")
    assert "broken" in as_json(filled, "list")[0]["timelines"]


def test_a_catalog_without_rejects(root, capsys):
    commit(root, [make_row(root, 1)])
    assert as_json(root, "list")[0]["rejects"] == 0
    assert "has no table rejects" in run(capsys, root, "rejects", "canny")[2]


def test_show(filled):
    said = {row["column"]: row for row in as_json(filled, "show", "canny?quality<0.45")}
    assert said["quality"]["min"] == 0.1 and said["quality"]["max"] == 0.4
    assert said["quality"]["mean"] == pytest.approx(0.25)
    assert said["caption"]["distinct"] == 4 and said["reference_audio"]["null"] == 4
    newest, older, made = as_json(filled, "show", "canny", "--versions")
    assert (newest["version"], newest["run"], newest["added"]) == ("canny@2", "run2", 1)
    assert (older["added"], made["operation"]) == (4, "create table")
    assert len(as_json(filled, "show", "canny@1", "--versions")) == 2


def test_query(filled):
    rows = as_json(filled, "query", "canny?quality>0.25", "--columns", "sample_id, quality")
    assert [row["quality"] for row in rows] == [0.3, 0.4, 0.5] and list(rows[0]) == ["sample_id", "quality"]
    assert "params" in as_json(filled, "query", "canny", "--limit", "1")[0]
    cut = ask(filled, "query", "canny", "--limit", "2")
    assert len(cut.stdout.splitlines()) == 3 and "canny@2 has 3 more" in cut.stderr
    assert "more" not in ask(filled, "query", "canny", "--limit", "5").stderr


def test_a_table_stops_at_fifty_and_csv_does_not(root):
    one = make_row(root, 1)
    commit(root, [{**one, "sample_id": f"{n:040d}"} for n in range(60)])
    shown = ask(root, "query", "canny", "--columns", "sample_id")
    assert len(shown.stdout.splitlines()) == 51 and "10 more" in shown.stderr
    assert len(ask(root, "query", "canny", "--columns", "sample_id", "--csv").stdout.splitlines()) == 61


def test_rejects(filled):
    assert as_json(filled, "rejects", "canny", "--reasons") == [
        {"stage": "clip", "reason": "static", "rejects": 2},
        {"stage": "clip", "reason": "black", "rejects": 1},
    ]
    (row,) = as_json(filled, "rejects", "canny?reason='black'")
    assert row["source"] == "/clips/a.mp4" and (row["start_s"], row["end_s"]) == (0.0, 1.0)


@pytest.mark.parametrize("out", ["sheet.png", "pair.mp4", "page"])
def test_preview(filled, tmp_path, out):
    result = ask(filled, "preview", "canny", "--out", str(tmp_path / out), "--sample", "0303")
    assert "1 of 1 samples of canny@2" in result.output
    assert (tmp_path / out / "index.html" if out == "page" else tmp_path / out).stat().st_size > 1000


def test_preview_counts_what_it_leaves_out(filled, tmp_path):
    assert "2 of 5" in ask(filled, "preview", "canny", "--out", f"{tmp_path}/x/", "--limit", "2").output
    assert "1 of 5" in ask(filled, "preview", "canny", "--out", f"{tmp_path}/x.mp4").output


def test_explain(filled):
    assert as_json(filled, "explain", "0303")["catalog"]["added_in"] == "canny@1"
    assert "avcontrol build canny" in ask(filled, "explain", "0303", "--catalog", "canny").output


def run(capsys, root, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        console.run(catalog, [*words, "--root", root.uri], "avcontrol catalog")
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_validate(filled, capsys):
    status, out, _ = run(capsys, filled, "validate", "canny", "--deep")
    assert status == 0 and "nothing wrong" in out
    assert json.loads(run(capsys, filled, "validate", "canny", "--json")[1]) == []
    next((filled.folder / "media").rglob("*.flac")).unlink()
    status, out, err = run(capsys, filled, "validate", "canny", "--json")
    assert status == 2 and {row["problem"] for row in json.loads(out)} == {"missing_file"}
    assert "5 problems" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "cany"], "Did you mean canny"),
        (["query", "canny@x"], "no tag"),
        (["query", "canny?qualty>1"], "Did you mean quality"),
        (["query", "canny", "--limit", "0"], "at least 1"),
        (["query", "canny", "--columns", "x_y"], "unknown column"),
        (["rejects", "canny@1"], "versions of their own"),
        (["explain", "ff"], "no sample"),
        (["preview", "canny", "--out", "x.gif"], "FILE.png"),
        (["preview", "canny", "--out", "x.mp4", "--limit", "2"], "one sample"),
        (["preview", "canny?quality>9", "--out", "x.png"], "too narrow"),
        (["validate", "none"], "There are: canny"),
    ],
)
def test_errors_are_one_line(filled, capsys, words, said):
    status, out, err = run(capsys, filled, *words)
    assert status == 2 and not out and len(err.splitlines()) == 1 and said in err


def test_root_is_asked_for(capsys, monkeypatch):
    monkeypatch.delenv("AVCONTROL_ROOT", raising=False)
    with pytest.raises(SystemExit):
        console.run(catalog, ["list"], "avcontrol catalog")
    assert "AVCONTROL_ROOT" in capsys.readouterr().err


def test_catalog_ids_complete(filled):
    command = catalog.commands["query"]
    parameter = next(one for one in command.params if one.name == "catalog_id")
    context = command.make_context("query", ["--root", filled.uri], resilient_parsing=True)
    assert [item.value for item in parameter.shell_complete(context, "ca")] == ["canny"]
    assert [item.value for item in complete_catalog(context, parameter, "canny@")] == [
        "canny@2",
        "canny@1",
        "canny@0",
    ]
