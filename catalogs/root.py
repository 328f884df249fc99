"""A root: the folder or bucket that holds catalogs and their media.

    ROOT/catalogs/NAME/{samples,rejects,ledger}   Delta tables, one set per catalog
    ROOT/sources, ROOT/encodings                  Delta tables shared by all catalogs
    ROOT/{media,signals,latents}/ab/abcdef….ext   content-addressed files
    ROOT/memo/ab/abcdef…                          key -> content address (what was already made)
    ROOT/fingerprints                             perceptual hashes by media file

Nothing outside a root is ever read or written through it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse

from pyarrow import fs

from catalogs import object_store
from catalogs.errors import AvcontrolError, BrokenCatalog, ConfigError, DamagedFile, StorageError, UnsafePath

_STALE_SECONDS = 24 * 3600
_CACHED_SECONDS = 7 * 24 * 3600
_NOT_FOR_DELTA = re.compile(
    r"[][^|\\?#\x00-\x1f]|%[0-9A-Fa-f]{2}"
)  # panics, and histories that come out empty
_ADDRESS = re.compile("[0-9a-f]{64}")
_CACHED = re.compile(r"[0-9a-f]{64}(\.\w+)?")  # what `local` calls its copies; scratch has shorter names


@dataclass(frozen=True, kw_only=True)
class Root:
    """Where catalogs live: any location pyarrow.fs knows.

    Attributes:
        uri: As it was given: an absolute local path, or a URI as ``catalogs.object_store`` lists them.
        filesystem: The pyarrow filesystem behind it.
        base: The root's path within that filesystem.
        folder: The same as a local path; None for object stores.
    """

    uri: str
    filesystem: fs.FileSystem
    base: str
    folder: Path | None

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> Root:
        """Open a root by path or URI; with ``create`` make the folder and check that it can be written.

        Raises:
            ConfigError: The scheme is unknown, the URI holds a password, or the folder does not exist and
                ``create`` is off.
            StorageError: Read-only or full; the store cannot be reached, or has no such bucket.
        """
        scheme = urlparse(uri).scheme
        if scheme in ("", "file"):
            folder = Path(unquote(urlparse(uri).path) if scheme else uri).expanduser().resolve()
            if bad := _NOT_FOR_DELTA.search(str(folder)):
                raise ConfigError(
                    f"a root cannot lie at {str(folder)!r}: Delta does not take {bad[0]!r}",
                    "Rename the folder.",
                )
            if create:
                with storage_errors(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    with tempfile.TemporaryFile(dir=folder) as probe:
                        probe.write(b"\0")
                        probe.flush()
            elif not folder.is_dir():
                raise ConfigError(f"no root at {folder}", "Give --root the folder that `build` wrote to.")
            return cls(uri=str(folder), filesystem=fs.LocalFileSystem(), base=str(folder), folder=folder)
        filesystem, base = object_store.filesystem(uri)
        root = cls(uri=uri.rstrip("/"), filesystem=filesystem, base=base.rstrip("/"), folder=None)
        if create:
            trial = root.path(f".tmp/{uuid.uuid4().hex}")
            with storage_errors(root.uri):
                with filesystem.open_output_stream(trial) as sink:
                    sink.write(b"\0")
                filesystem.delete_file(trial)
        return root

    def table_uri(self, name: str) -> str:
        """URI of the Delta table at ``name`` (a relative path such as ``catalogs/canny/samples``)."""
        place = (
            self.uri if self.folder is not None else self.uri.partition("?")[0]
        )  # a folder may be called so
        return f"{place.rstrip('/')}/{checked(name)}"

    @property
    def storage_options(self) -> dict[str, str]:
        """What Delta must be told of the store."""
        return {} if self.folder is not None else object_store.delta_options(self.uri)

    def path(self, relative: str) -> str:
        """Path of ``relative`` in the root's filesystem.

        Raises:
            UnsafePath: It is absolute or climbs out of the root.
        """
        return f"{self.base}/{checked(relative)}"

    def exists(self, relative: str) -> bool:
        """Whether a file lies at ``relative``."""
        with storage_errors(self.uri):
            return bool(self.filesystem.get_file_info(self.path(relative)).type != fs.FileType.NotFound)

    def local(self, relative: str, *, again: bool = False) -> Path:
        """A local path to the file at ``relative``; downloaded once for object stores, or ``again``.

        Raises:
            UnsafePath: It leaves the root, also through a symbolic link.
            BrokenCatalog: No such file.
            DamagedFile: What was downloaded does not hash to the name of a content-addressed file.
        """
        path = self.path(relative)
        if self.folder is not None:
            resolved = Path(path).resolve()
            if not resolved.is_relative_to(self.folder):
                raise UnsafePath(f"{relative} leads out of {self.folder}")
            if not resolved.is_file():
                raise _missing(relative, self.uri)
            return resolved
        target = _cache_folder() / hashlib.sha256(f"{self.uri}/{relative}".encode()).hexdigest()
        target = target.with_suffix(PurePosixPath(relative).suffix)
        with contextlib.suppress(OSError):
            os.utime(target)  # in use: `sweep` leaves it
            if not again:
                return target
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        try:
            with (
                storage_errors(path),
                self.filesystem.open_input_stream(path) as source,
                part.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink)
            if _ADDRESS.fullmatch(named := PurePosixPath(relative).stem) and file_sha256(part) != named:
                raise DamagedFile(
                    f"the bytes of {relative} do not hash to its name",
                    "`avcontrol catalog validate --fix` mends it.",
                )
            part.rename(target)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise _missing(relative, self.uri) from None
            raise
        finally:
            part.unlink(missing_ok=True)
        return target

    def scratch(self, suffix: str) -> Path:
        """A fresh local path to write a file at before :meth:`put`; on the root's disk where it has one."""
        folder = self.folder / ".tmp" if self.folder is not None else _cache_folder()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{uuid.uuid4().hex}{suffix}"

    def put(self, file: Path, kind: str) -> str:
        """Move a finished local file to its content address: fsync, rename. Returns its relative path."""
        with storage_errors(file):
            digest = file_sha256(file)
            relative = f"{kind}/{digest[:2]}/{digest}{file.suffix}"
            if self.folder is not None:
                target = self.folder / relative
                if target.exists():  # the same bytes were made before
                    file.unlink()
                    return relative
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
                file.rename(target)
            else:
                path = self.path(relative)
                with file.open("rb") as source, self.filesystem.open_output_stream(path) as sink:
                    shutil.copyfileobj(source, sink)
                file.unlink()
        return relative

    def remember(self, key: str, value: str) -> None:
        """Write the memo ``key -> value``; last writer wins, and equal keys mean equal values."""
        path = self.path(f"memo/{key[:2]}/{key}")
        if self.folder is not None:
            part = self.scratch(".memo")
            with storage_errors(part):
                part.write_text(value)
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                part.rename(path)
        else:
            with storage_errors(path), self.filesystem.open_output_stream(path) as sink:
                sink.write(value.encode())

    def recall(self, key: str) -> str | None:
        """The memo under ``key``, or None. Only an address whose file still exists is given."""
        try:
            with self.filesystem.open_input_stream(self.path(f"memo/{key[:2]}/{key}")) as source:
                value = str(source.read().decode())
        except FileNotFoundError:
            return None
        try:
            if not self.exists(value):
                return None
            if self.folder is not None:  # a row is to come: `gc` leaves it as if it were new
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self.path(value))
            return value
        except UnsafePath:  # a torn memo: what it was for is made again
            return None

    def sweep(self) -> None:
        """Remove scratch files that a killed build left more than a day ago, and local copies unused for a week."""
        folder = self.folder / ".tmp" if self.folder is not None else _cache_folder()
        if not folder.is_dir():
            return
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                limit = _CACHED_SECONDS if _CACHED.fullmatch(file.name) else _STALE_SECONDS
                if time.time() - file.stat().st_mtime > limit:
                    file.unlink()


