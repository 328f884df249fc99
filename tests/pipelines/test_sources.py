"""What lies at --input, listed from real folders, globs and Parquet files."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import InputError, UnsafePath
from pipelines.sources import list_sources

ODD = [
    "two words.mp4",
    "übung 日本.mp4",
    "take:2.mp4",
    "a[1]b.mp4",
    "what?.mp4",
    "s*r.mp4",
    "50%20.mp4",
    "#1.mp4",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Listing opens no video: any bytes will do."""
    there = tmp_path / "clips"
    for name in ("b.mp4", "a.mp4", "inner/deep/c.mkv", "inner/d.MOV"):
        _touch(there / name)
    for name in ("notes.md", "inner/picture.png", "._a.mp4"):
        _touch(there / name)
    return there


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    return path


def _names(inputs: object, **more: object) -> list[str]:
    return [Path(source.uri).name for source in list_sources(str(inputs), **more)]


def _table(path: Path, /, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_a_folder_is_searched_through_and_sorted(folder: Path) -> None:
    sources = list_sources(str(folder))
    assert [source.uri for source in sources] == [
        str(folder / name) for name in ("a.mp4", "b.mp4", "inner/d.MOV", "inner/deep/c.mkv")
    ]
    for source in sources:
        there = Path(source.uri).stat()
        assert (source.size, source.mtime_ns) == (there.st_size, there.st_mtime_ns)
        assert (source.caption, source.caption_source, source.license) == ("", "none", "")


def test_the_limit_keeps_the_first(folder: Path) -> None:
    assert _names(folder, limit=2) == ["a.mp4", "b.mp4"]
    assert _names(folder, limit=99) == _names(folder)


def test_however_it_is_spelt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "inner")
    monkeypatch.setenv("HOME", str(folder.parent))
    expected = list_sources(str(folder))
    for spelling in ("..", f"{folder}/", f"{folder}/inner/..", "~/clips", folder.as_uri(), f"{folder}//"):
        assert list_sources(spelling) == expected, spelling


def test_globs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _names(folder / "*.mp4") == ["a.mp4", "b.mp4"]
    assert _names(folder / "[a].mp4") == ["a.mp4"]
    assert _names(folder / "**" / "*.m*") == ["a.mp4", "b.mp4", "c.mkv"]  # notes.md is no video
    assert _names(folder / "*" / "*") == ["d.MOV"]
    monkeypatch.chdir(folder)
    assert [source.uri for source in list_sources("**/c.*")] == [str(folder / "inner/deep/c.mkv")]
    assert [source.uri for source in list_sources("inner/../?.mp4")] == [
        str(folder / "a.mp4"),
        str(folder / "b.mp4"),
    ]
    with pytest.raises(InputError, match="no video files"):
        list_sources(str(folder / "z*"))


def test_a_glob_in_a_folder_whose_name_looks_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = _touch(tmp_path / "shoot [day 1]" / "a.mp4").parent
    _touch(tmp_path / "shoot d" / "wrong.mp4")
    assert _names(there) == ["a.mp4"]
    monkeypatch.chdir(there)
    assert _names("*.mp4") == ["a.mp4"]


def test_one_file_of_any_suffix(folder: Path) -> None:
    assert _names(folder / "b.mp4") == ["b.mp4"]
    assert _names(_touch(folder / "film.dat")) == ["film.dat"]
    assert "film.dat" not in _names(folder)


@pytest.mark.parametrize("name", ODD)
def test_odd_names(tmp_path: Path, name: str) -> None:
    file = _touch(tmp_path / name)
    file.with_suffix(".txt").write_text("said")
    _touch(tmp_path / "other.mp4")
    for inputs in (str(file), file.as_uri()):
        (source,) = list_sources(inputs)
        assert (source.uri, source.caption) == (str(file), "said")
    assert str(file) in [source.uri for source in list_sources(str(tmp_path))]


def test_an_odd_relative_name_is_no_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path / "take:2.mp4")
    monkeypatch.chdir(tmp_path)
    assert _names("take:2.mp4") == ["take:2.mp4"]
    table = _table(tmp_path / "t.parquet", video=["take:2.mp4"])
    assert _names(table) == ["take:2.mp4"]


def test_a_name_that_is_not_utf8_costs_itself_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open(os.fsencode(folder) + b"/bad\xff.mp4", "w"):
        pass
    assert _names(folder) == ["a.mp4", "b.mp4", "d.MOV", "c.mkv"]
    assert "not UTF-8" in caplog.text


