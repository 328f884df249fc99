from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from catalogs.errors import CatalogNotFound
from catalogs.query import select, table_of
from catalogs.validate import validate
from tests.catalogs.helpers import commit, make_row, store, write_audio, write_video


def kinds(root, catalog="canny", **more) -> list[str]:
    problems = validate(root, catalog, **more)
    assert all(
        set(problem) == {"problem", "where", "what", "do"} and all(problem.values()) for problem in problems
    )
    return sorted(problem["problem"] for problem in problems)


def path_of(root, n: int, column: str = "video") -> Path:
    return root.local(select(root, f"canny?quality={n / 10}", [column])[column][0].as_py())


def test_a_sound_catalog(filled):
    assert validate(filled, "canny") == validate(filled, "canny@1", deep=True) == []


def test_missing_and_empty_files(filled):
    path_of(filled, 1).unlink()
    path_of(filled, 2).write_bytes(b"")
    assert kinds(filled) == ["empty_file", "missing_file"]
    assert kinds(filled, "canny?quality>0.25") == []


def test_changed_bytes(filled):
    file = path_of(filled, 2)
    file.write_bytes(file.read_bytes() + b"\0")
    (problem,) = validate(filled, "canny", deep=True)
    assert problem["problem"] == "wrong_hash" and "0202" in problem["where"] and ", video" in problem["where"]


def test_media_that_are_not_what_the_row_says(root):
    commit(
        root,
        [
            make_row(root, 1, video=store(root, write_video, ".mp4", 64, 32, frames=10)),
            make_row(root, 2, reference_video=store(root, write_video, ".mp4", 32, 16, fps=Fraction(25))),
            make_row(root, 3, reference_video=store(root, write_video, ".mp4", 64, 32)),
            make_row(root, 4, audio=store(root, write_audio, ".flac", samples=5000)),
            make_row(root, 5, video=store(root, lambda path: path.write_bytes(b"junk"), ".mp4")),
        ],
    )
    said = {problem["where"][7:9]: problem["what"] for problem in validate(root, "canny")}
    assert "10 frames, the row says 9" in said["01"] and "frame 1 is at 0.04" in said["02"]
    assert "64x32" in said["03"] and "5000 samples" in said["04"] and "cannot be opened" in said["05"]


def test_deep_opens_every_row(root, monkeypatch):
    monkeypatch.setattr("catalogs.validate._OPENED", 2)
    commit(root, [make_row(root, n) for n in range(1, 7)])
    for n in range(1, 7):
        file = path_of(root, n)
        file.write_bytes(file.read_bytes() + b"\0")
    assert kinds(root) == ["wrong_hash"] * 2
    assert kinds(root, deep=True) == ["wrong_hash"] * 6


def test_paths_that_leave_the_root(root, tmp_path):
    (tmp_path / "outside").write_text("x")
    (root.folder / "media").mkdir()
    (root.folder / "media" / "link.mp4").symlink_to(tmp_path / "outside")
    commit(
        root,
        [
            make_row(root, 1, video="../outside"),
            make_row(root, 2, video="/etc/passwd"),
            make_row(root, 3, video="media/link.mp4"),
            make_row(root, 4, video="a\\..\\b"),
        ],
    )
    assert kinds(root) == ["unsafe_path"] * 4


def test_duplicates_and_unknown_schemas(root):
    commit(root, [make_row(root, 1), make_row(root, 2, schema_version=9)])
    import pyarrow as pa
    from deltalake import write_deltalake

    table = table_of(root, "canny")
    write_deltalake(
        f"{root.uri}/catalogs/canny/samples",
        pa.Table.from_pylist([make_row(root, 1)], table.schema),
        mode="append",
    )
    assert kinds(root) == ["duplicate", "unknown_schema"]


@pytest.mark.parametrize("how", ["truncated", "gone"])
def test_an_unreadable_data_file_hides_no_other(filled, how):
    path_of(filled, 1).unlink()
    file, _ = sorted(
        (filled.folder / "catalogs/canny/samples").glob("*.parquet"), key=lambda f: f.stat().st_size
    )
    file.unlink() if how == "gone" else file.write_bytes(file.read_bytes()[:-30])
    assert kinds(filled) == ["missing_file", "unreadable_parquet"]


def test_rejects_are_checked_too(filled):
    (file,) = (filled.folder / "catalogs/canny/rejects").glob("*.parquet")
    file.write_bytes(b"")
    (problem,) = validate(filled, "canny")
    assert problem["where"].startswith("catalogs/canny/rejects/")


def test_no_such_catalog(filled):
    for name in ("cany", "canny@9"):
        with pytest.raises(CatalogNotFound):
            validate(filled, name)