def checked(relative: str) -> str:
    """``relative``, if it stays below where it starts.

    Raises:
        UnsafePath: Absolute, or with a ``..`` part, or empty.
    """
    path = PurePosixPath(relative)
    if not relative or path.is_absolute() or ".." in path.parts or "\\" in relative or "\0" in relative:
        raise UnsafePath(f"path {relative!r} leaves the root")
    return relative


def _missing(relative: str, uri: str) -> BrokenCatalog:
    return BrokenCatalog(
        f"missing file {relative} under {uri}", "`avcontrol catalog validate` lists what is missing."
    )


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def storage_errors(place: Path | str) -> Iterator[None]:
    """Turn the operating system's storage errors into one clear line."""
    try:
        yield
    except AvcontrolError:
        raise
    except OSError as error:
        said = str(error).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "no space left" in said:
            raise StorageError(
                f"disk full while writing {place}",
                "Free some space and start the same command again: it goes on.",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) or "read-only" in said:
            raise StorageError(
                f"cannot write to {place}: {error.strerror or error}",
                "Give --root a folder you may write to.",
            ) from error
        raise StorageError(f"storage failed at {place}: {error}") from error


def _cache_folder() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "avcontrol"
    folder = Path(os.environ.get("AVCONTROL_CACHE", default)) / "files"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
