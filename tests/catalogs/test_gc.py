from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from catalogs import gc, tags
from catalogs.errors import BrokenCatalog, CatalogNotFound
from catalogs.query import pin, select, table_of
from catalogs.root import Root
from catalogs.schema import ENCODINGS
from catalogs.store import Table
from catalogs.validate import validate
from tests.catalogs.helpers import commit, make_row, run_info, store, write_audio

PLAIN = {"grace_s": gc.DAY}


def age(root: Root, *paths: str) -> None:
    """Make files two days old; all of them by default."""
    every = [Path(root.uri) / path for path in paths] or [
        path for path in Path(root.uri).rglob("*") if path.is_file()
    ]
    for path in every:
        then = path.stat().st_mtime - 2 * gc.DAY
        os.utime(path, (then, then))


def orphan(root: Root, level: float = 0.01, kind: str = "media") -> str:
    return store(root, write_audio, ".flac", level=level, kind=kind)


def gone_bytes(root: Root) -> int:
    """What lies in the root, logs left out."""
    files = [path for path in Path(root.uri).rglob("*") if path.is_file() and "_delta_log" not in path.parts]
    return sum(path.stat().st_size for path in files)


def planned(made: gc.Plan) -> set[str]:
    return set(made.files["path"].to_pylist())


def there(root: Root) -> set[str]:
    return {
        str(path.relative_to(root.uri)) for kind in gc.KINDS for path in (Path(root.uri) / kind).rglob("*.*")
    }


def test_only_what_nothing_refers_to_goes(filled):
    lost = orphan(filled)
    age(filled)
    before = there(filled)
    made = gc.plan(filled)
    assert planned(made) == {lost} and gc.summary(made)[0]["files"] == 1
    assert there(filled) == before  # a plan changes nothing
    assert gc.remove(filled, made) == (1, made.files["size"][0].as_py())
    assert there(filled) == before - {lost} and validate(filled, "canny", deep=True) == []
    assert len(gc.plan(filled).files) == 0


def test_young_files_stay(filled):
    lost = orphan(filled)
    assert planned(gc.plan(filled)) == set()
    age(filled, lost)
    assert planned(gc.plan(filled)) == {lost}
    made = gc.plan(filled)
    os.utime(Path(filled.uri) / lost)  # made again between planning and removing
    assert gc.remove(filled, made) == (0, 0) and lost in there(filled)


def test_a_build_that_commits_between_planning_and_removing_loses_nothing(filled):
    used, lost = orphan(filled, 0.02), orphan(filled, 0.03)
    age(filled)
    made = gc.plan(filled)
    assert planned(made) == {used, lost}
    commit(filled, [make_row(filled, 8, reference_audio=used)])
    assert gc.remove(filled, made)[0] == 1
    assert used in there(filled) and lost not in there(filled)
    assert validate(filled, "canny", deep=True) == []


def test_a_row_that_is_written_and_not_committed_holds_its_files(filled):
    """A Parquet file that no commit names yet, as a build leaves it for a moment."""
    used = orphan(filled, 0.02)
    commit(filled, [make_row(filled, 8, reference_audio=used)], name="other")
    folder = Path(filled.uri) / "catalogs"
    for number, file in enumerate(sorted((folder / "other/samples").glob("*.parquet"))):
        file.rename(folder / "canny/samples" / f"part-{number}.parquet")
    for file in sorted((folder / "other/samples/_delta_log").iterdir()):
        file.unlink()
    age(filled)
    assert planned(gc.plan(filled)) == set()


def test_old_versions_hold_their_files_until_they_are_let_go(filled):
    table_of(filled, "canny").delete("unit_id", ["unit1", "unit2"], {})
    age(filled)
    assert planned(gc.plan(filled)) == set() and select(filled, "canny@2").num_rows == 5
    assert gc.plan(filled, older_than=1, grace_s=0).history == {}  # replaced a moment ago
    made = gc.plan(filled, keep_versions=1, grace_s=0)
    assert sum(map(len, made.history.values())) == 1 and {path[:5] for path in planned(made)} <= {
        "media",
        "signa",
    }
    alone, before = planned(made), gone_bytes(filled)
    count, size = gc.remove(filled, made)
    assert alone and count == len(alone) + 1 and size == before - gone_bytes(filled)  # and one of the rows
    assert select(filled, "canny").num_rows == 3 and validate(filled, "canny", deep=True) == []
    with pytest.raises(CatalogNotFound, match=r"version 2 of canny was cleared away"):
        select(filled, "canny@2")
    again = gc.plan(filled, keep_versions=1, grace_s=0)
    assert again.history == {} and planned(again) == set()


