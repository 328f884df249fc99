"""Tags: a name for a version of a catalog, ``canny@best`` for ``canny@41``; one small file each, moved at a stroke."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pyarrow import fs

from catalogs.errors import BrokenCatalog, CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.root import Root, storage_errors


def tag(root: Root, catalog: CatalogID, name: str, *, move: bool = False) -> dict[str, Any]:
    """Give a version a name.

    Args:
        root: Where the catalog lies.
        catalog: A pinned ID without WHERE.
        name: The tag; letters, digits and ``. _ -``, but no number.
        move: Take the tag from the version that has it.

    Raises:
        ConfigError: Not a tag's name, the ID has a WHERE, or another version has the tag.
    """
    if catalog.where:
        raise ConfigError(f"a tag names a version, and {catalog} is a selection", f"Tag {catalog.name}@N.")
    if not isinstance(catalog.version, int):
        raise ConfigError(f"{catalog} names no version to tag")
    if CatalogID.parse(f"{catalog.name}@{name}").version != name:
        raise ConfigError(f"{name!r} cannot be a tag", "Use a word, e.g. best; versions have numbers.")
    before = tags(root, catalog.name).get(name)
    if before and before["version"] != catalog.version and not move:
        raise ConfigError(
            f"{catalog.name}@{name} is version {before['version']} already", "--force moves the tag."
        )
    said = {"version": catalog.version, "tagged_at": datetime.now(UTC).isoformat(timespec="seconds")}
    _write(root, _path(catalog.name, name), json.dumps(said))
    return said


def untag(root: Root, catalog: str, name: str) -> None:
    """Take a tag away; the version stays.

    Raises:
        CatalogNotFound: There is no such tag.
    """
    version_of(root, catalog, name)
    root.filesystem.delete_file(root.path(_path(catalog, name)))


def tags(root: Root, catalog: str) -> dict[str, dict[str, Any]]:
    """The tags of a catalog by name: ``version`` and ``tagged_at``.

    Raises:
        BrokenCatalog: A tag's file is no tag's.
    """
    selector = fs.FileSelector(root.path(f"catalogs/{catalog}/tags"), allow_not_found=True)
    names = [PurePosixPath(info.path) for info in root.filesystem.get_file_info(selector)]
    return {path.stem: _read(root, catalog, path.stem) for path in sorted(names) if path.suffix == ".json"}


def version_of(root: Root, catalog: str, name: str) -> int:
    """The version that a tag names.

    Raises:
        CatalogNotFound: There is no such tag; those there are, are listed.
    """
    if root.exists(_path(catalog, name)):
        return int(_read(root, catalog, name)["version"])
    known = tags(root, catalog)
    near = difflib.get_close_matches(name, known, n=1)
    listed = (
        f"It has: {', '.join(known)}." if known else f"`avcontrol catalog tag {catalog} {name}` makes it."
    )
    raise CatalogNotFound(
        f"catalog {catalog} has no tag {name!r}", (f"Did you mean {near[0]}? " if near else "") + listed
    )


def _path(catalog: str, name: str) -> str:
    return f"catalogs/{catalog}/tags/{name}.json"


def _read(root: Root, catalog: str, name: str) -> dict[str, Any]:
    path = _path(catalog, name)
    try:
        with root.filesystem.open_input_stream(root.path(path)) as stream:
            said = json.loads(stream.read())
        return {"version": int(said["version"]), "tagged_at": str(said.get("tagged_at", ""))}
    except (ValueError, KeyError, TypeError):
        raise BrokenCatalog(f"{path} under {root.uri} holds no tag", "Remove it and tag again.") from None


def _write(root: Root, path: str, text: str) -> None:
    """All of it or nothing: a local file is renamed into place, an object appears when it is whole."""
    target = root.path(path)
    with storage_errors(target):
        if root.folder is None:
            with root.filesystem.open_output_stream(target) as stream:
                stream.write(text.encode())
            return
        part = root.scratch(".tag")
        part.write_text(text)
        root.filesystem.create_dir(str(PurePosixPath(target).parent))
        part.replace(target)
