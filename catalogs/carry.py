"""Media on their way out of a root: copied, hard-linked or named; whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from catalogs.errors import BrokenCatalog, ConfigError
from catalogs.root import Root, storage_errors

How = Literal["copy", "link", "reference"]


def carry(root: Root, relative: str, folder: Path, how: How) -> str:
    """Bring a media file of the root to the same place under a folder; what is there already stays.

    Returns:
        Its path from ``folder``; for ``reference`` the path where it lies.

    Raises:
        BrokenCatalog: No such file.
        ConfigError: It cannot be linked there.
        StorageError: The folder cannot be written.
    """
    if how == "reference":
        return str(root.local(relative))
    target = folder / relative
    if target.exists():  # its name is the hash of its bytes
        return relative
    if how == "copy":
        with opened(root, relative) as source, whole(target) as sink:
            shutil.copyfileobj(source, sink)
        return relative
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.suppress(FileExistsError):  # another row has it too, just now
            os.link(root.local(relative), target)
    except OSError as error:
        raise ConfigError(
            f"{relative} cannot be linked into {folder}: {error.strerror}",
            "Links do not cross disks; use --media copy.",
        ) from None
    return relative


def opened(root: Root, relative: str) -> BinaryIO:
    """A file of the root to read from, without a local copy of one in an object store.

    Raises:
        BrokenCatalog: No such file.
        UnsafePath: The path leaves the root.
    """
    if root.folder is not None:
        return root.local(relative).open("rb")
    try:
        stream: BinaryIO = root.filesystem.open_input_stream(root.path(relative))
        return stream
    except FileNotFoundError:
        raise _missing(root, relative) from None


@contextlib.contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name once it is complete.

    Raises:
        StorageError: It cannot be written.
    """
    part = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as sink:
                yield sink
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def sizes(root: Root, paths: Sequence[str]) -> list[int]:
    """Bytes of files of the root, asked for together.

    Raises:
        BrokenCatalog: One is missing.
    """
    with storage_errors(root.uri):
        infos = root.filesystem.get_file_info([root.path(path) for path in paths])
    for path, info in zip(paths, infos, strict=True):
        if info.size is None:
            raise _missing(root, path)
    return [int(info.size) for info in infos]


def _missing(root: Root, relative: str) -> BrokenCatalog:
    return BrokenCatalog(
        f"missing file {relative} under {root.uri}", "`avcontrol catalog validate` lists what is missing."
    )