def test_newest_versions_and_tagged_ones_stay(filled):
    tags.tag(filled, pin(filled, "canny@1"), "paper")
    table_of(filled, "canny").delete("unit_id", ["unit1"], {})
    table_of(filled, "canny").delete("unit_id", ["unit2"], {})
    age(filled)
    assert gc.plan(filled, keep_versions=9, grace_s=0).history == {}
    gc.remove(filled, gc.plan(filled, keep_versions=1, grace_s=0))
    for catalog, rows in (("canny@paper", 4), ("canny@1", 4), ("canny", 3)):
        assert select(filled, catalog).num_rows == rows and validate(filled, catalog, deep=True) == []
    with pytest.raises(CatalogNotFound, match=r"version 3 of canny was cleared away"):
        select(filled, "canny@3")


def test_what_is_kept_stays_however_often_it_is_cleared(filled):
    for n in range(1, 5):
        commit(filled, [make_row(filled, 10 + n)], name="grown")
        table_of(filled, "grown").delete("unit_id", [f"unit{9 + n}"], run_info())
    age(filled)
    newest = table_of(filled, "grown").version
    for _ in range(3):
        gc.remove(filled, gc.plan(filled, keep_versions=4, grace_s=0))
        age(filled)
        kept = [select(filled, f"grown@{newest - n}").num_rows for n in range(4)]
        assert kept == [1, 2, 1, 2]
    with pytest.raises(CatalogNotFound, match="cleared away"):
        select(filled, f"grown@{newest - 5}")


def test_a_fraction_of_an_hour_of_grace_is_not_none(filled, monkeypatch):
    asked = []
    monkeypatch.setattr(
        DeltaTable, "vacuum", lambda self, retention_hours, **_: asked.append(retention_hours) or []
    )
    gc.plan(filled, keep_versions=1, grace_s=0.04 * gc.DAY)
    assert set(asked) == {1}


def test_latents_stay_with_their_encodings_and_encodings_hold_no_media(filled):
    held, free = orphan(filled, 0.1, "latents"), orphan(filled, 0.2, "latents")
    encoded = orphan(filled, 0.3)
    row = {"encoding_id": "e", "kind": "audio", "input": encoded, "path": held}
    Table.open(filled, "encodings", key=("encoding_id",), create=ENCODINGS).append_new([row], run_info())
    age(filled)
    assert planned(gc.plan(filled)) == {free, encoded}


def test_a_list_of_files_holds_them(filled):
    """As the beds of a build: a row names the list, the list names the sounds."""
    bed, lost = orphan(filled, 0.1, "signals"), orphan(filled, 0.2, "signals")
    text = json.dumps([{"path": bed}])
    listing = store(filled, lambda path: path.write_text(text), ".json", kind="signals")
    unused = store(filled, lambda path: path.write_text(json.dumps([lost])), ".json", kind="signals")
    commit(filled, [make_row(filled, 8, params=json.dumps({"beds": listing}))])
    age(filled)
    assert planned(gc.plan(filled)) == {lost, unused}


def test_what_is_not_ours_is_never_looked_at(filled, tmp_path):
    lost = orphan(filled)
    outside = tmp_path / "outside" / lost[6:8]
    outside.mkdir(parents=True)
    (outside / Path(lost).name).write_bytes(b"theirs")
    root = Path(filled.uri)
    foreign = [
        root / "notes.txt",
        root / "media" / "readme.md",
        root / "media" / "zz" / "notes.txt",
        root / "media" / "zz" / Path(lost).name,  # a hash, and not in its folder
        root / "media" / lost[6:8] / f"{Path(lost).name}.part.mp4",
        root / "memo" / lost[6:8] / Path(lost).stem,
        root / "films" / "ab" / Path(lost).name,
    ]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (root / "signals" / "link").symlink_to(outside.parent)
    (root / "latents").mkdir()
    (root / "latents" / lost[6:8]).symlink_to(outside)
    age(filled)
    made = gc.plan(filled)
    assert planned(made) == {lost}
    gc.remove(filled, made)
    assert all(file.exists() for file in foreign) and (outside / Path(lost).name).read_bytes() == b"theirs"


def test_a_table_that_cannot_be_read_stops_it(filled):
    orphan(filled)
    age(filled)
    next((filled.folder / "catalogs/canny/samples").glob("*.parquet")).write_bytes(b"not Parquet")
    with pytest.raises(BrokenCatalog, match="not known which files it needs"):
        gc.plan(filled)


def test_reviews_keep_their_versions(filled):
    from catalogs import review

    first = review.write(filled, "canny", ["01" * 20], verdict="accept")
    review.write(filled, "canny", ["01" * 20], verdict="reject")
    age(filled)
    gc.remove(filled, gc.plan(filled, keep_versions=1, grace_s=0))
    assert select(filled, f"canny@2+{first}?review='accept'").num_rows == 1


def test_on_an_object_store(filled):
    """As on one: no local folder."""
    lost = orphan(filled)
    age(filled)
    elsewhere = replace(filled, folder=None)
    made = gc.plan(elsewhere)
    assert planned(made) == {lost} and gc.remove(elsewhere, made)[0] == 1 and lost not in there(filled)


def test_an_empty_root(root):
    made = gc.plan(root, keep_versions=1)
    assert gc.summary(made) == [] and gc.remove(root, made) == (0, 0)
