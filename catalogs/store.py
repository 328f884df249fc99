"""Delta tables with exactly-once appends, safe with several builders at work on one table.

Delta's log gives an atomic "put version N+1 if absent". An append that may not be retried blindly
(``max_commit_retries=0``) therefore fails when another builder committed first; it then reads the keys that
the other one added, drops those from its batch and tries again. No row is lost and none is written twice.

Every commit leaves a small file. When 64 of them lie there, they are made one and the log gets a checkpoint, so
that a thousand commits open like a few. That is a version of the same rows, and it gives way to any other commit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow import fs

from catalogs import deltalog, rewrite
from catalogs.errors import BrokenCatalog, CatalogError, CatalogNotFound, StorageError
from catalogs.rewrite import HOOKS, once
from catalogs.root import Root, storage_errors
from catalogs.schema import SCHEMA_VERSION

_ATTEMPTS = 200
_SMALL_FILES = 64
SETTINGS = {"avcontrol.schema": str(SCHEMA_VERSION), "delta.enableExpiredLogCleanup": "false"}
"""Of every table."""


def delta_table(root: Root, name: str, version: int | None = None) -> DeltaTable:
    """Delta's own view of the table at ``name``, of a root on any storage; it raises Delta's own errors."""
    return DeltaTable(root.table_uri(name), version=version, storage_options=root.storage_options)


class Table:
    """One Delta table of a root.

    Args:
        root: Where it lies.
        name: Relative path, e.g. ``catalogs/canny/samples``.
        key: The columns that together identify a row.
        known: Columns that are read as null where the table, of an older release, lacks them.
    """

    def __init__(
        self, root: Root, name: str, key: tuple[str, ...], delta: DeltaTable, known: pa.Schema | None = None
    ) -> None:
        self.root, self.name, self.key, self._delta = root, name, key, delta
        self._known = known or pa.schema([])
        self._keys: set[tuple[str, ...]] = set()
        self._files: set[str] = set()
        self._planned = False  # see `overlook`
        self._own: set[tuple[str, ...]] = set()

    @classmethod
    def open(
        cls,
        root: Root,
        name: str,
        *,
        key: tuple[str, ...],
        create: pa.Schema | None = None,
        version: int | None = None,
        known: pa.Schema | None = None,
    ) -> Table:
        """Open a table, or create it with the schema ``create``; columns it lacks are added when appending.

        Args:
            root: Where it lies.
            name: Relative path.
            key: The columns that together identify a row.
            create: Its columns if it does not exist yet.
            version: Which; None means the newest.
            known: Columns that are read as null where it lacks them; those of ``create`` by default.

        Raises:
            CatalogNotFound: It does not exist (or not in that version) and ``create`` is not given.
            BrokenCatalog: Its log cannot be read, or was written by a newer release.
        """
        uri = root.table_uri(name)
        try:
            delta = delta_table(root, name, version)
        except TableNotFoundError:
            if create is None:
                raise CatalogNotFound(f"no table {name} under {root.uri}") from None
            with storage_errors(uri):
                delta = DeltaTable.create(
                    uri,
                    create,
                    mode="ignore",
                    configuration=SETTINGS,
                    storage_options=root.storage_options,
                    raise_if_key_not_exists=False,
                )
                delta = delta_table(root, name)
        except (DeltaError, OverflowError) as error:
            said = next(deltalog.faults(root, name), None)
            if said is None and version is not None:
                raise CatalogNotFound(f"no version {version} of {name}: {_first_line(error)}") from None
            raise BrokenCatalog(
                f"table {name} under {root.uri} cannot be read: {said.what if said else _first_line(error)}",
                repair_hint(name),
            ) from None
        except OSError as error:
            raise StorageError(f"cannot reach {uri}: {error}") from error
        if root.folder is not None and deltalog.is_empty(root.folder, name, int(delta.version())):
            raise BrokenCatalog(  # as a power cut leaves it; Delta takes it for a commit of nothing
                f"table {name} under {root.uri} cannot be read: entry {delta.version()} of the log is cut short",
                repair_hint(name),
            )
        written = int(delta.metadata().configuration.get("avcontrol.schema", SCHEMA_VERSION))
        if written > SCHEMA_VERSION:
            raise BrokenCatalog(
                f"{name} has schema version {written}; this release knows up to {SCHEMA_VERSION}",
                "Install a newer avcontrol.",
            )
        return cls(root, name, key, delta, known or create)

    @property
    def version(self) -> int:
        """The Delta version this object looks at."""
        return int(self._delta.version())

    @property
    def id(self) -> str:
        """Delta's own name for the table: another one when it was made anew in the same place."""
        return str(self._delta.metadata().id)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the table; columns that an older release did not know come last."""
        own = pa.schema(self._delta.schema().to_arrow())
        return pa.schema([*own, *(field for field in self._known if field.name not in own.names)])

    def refresh(self) -> None:
        """Look at the latest version."""
        self._delta.update_incremental()

    def history(self) -> list[dict[str, Any]]:
        """The commits up to this version, newest first, with the run metadata each one carries."""
        # deltalake lists the whole log and numbers it down from the version it looks at: use the newest.
        delta = delta_table(self.root, self.name)
        while True:
            newest, commits = delta.version(), delta.history()
            delta.update_incremental()
            if delta.version() == newest:
                return [commit for commit in commits if commit["version"] <= self.version]

    def files(self) -> list[str]:
        """The data files, by their names within the table."""
        return rewrite.files(self._delta)

    def count(self) -> int | None:
        """How many rows, as the log says; None where a commit did not say."""
        counts = pa.table(self._delta.get_add_actions())["num_records"].to_pylist()
        return None if None in counts else sum(counts)

    def dataset(self) -> pads.Dataset:
        """The rows as a pyarrow dataset (not ordered)."""
        # Not Delta's own file system: Arrow's threads may close it when Python has gone (exit status 134).
        place = fs.SubTreeFileSystem(self.root.path(self.name), self.root.filesystem)
        return self._delta.to_pyarrow_dataset(filesystem=place, schema=self.schema)

    def read(self, columns: Sequence[str] | None = None, where: pads.Expression | None = None) -> pa.Table:
        """Read rows into memory.

        Raises:
            BrokenCatalog: A data file is missing or corrupt (the message names it).
            CatalogNotFound: This version was cleared away.
        """
        try:
            return self.dataset().to_table(columns=list(columns) if columns else None, filter=where)
        except (pa.ArrowInvalid, OSError) as error:
            raise self.unreadable(error) from None

    def lost(self) -> list[str]:
        """The data files of this version that are not there; one listing."""
        place = self.root.path(self.name)
        listing = self.root.filesystem.get_file_info(fs.FileSelector(place, allow_not_found=True))
        there = {info.path.rpartition("/")[2] for info in listing}
        return [file for file in self.files() if file not in there]

    def damage(self) -> Iterator[tuple[str, str]]:
        """Every data file that cannot be read to its end, and why."""
        for fragment in self.dataset().get_fragments():
            try:
                for _ in fragment.to_batches(schema=self.schema):
                    pass
            except (pa.ArrowInvalid, OSError) as error:
                yield fragment.path, _first_line(error)

    def unreadable(self, error: Exception) -> CatalogError:
        """What to raise when rows could not be read: that this version was cleared away, or what is broken."""
        lost = set(self.lost())
        newest = delta_table(self.root, self.name)
        if lost and lost.isdisjoint(rewrite.files(newest)):
            catalog = catalog_of(self.name)
            return CatalogNotFound(
                f"version {self.version} of {catalog} was cleared away (`catalog gc`)",
                f"The newest is {catalog}@{newest.version()}; a tagged version is never cleared away.",
            )
        what = f"{min(lost)} is missing" if lost else _first_line(error)
        return BrokenCatalog(
            f"{self.name} cannot be read: a data file is missing or corrupt ({what})", repair_hint(self.name)
        )

    def keys(self) -> set[tuple[str, ...]]:
        """Keys of all rows in the latest version; only files not seen before are read."""
        self.refresh()
        files = set(self.files())
        if not self._files <= files:  # rows were removed or files compacted: start over
            self._keys, self._files = set(), set()
        fresh = sorted(files - self._files)
        if fresh:
            dataset = pads.dataset(
                [self.root.path(f"{self.name}/{file}") for file in fresh],
                filesystem=self.root.filesystem,
                format="parquet",
            )
            try:
                table = dataset.to_table(columns=list(self.key))
            except (pa.ArrowInvalid, OSError) as error:
                raise self.unreadable(error) from None
            self._keys.update(zip(*(table[name].to_pylist() for name in self.key), strict=True))
            self._files = files
            self._keys -= self._own
        return self._keys

    def overlook(self) -> None:
        """Compare appended rows from now on with what others add alone, so that no set of all keys is held.

        For one whose rows were planned against this version, and come once each.
        """
        self._keys, self._files = set(), set(self.files())
        self._planned = True

    def append_new(
        self, rows: Iterable[Mapping[str, Any]], run: Mapping[str, str], schema: pa.Schema | None = None
    ) -> int:
        """Append the rows whose key the table does not hold yet, as one commit; returns how many.

        Args:
            rows: Dicts by column name; absent columns become null.
            run: Metadata for the commit (run ID, configuration, …).
            schema: Wider schema of these rows; columns the table lacks are added to it.
        """
        batch = {tuple(row[name] for name in self.key): row for row in rows}
        schema = schema or self.schema
        for attempt in range(_ATTEMPTS):
            known = self.keys()
            fresh = [row for key, row in batch.items() if key not in known]
            if not fresh:
                return 0
            data = pa.Table.from_pylist(fresh, schema=schema)
            try:
                with storage_errors(self.root.table_uri(self.name)):
                    write_deltalake(
                        self._delta,
                        data,
                        mode="append",
                        schema_mode="merge",
                        commit_properties=once(run),
                        post_commithook_properties=HOOKS,
                    )
                if self._planned:
                    self._own = batch.keys() - known
                self._compact()
                return len(fresh)
            except CommitFailedError:
                _back_off(attempt)
        raise self._crowded()

    def delete(self, column: str, values: Iterable[str], run: Mapping[str, str]) -> int:
        """Delete the rows whose ``column`` is one of ``values``; earlier versions keep them.

        Returns:
            How many rows.

        Raises:
            StorageError: The table cannot be written.
        """
        wanted = set(values)
        if not wanted:
            return 0
        for attempt in range(_ATTEMPTS):
            try:
                with storage_errors(self.root.table_uri(self.name)):
                    self.refresh()
                    return rewrite.delete(self.root, self.name, self._delta, column, wanted, run)
            except CommitFailedError:
                _back_off(attempt)
            except pa.ArrowInvalid as error:
                raise self.unreadable(error) from None
        raise self._crowded()

    def drop_lost(self, run: Mapping[str, str]) -> list[str]:
        """A version without the data files that are not there; returns their names."""
        self.refresh()
        if not self.lost():
            return []
        with storage_errors(self.root.table_uri(self.name)):
            told = self._delta.repair(commit_properties=once(run), post_commithook_properties=HOOKS)
        return [str(file) for file in told["files_removed"]]

    def checkpoint(self) -> None:
        """Write what the log says so far to one file, so that opening need not read every entry."""
        with storage_errors(self.root.table_uri(self.name)):
            self._delta.create_checkpoint()

    def _compact(self) -> None:
        """Make the many small files one, if there are many. What earlier versions need stays."""
        if len(rewrite.small(self._delta)) < _SMALL_FILES:
            return
        try:
            rewrite.compact(self.root, self.name, self._delta)
            if self._planned:
                self.overlook()
            self._delta.create_checkpoint()
        except (DeltaError, pa.ArrowException, OSError):  # another commit, a bad file, a full disk: next time
            self.refresh()

    def _crowded(self) -> StorageError:
        return StorageError(
            f"could not commit to {self.name} in {_ATTEMPTS} attempts", "Are too many builds writing to it?"
        )


def catalog_of(table: str) -> str:
    """The catalog that a table is of; its own name for those that all catalogs share."""
    return table.split("/")[1] if table.startswith("catalogs/") else table


def repair_hint(table: str) -> str:
    """What to do about a broken table."""
    name = catalog_of(table) if table.startswith("catalogs/") else "NAME"
    return f"`avcontrol catalog validate {name}` names what is lost, with --fix it mends what can be mended."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))
