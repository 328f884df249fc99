"""A Delta table's log, looked at without Delta: which entries and checkpoints are damaged.

``_delta_log`` holds an entry a commit (``00000000000000000007.json``, one action a line) and now and then a checkpoint,
all actions so far in Parquet; ``_last_checkpoint`` says which is the newest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from catalogs.root import Root

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
LAST_CHECKPOINT = "_last_checkpoint"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a log.

    Attributes:
        problem: ``cut_log_entry``, ``lost_log_entry``, ``broken_log_entry`` or ``broken_checkpoint``.
        path: The file, in the root.
        what: The same in words.
        mendable: Whether setting the file aside mends it; of other entries a part may be put back.
    """

    problem: str
    path: str
    what: str
    mendable: bool


def faults(root: Root, table: str, *, whole: bool = False) -> Iterator[Fault]:
    """What is wrong with the log of ``table``, newest first; a table that opens may still have old damage.

    Args:
        root: Where it lies.
        table: Its name there.
        whole: All entries, not only those that the newest version needs.
    """
    folder = f"{table}/_delta_log"
    listing = root.filesystem.get_file_info(fs.FileSelector(root.path(folder), allow_not_found=True))
    names = {PurePosixPath(info.path).name: info.size for info in listing}
    entries = {int(found[1]): name for name in names if (found := _ENTRY.fullmatch(name))}
    checkpoints = {int(found[1]): name for name in names if (found := _CHECKPOINT.fullmatch(name))}
    newest, base = max(entries, default=-1), -1
    for version, name in sorted(checkpoints.items(), reverse=True):
        if _is_parquet(root, f"{folder}/{name}"):
            base = version
            break
        rest = all(one in entries for one in range(version + 1)) or any(one < version for one in checkpoints)
        yield Fault(
            problem="broken_checkpoint",
            path=f"{folder}/{name}",
            what=f"the checkpoint {name} is no Parquet file",
            mendable=rest,
        )
    said = _last(root, f"{folder}/{LAST_CHECKPOINT}") if LAST_CHECKPOINT in names else None
    if said is not None and said not in checkpoints:
        yield Fault(
            problem="broken_checkpoint",
            path=f"{folder}/{LAST_CHECKPOINT}",
            what=f"checkpoint {said} is missing",
            mendable=all(one in entries for one in range(base + 1, newest + 1)),
        )
    at_end = True
    for version in range(newest, -1 if whole else base, -1):
        if version not in entries:
            if version > base:
                yield Fault(
                    problem="lost_log_entry",
                    path=f"{folder}/{version:020}.json",
                    what=f"entry {version} of the log is missing, and later ones are there",
                    mendable=False,
                )
            at_end = False
        elif not actions(root, f"{folder}/{entries[version]}")[1]:
            yield Fault(
                problem="cut_log_entry" if at_end and version > base else "broken_log_entry",
                path=f"{folder}/{entries[version]}",
                what=f"entry {version} of the log is cut short"
                + ("" if at_end else ", and later ones follow"),
                mendable=at_end and version > max(base, 0),
            )
        else:
            at_end = False


def is_empty(folder: Path, table: str, version: int) -> bool:
    """Whether the log's entry of a version has no bytes, in a local root."""
    entry = folder / table / "_delta_log" / f"{version:020}.json"
    try:
        return entry.stat().st_size == 0
    except FileNotFoundError:  # in a checkpoint
        return False


def actions(root: Root, path: str) -> tuple[list[dict[str, Any]], bool]:
    """The actions of an entry, those before a cut; and whether that is all of it."""
    with root.filesystem.open_input_stream(root.path(path)) as stream:
        lines = stream.read().splitlines()
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            action = json.loads(line)
        except ValueError:
            break
        if not isinstance(action, dict):
            break
        found.append(action)
    return found, bool(lines) and len(found) == len(lines)


def named(root: Root, table: str) -> set[str]:
    """The data files that any entry or checkpoint of a table's log has ever named."""
    folder, found = f"{table}/_delta_log", set[str]()
    for info in root.filesystem.get_file_info(fs.FileSelector(root.path(folder), allow_not_found=True)):
        path = f"{folder}/{PurePosixPath(info.path).name}"
        if path.endswith(".json"):
            said = actions(root, path)[0]
        elif path.endswith(".checkpoint.parquet"):
            said = pq.read_table(
                root.path(path), filesystem=root.filesystem, columns=["add.path", "remove.path"]
            ).to_pylist()
        else:
            continue
        for action in said:
            found |= {unquote(one["path"]) for kind in ("add", "remove") if (one := action.get(kind))}
    return found


def _is_parquet(root: Root, path: str) -> bool:
    try:
        pq.read_table(root.path(path), filesystem=root.filesystem, columns=["add"])
    except (pa.ArrowException, OSError):
        return False
    return True


def _last(root: Root, path: str) -> int | None:
    """The checkpoint that is said to be the newest; None where nothing that makes sense is said: Delta lists then."""
    with root.filesystem.open_input_stream(root.path(path)) as stream:
        try:
            return int(json.loads(stream.read())["version"])
        except (ValueError, KeyError, TypeError):
            return None
