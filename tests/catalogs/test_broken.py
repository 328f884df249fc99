"""Every kind of damage, met by every command: one line that says what, where and what to do; the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from catalogs import review, tags
from catalogs.browse.pages import Pages
from catalogs.cli import catalog
from catalogs.errors import AvcontrolError, BrokenCatalog, CatalogError
from catalogs.ids import CatalogID
from catalogs.query import pin, select, table_of
from catalogs.repair import rebuild_list, repair
from catalogs.root import Root
from catalogs.schema import LEDGER, SAMPLES
from catalogs.store import Table
from catalogs.summary import columns
from catalogs.validate import validate
from tests.catalogs.helpers import SCHEMA, commit, make_row, run_info
from training.header import pairs_of

SAMPLES_AT = "catalogs/canny/samples"
ONE = "01" * 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Root:
    """canny@2 of three samples, with a ledger, a review, a tag and a checkpoint; beside it the catalog `other`."""
    root = Root.open(str(tmp_path_factory.mktemp("whole")))
    commit(root, [make_row(root, n) for n in (1, 2)])
    commit(root, [make_row(root, 3)])
    commit(root, [make_row(root, 4)], name="other")
    done = [
        {"ledger_id": f"l{n}", "unit_id": f"unit{n}", "source_uri": "a", "samples": 1, "rejects": 0}
        for n in (1, 2, 3)
    ]
    table_of(root, "canny", "ledger", create=LEDGER).append_new(done, run_info())
    review.write(root, "canny", [ONE], verdict="accept")
    tags.tag(root, pin(root, "canny"), "best")
    table_of(root, "canny").checkpoint()
    return root


@pytest.fixture
def root(whole, tmp_path) -> Root:
    return Root.open(str(shutil.copytree(whole.folder, tmp_path / "the root é")))


def ask(root: Root, *words: str) -> Result:
    return CliRunner().invoke(catalog, list(words), env={"AVCONTROL_ROOT": root.uri})


def newest(root: Root, pattern: str) -> Path:
    return max(root.folder.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def cut(file: Path, part: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])


def entry(root: Root) -> Path:
    """The newest entry of the log, which no checkpoint has seen."""
    for file in (root.folder / SAMPLES_AT / "_delta_log").glob("*checkpoint*"):
        file.unlink()
    return max((root.folder / SAMPLES_AT / "_delta_log").glob("*.json"))


def scribble(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20] + b"\xff" * 600 + file.read_bytes()[620:])


DAMAGE: dict[str, tuple[Callable[[Root], None], str]] = {
    "data file cut": (lambda root: cut(newest(root, f"{SAMPLES_AT}/*.parquet")), r"part-.*\.parquet"),
    "data file scribbled": (
        lambda root: scribble(newest(root, f"{SAMPLES_AT}/*.parquet")),
        r"part-.*\.parquet",
    ),
    "data file gone": (lambda root: newest(root, f"{SAMPLES_AT}/*.parquet").unlink(), "parquet is missing"),
    "log cut": (lambda root: cut(entry(root)), "entry 2 of the log is cut short"),
    "log emptied": (lambda root: cut(entry(root), 0), "entry 2 of the log is cut short"),
    "checkpoint cut": (
        lambda root: cut(newest(root, f"{SAMPLES_AT}/_delta_log/*.checkpoint.parquet")),
        "checkpoint 0*2.checkpoint.parquet is no Parquet file",
    ),
}
COMMANDS: list[tuple[str, ...]] = [
    ("show", "canny"),
    ("query", "canny"),
    ("query", "canny?quality>0"),
    ("stats", "canny"),
    ("explain", "0303"),
    ("diff", "canny@1", "canny"),
    ("validate", "canny"),
]


@pytest.mark.parametrize("name", DAMAGE)
def test_every_command_says_what_is_broken_and_others_go_on(root, name):
    damage, said = DAMAGE[name]
    damage(root)
    for words in COMMANDS:
        error = ask(root, *words).exception
        assert isinstance(error, BrokenCatalog), words
        assert "validate canny" in error.hint or words[0] == "validate"
        assert len(str(error).splitlines()) == 1
        if words[0] != "validate":
            assert "catalogs/canny/samples" in error.message
    with pytest.raises(BrokenCatalog, match=said):
        select(root, "canny")
    with pytest.raises(BrokenCatalog):
        Pages(root, "canny").page(0, 5)
    if "scribbled" not in name:  # the columns that training counts are whole
        with pytest.raises(BrokenCatalog):
            pairs_of(root, pin(root, "canny"))
    listed = {row["catalog"]: row for row in json.loads(ask(root, "list", "--json").stdout)}
    assert listed["other"]["samples"] == 1
    assert "scribbled" in name or listed["canny"]["timelines"].startswith("broken: ")


@pytest.mark.parametrize("name", DAMAGE)
def test_mended_it_opens_and_lists_what_is_lost(root, name):
    damage, _ = DAMAGE[name]
    before = select(root, "canny").to_pylist()
    damage(root)
    problems = validate(root, "canny")
    result = ask(root, "validate", "canny", "--fix")
    assert result.exit_code == 0 and result.exception is None
    kept = select(root, "canny").to_pylist()
    lost = name.startswith("data file")
    if not lost:
        assert kept == before and rebuild_list(root, "canny") == []
    else:
        assert kept == before[:2]
        assert [row["unit_id"] for row in rebuild_list(root, "canny")] == ["unit3"]
        assert "1 units are to be made again; this does it: avcontrol build canny" in result.output
    assert problems and validate(root, "canny") == [] and repair(root, CatalogID.parse("canny")) == []
    assert select(root, "canny@1").to_pylist() == before[:2]
    assert list((root.folder / "set-aside").rglob("*.damaged")) or "gone" in name
    assert commit(root, [make_row(root, 3)]) == lost
    assert [row["sample_id"] for row in select(root, "canny").to_pylist()] == [
        row["sample_id"] for row in before
    ]


def test_a_cut_entry_that_a_checkpoint_covers(root):
    before = select(root, "canny").to_pylist()
    log = root.folder / SAMPLES_AT / "_delta_log"
    assert (log / f"{2:020}.checkpoint.parquet").exists()
    cut(log / f"{2:020}.json", 0)
    with pytest.raises(BrokenCatalog, match="entry 2 of the log is cut short"):
        select(root, "canny")
    assert ask(root, "validate", "canny", "--fix").exit_code == 0
    assert select(root, "canny").to_pylist() == before and validate(root, "canny") == []
    cut(log / f"{1:020}.json")
    assert ask(root, "validate", "canny", "--fix").exit_code == 0
    assert ask(root, "show", "canny", "--versions").exit_code == 0
    assert select(root, "canny").to_pylist() == before and validate(root, "canny") == []


def test_rows_that_were_deleted_do_not_come_back_with_the_lost_ones(root):
    """Two builders: the second's try for clip 5 comes second, and leaves a file with its row behind."""
    entry(root)  # removes the checkpoint
    first, second = table_of(root, "canny"), table_of(root, "canny")
    second.keys()
    orphan = root.folder / SAMPLES_AT / "part-tried.parquet"
    commit(root, [make_row(root, 5)])
    pq.write_table(table_of(root, "canny").read(where=pads.field("unit_id") == "unit5"), orphan)
    first.delete("unit_id", ["unit5"], run_info())
    commit(root, [make_row(root, 6)])
    cut(entry(root), 0)
    repair(root, CatalogID.parse("canny"))
    kept = [row["unit_id"] for row in select(root, "canny", ["unit_id"]).to_pylist()]
    assert kept == ["unit1", "unit2", "unit3", "unit6"]