def test_sidecars(folder: Path) -> None:
    (folder / "a.txt").write_text("  a red ball \n")
    (folder / "b.json").write_text(
        '{"caption": "a dog", "license": "CC-BY-4.0", "attribution": "Ann", "more": 1}'
    )
    (folder / "inner/d.TXT").write_text("\ufeffin capitals")
    (folder / "inner/deep/c.json").write_text('{"license": "CC0-1.0"}')
    found = {
        Path(source.uri).name: (source.caption, source.caption_source, source.license, source.attribution)
        for source in list_sources(str(folder))
    }
    assert found == {
        "a.mp4": ("a red ball", "sidecar", "", ""),
        "b.mp4": ("a dog", "sidecar", "CC-BY-4.0", "Ann"),
        "d.MOV": ("in capitals", "sidecar", "", ""),
        "c.mkv": ("", "none", "CC0-1.0", ""),
    }
    for source in list_sources(str(folder / "*.mp4")) + list_sources(str(folder / "b.mp4")):
        assert source.caption == found[Path(source.uri).name][0]


def test_the_text_wins_over_the_object_and_only_its_own_counts(folder: Path) -> None:
    (folder / "a.json").write_text('{"caption": "from json", "license": "X"}')
    (folder / "a.txt").write_text("from text")
    (folder / "a.b.txt").write_text("of another")
    (folder / "inner/a.txt").write_text("of another folder")
    (source,) = list_sources(str(folder / "a.mp4"))
    assert (source.caption, source.license) == ("from text", "X")
    _touch(folder / "a.b.mp4")
    assert list_sources(str(folder / "a.b.mp4"))[0].caption == "of another"


@pytest.mark.parametrize("text", ["{", "[1]", "null", '"words"', "3"])
def test_a_broken_sidecar_is_named(folder: Path, text: str) -> None:
    (folder / "b.json").write_text(text)
    with pytest.raises(InputError, match=r"b\.json is not a JSON object"):
        list_sources(str(folder))


