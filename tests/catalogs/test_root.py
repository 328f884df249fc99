from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest
from pyarrow import fs

from catalogs.errors import BrokenCatalog, ConfigError, StorageError, UnsafePath
from catalogs.root import Root, checked, storage_errors


@pytest.mark.parametrize("path", ["../x", "media/../../x", "/etc/passwd", "", "a\\..\\b", "a\0b", ".."])
def test_paths_cannot_leave(root, path):
    for use in (checked, root.path, root.local, root.exists, root.table_uri):
        with pytest.raises(UnsafePath):
            use(path)


def test_symlinks_cannot_leave(root, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    (root.folder / "media").mkdir()
    (root.folder / "media" / "link").symlink_to(secret)
    (root.folder / "signals").symlink_to(tmp_path)
    for path in ("media/link", "signals/secret"):
        with pytest.raises(UnsafePath):
            root.local(path)


def test_put_names_a_file_by_its_bytes(root):
    places = []
    for _ in range(2):
        scratch = root.scratch(".bin")
        scratch.write_bytes(b"hello")
        places.append(root.put(scratch, "media"))
        assert not scratch.exists()
    digest = hashlib.sha256(b"hello").hexdigest()
    assert places == [f"media/{digest[:2]}/{digest}.bin"] * 2
    assert root.local(places[0]).read_bytes() == b"hello"


def test_missing_file_says_what_to_do(root):
    with pytest.raises(BrokenCatalog, match=r"media/ab/none\.mp4.*validate"):
        root.local("media/ab/none.mp4")


def test_memo_is_forgotten_with_its_file(root):
    scratch = root.scratch(".bin")
    scratch.write_bytes(b"x")
    place = root.put(scratch, "media")
    assert root.recall("ab12") is None
    root.remember("ab12", place)
    assert root.recall("ab12") == place
    root.local(place).unlink()
    assert root.recall("ab12") is None


@pytest.mark.parametrize("torn", ["", "../../etc/passwd", "/etc/passwd"])
def test_a_torn_memo_is_no_memo(root, torn):
    root.remember("ab12", torn)
    assert root.recall("ab12") is None


def test_sweep_removes_only_old_scratch(root):
    old, new = root.scratch(".a"), root.scratch(".b")
    old.write_text("x")
    new.write_text("x")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    root.sweep()
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk full"),
        (errno.EROFS, "cannot write"),
        (errno.EACCES, "cannot write"),
        (errno.EIO, "storage failed"),
    ],
)
def test_storage_errors_are_one_clear_line(number, said):
    with pytest.raises(StorageError, match=said), storage_errors("/x"):
        raise OSError(number, os.strerror(number))


def test_open(tmp_path):
    with pytest.raises(ConfigError, match="no root"):
        Root.open(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot open root"):
        Root.open("nosuch://bucket/x")
    (tmp_path / "a b").mkdir()
    assert Root.open((tmp_path / "a b").as_uri()).folder == tmp_path / "a b"
    assert Root.open("s3://bucket/prefix/?region=x").base == "bucket/prefix"


def test_a_root_without_a_folder(tmp_path, monkeypatch):
    """What an object store does, on a filesystem that looks like one."""
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bucket" / "media").mkdir(parents=True)
    (tmp_path / "bucket" / "memo" / "ab").mkdir(parents=True)
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    root = Root(uri="mock://bucket", filesystem=store, base="bucket", folder=None)
    digest = hashlib.sha256(b"hello").hexdigest()
    (tmp_path / "bucket" / "media" / digest[:2]).mkdir()
    scratch = root.scratch(".bin")
    scratch.write_bytes(b"hello")
    place = root.put(scratch, "media")
    assert (tmp_path / "bucket" / place).read_bytes() == b"hello"
    assert root.local(place).read_bytes() == b"hello" and root.local(place).is_relative_to(tmp_path / "cache")
    root.remember("abcd", place)
    assert root.recall("abcd") == place
    with pytest.raises(BrokenCatalog):
        root.local("media/none")
    assert isinstance(root.local(place), Path)


def test_a_file_that_is_recalled_is_in_use(root):
    scratch = root.scratch(".mp4")
    scratch.write_bytes(b"film")
    address = root.put(scratch, "media")
    root.remember("ab" * 32, address)
    os.utime(root.path(address), (1.0, 1.0))
    assert root.recall("ab" * 32) == address
    assert time.time() - os.stat(root.path(address)).st_mtime < 60
    os.unlink(root.path(address))
    assert root.recall("ab" * 32) is None


@pytest.mark.parametrize("name", ["a [final] b", "50%20x", "a?b", "a#b", "a|b", "a^b", "a\\b", "a\nb"])
@pytest.mark.parametrize("create", [True, False])
def test_folders_that_delta_does_not_take(tmp_path, name, create):
    if not create:
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="Delta does not take"):
        Root.open(str(tmp_path / name), create=create)
    assert (tmp_path / name).exists() != create


AZURE = "abfs://box@maker.dfs.core.windows.net/deep/root"


def test_azure_is_told_alike_to_both(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    root = Root.open(AZURE)
    assert root.base == "box/deep/root" and root.filesystem.type_name == "abfs"
    assert root.table_uri("t") == f"{AZURE}/t"
    assert root.storage_options == {"azure_storage_account_name": "maker"}
    elsewhere = Root.open(f"{AZURE}?endpoint_override=127.0.0.1:10000&scheme=http")
    assert elsewhere.base == root.base and elsewhere.table_uri("t") == f"{AZURE}/t"
    assert elsewhere.storage_options == {
        "azure_storage_account_name": "maker",
        "azure_storage_endpoint": "http://127.0.0.1:10000/maker",
        "azure_allow_http": "true",
    }


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("abfs://box/deep/root", "Write abfs://CONTAINER@ACCOUNT"),
        ("abfs://box:key@maker.dfs.core.windows.net/x", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("s3://key:secret@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("what://box/x", "cannot open root"),
    ],
)
def test_uris_that_are_none(uri, said):
    with pytest.raises(ConfigError, match=said):
        Root.open(uri)