def test_a_damaged_file_takes_all_its_rows_along(tmp_path):
    root = Root.open(str(tmp_path / "many"), create=True)
    shared = make_row(root, 1)
    rows = [{**make_row(root, n, **{"video": shared["video"]}), "quality": 0.5} for n in range(40)]
    commit(root, rows)
    (root.folder / shared["video"]).write_bytes(b"other bytes")
    assert ask(root, "validate", "canny", "--fix").exit_code == 0
    assert select(root, "canny").num_rows == 0 and validate(root, "canny") == []
    assert len(rebuild_list(root, "canny")) == 40


def test_a_folder_that_is_no_catalog_is_passed_over(root):
    shutil.copytree(root.folder / "catalogs/canny", root.folder / "catalogs/canny copy")
    assert [row["catalog"] for row in json.loads(ask(root, "list", "--json").stdout)] == ["canny", "other"]
    assert ask(root, "explain", "0202").exit_code == 0


def test_several_cut_entries(root):
    before = select(root, "canny").to_pylist()
    entry(root)
    log = root.folder / SAMPLES_AT / "_delta_log"
    cut(log / f"{1:020}.json")
    first, *_ = validate(root, "canny")
    assert (first["problem"], first["what"]) == (
        "broken_log_entry",
        "entry 1 of the log is cut short, and later ones follow",
    )
    cut(log / f"{2:020}.json", 0)
    ask(root, "validate", "canny", "--fix")  # now both are at the end
    assert select(root, "canny").to_pylist() == before and validate(root, "canny") == []
    assert rebuild_list(root, "canny") == []