def test_nothing_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder at"):
        list_sources(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no file or folder at"):
        list_sources("/dev/null")
    (tmp_path / "void").mkdir()
    (tmp_path / "void" / "a.txt").write_text("a caption of nothing")
    with pytest.raises(InputError, match="no video files"):
        list_sources(str(tmp_path / "void"))
    with pytest.raises(InputError, match="cannot open nosuch://"):
        list_sources("nosuch://bucket/clips")


def test_links_are_followed_once(folder: Path, tmp_path: Path) -> None:
    (folder / "inner" / "loop").symlink_to(folder)
    (folder / "elsewhere").symlink_to(_touch(tmp_path / "more" / "e.mp4").parent)
    (folder / "broken.mp4").symlink_to(tmp_path / "gone.mp4")
    assert _names(folder) == ["a.mp4", "b.mp4", "e.mp4", "d.MOV", "c.mkv"]


def test_a_catalog_root_among_the_clips_is_passed_over(folder: Path) -> None:
    for name in (
        "sources/_delta_log/0.json",
        "media/ab/abc.mp4",
        "media/cd/cde.mp4",
        "mine.mp4",
        "raw/f.mp4",
    ):
        _touch(folder / "out" / name)
    assert _names(folder) == ["a.mp4", "b.mp4", "d.MOV", "c.mkv", "mine.mp4", "f.mp4"]
    assert _names(folder / "out" / "media") == ["abc.mp4", "cde.mp4"]  # unless that is what is asked for


def test_ids_tell_whether_a_file_changed(folder: Path) -> None:
    before = {source.uri: source.id for source in list_sources(str(folder))}
    assert len(set(before.values())) == 4
    (folder / "a.txt").write_text("a caption is not part of the file")
    os.utime(folder / "b.mp4", ns=(0, 12345))
    after = {source.uri: source.id for source in list_sources(str(folder))}
    assert [Path(uri).name for uri in before if before[uri] != after[uri]] == ["b.mp4"]


@pytest.mark.parametrize("column", ["video", "uri", "path"])
def test_a_parquet_table(folder: Path, column: str) -> None:
    table = _table(
        folder / "t.parquet",
        **{
            column: ["inner/d.MOV", "a.mp4", str(folder / "b.mp4"), (folder / "inner/deep/c.mkv").as_uri()],
            "caption": ["says d", None, "", "says c"],
            "license": ["CC0-1.0", None, "MIT", ""],
            "attribution": [None, "Ann", None, None],
            "other": [1, 2, 3, 4],
        },
    )
    (folder / "a.txt").write_text("sidecars do not count here")
    found = [
        (Path(source.uri).name, source.caption, source.caption_source, source.license, source.attribution)
        for source in list_sources(str(table))
    ]
    assert found == [
        ("a.mp4", "", "none", "", "Ann"),
        ("b.mp4", "", "none", "MIT", ""),
        ("d.MOV", "says d", "column", "CC0-1.0", ""),
        ("c.mkv", "says c", "column", "", ""),
    ]
    assert {source.id for source in list_sources(str(table))} == {
        source.id for source in list_sources(str(folder))
    }


def test_a_row_twice_is_one_source(folder: Path) -> None:
    table = _table(folder / "t.parquet", video=["a.mp4", "a.mp4", "./a.mp4"], caption=["x", "x", "y"])
    assert [source.caption for source in list_sources(str(table))] == ["x", "y"]


def test_parquet_that_is_none(folder: Path) -> None:
    (folder / "t.parquet").write_text("words")
    with pytest.raises(InputError, match="not a readable Parquet"):
        list_sources(str(folder / "t.parquet"))
    with pytest.raises(InputError, match=r"no column video or uri or path.*It has: film"):
        list_sources(str(_table(folder / "t.parquet", film=["a.mp4"])))
    with pytest.raises(InputError, match=r"names z\.mp4, which does not exist"):
        list_sources(str(_table(folder / "t.parquet", video=["z.mp4"])))
    with pytest.raises(InputError, match="names inner, which does not exist"):
        list_sources(str(_table(folder / "t.parquet", video=["inner"])))
    with pytest.raises(InputError, match="no video files"):
        list_sources(str(_table(folder / "t.parquet", video=pa.array([], pa.string()))))


def test_paths_in_a_table_stay_in_its_folder(folder: Path, tmp_path: Path) -> None:
    outside = _touch(tmp_path / "outside" / "x.mp4")
    (folder / "link.mp4").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    for escape in (
        "../outside/x.mp4",
        "inner/../../outside/x.mp4",
        str(outside),
        outside.as_uri(),
        "link.mp4",
        "linked/x.mp4",
        f"{folder}/../outside/x.mp4",
        "inner\\..\\x.mp4",
        "",
        "a\0.mp4",
    ):
        table = _table(folder / "t.parquet", video=["a.mp4", escape])
        with pytest.raises(UnsafePath):
            list_sources(str(table))


def test_media_root_lets_them_out_so_far_and_no_further(folder: Path, tmp_path: Path) -> None:
    outside = _touch(tmp_path / "outside" / "x.mp4")
    (folder / "link.mp4").symlink_to(outside)
    names = [str(outside), "../outside/x.mp4", "link.mp4", "a.mp4"]
    for name in names:
        table = _table(folder / "t.parquet", video=[name])
        assert len(list_sources(str(table), media_root=str(outside.parent))) == 1
    secret = _touch(tmp_path / "outsider" / "y.mp4")  # the root's name is a prefix of this one's
    for name in (str(secret), "../outsider/y.mp4", "/etc/passwd"):
        table = _table(folder / "t.parquet", video=[name])
        with pytest.raises(UnsafePath, match="lies outside"):
            list_sources(str(table), media_root=str(outside.parent))


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "clips", "in", "out", "x.mp4", "", "~", "..."]), min_size=1, max_size=6
    ),
    absolute=st.booleans(),
)
def test_no_path_in_a_table_escapes(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], absolute: bool
) -> None:
    place = tmp_path_factory.mktemp("escape")
    for name in ("clips/x.mp4", "clips/in/x.mp4", "out/x.mp4", "x.mp4"):
        _touch(place / name)
    (place / "clips" / "out").symlink_to(place / "out")
    named = (f"{place}/" if absolute else "") + "/".join(parts)
    table = _table(place / "clips" / "t.parquet", video=[named])
    try:
        sources = list_sources(str(table))
    except (UnsafePath, InputError):
        return
    assert all(Path(source.uri).resolve().is_relative_to(place / "clips") for source in sources)