def test_a_table_whose_every_file_is_lost_stays_a_problem(root):
    entry(root)
    for file in (root.folder / SAMPLES_AT).rglob("*.*"):
        file.write_bytes(b"")
    ask(root, "validate", "canny", "--fix")
    [problem] = validate(root, "canny")
    assert problem["problem"] == "cut_log_entry" and problem["what"] == "entry 0 of the log is cut short"


@pytest.mark.parametrize("part", ["reviews/*.parquet", "reviews/_delta_log/*.json", "tags/*.json"])
def test_what_lies_beside_the_samples(root, part):
    cut(newest(root, f"catalogs/canny/{part}"))
    for view in ("canny@best",) if "tags" in part else ("canny?review='accept'",):
        with pytest.raises(BrokenCatalog, match=part.partition("/")[0]):
            select(root, view)
    assert select(root, "canny").num_rows == 3
    assert len(validate(root, "canny")) == 1
    repair(root, CatalogID.parse("canny"))
    assert validate(root, "canny") == [] and select(root, "canny?review='accept'").num_rows <= 1


def test_lost_media_come_from_a_copy_or_leave_their_row(root, whole, tmp_path):
    rows = select(root, "canny", ["video", "reference_video"]).to_pylist()
    moved, changed, lost = (root.folder / row["video"] for row in rows)
    moved.rename(root.folder / "media" / moved.name)
    changed.write_bytes(b"other bytes")
    lost.unlink()
    assert {problem["problem"] for problem in validate(root, "canny", deep=True)} == {
        "missing_file",
        "wrong_hash",
    }
    bad = Root.open(str(tmp_path / "bad"), create=True)
    (bad.folder / rows[2]["video"]).parent.mkdir(parents=True)
    (bad.folder / rows[2]["video"]).write_bytes(b"not what its name says")
    done = repair(root, CatalogID.parse("canny"), deep=True, copies=bad)
    assert sorted(one["done"] for one in done) == ["left out", "put back", "set aside", "to be made again"]
    assert select(root, "canny").num_rows == 1 and moved.is_file()
    assert validate(root, "canny", deep=True) == []


def test_a_backup_gives_everything_back(root, whole):
    before = select(root, "canny").to_pylist()
    for file in (root.folder / "media").rglob("*.mp4"):
        file.unlink()
    result = ask(root, "validate", "canny", "--fix", "--copies", whole.uri)
    assert result.exception is None and "put back" in result.output
    assert validate(root, "canny", deep=True) == [] and select(root, "canny").to_pylist() == before


def test_fix_takes_no_version_and_copies_want_fix(root):
    for words in (("canny@1", "--fix"), ("canny?quality>0", "--fix"), ("canny", "--copies", "x")):
        assert isinstance(ask(root, "validate", *words).exception, AvcontrolError)


def test_a_filter_with_a_typo(root):
    for where, said in (("qualty>0.5", "Did you mean quality"), ("quality >", "WHERE is an SQL condition")):
        for words in (("query",), ("show",), ("stats",), ("validate",)):
            error = ask(root, *words, f"canny?{where}").exception
            assert isinstance(error, CatalogError) and said in str(error), words


def older(root: Root, lacks: tuple[str, ...]) -> None:
    """`canny`, as a release wrote it that did not know some columns yet."""
    schema = pa.schema([field for field in SCHEMA if field.name not in lacks])
    table = Table.open(root, SAMPLES_AT, key=("sample_id", "unit_id"), create=schema)
    rows = [make_row(root, n, schema_version=0) for n in (1, 2)]
    assert (
        table.append_new([{name: row[name] for name in schema.names if name in row} for row in rows], {}) == 2
    )


@pytest.mark.parametrize(
    "lacks", [("timeline", "calibration", "expected_error"), ("motion", "commercial_ok")]
)
def test_a_catalog_of_an_older_schema_opens(tmp_path, lacks):
    root = Root.open(str(tmp_path / "old"), create=True)
    older(root, lacks)
    rows = select(root, "canny").to_pylist()
    assert all(row[name] is None for row in rows for name in lacks)
    assert select(root, f"canny?{lacks[0]} IS NULL", [lacks[0], "caption"]).num_rows == 2
    assert set(SAMPLES.names) <= {row["column"] for row in columns(root, CatalogID.parse("canny"))}
    assert Pages(root, f"canny?{lacks[1]} IS NULL").count() == 2 and validate(root, "canny", deep=True) == []
    assert pairs_of(root, pin(root, "canny")).samples == 2
    for words in (("list",), ("show", "canny"), ("query", "canny"), ("stats", "canny"), ("explain", "0101")):
        assert ask(root, *words).exception is None, words
    assert commit(root, [make_row(root, 3)]) == 1  # and it grows
    assert set(select(root, "canny", [lacks[0]])[lacks[0]].to_pylist()[:2]) == {None}
