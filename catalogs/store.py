"""Delta tables with exactly-once appends, safe with several builders at work on one table.

Delta's log gives an atomic "put version N+1 if absent". An append that may not be retried blindly
(``max_commit_retries=0``) therefore fails when another builder committed first; it then reads the keys that
the other one added, drops those from its batch and tries again. No row is lost and none is written twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from catalogs.errors import BrokenCatalog, CatalogNotFound, StorageError
from catalogs.root import Root, storage_errors
from catalogs.schema import SCHEMA_VERSION

_ATTEMPTS = 200
_DELETE_CHUNK = 500


def delta_table(root: Root, name: str, version: int | None = None) -> DeltaTable:
    """Delta's own view of the table at ``name``, of a root on any storage; it raises Delta's own errors."""
    return DeltaTable(root.table_uri(name), version=version, storage_options=root.storage_options)


class Table:
    """One Delta table of a root.

    Args:
        root: Where it lies.
        name: Relative path, e.g. ``catalogs/canny/samples``.
        key: The columns that together identify a row.
    """

    def __init__(self, root: Root, name: str, key: tuple[str, ...], delta: DeltaTable) -> None:
        self.root, self.name, self.key, self._delta = root, name, key, delta
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
    ) -> Table:
        """Open a table, or create it with the schema ``create``; columns it lacks are added when appending.

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
                    configuration={"avcontrol.schema": str(SCHEMA_VERSION)},
                    storage_options=root.storage_options,
                    raise_if_key_not_exists=False,
                )
                delta = delta_table(root, name)
        except (DeltaError, OverflowError) as error:
            if version is not None:
                raise CatalogNotFound(f"no version {version} of {name}: {error}") from None
            raise BrokenCatalog(f"table {name} under {root.uri} cannot be read: {error}") from None
        except OSError as error:
            raise StorageError(f"cannot reach {uri}: {error}") from error
        written = int(delta.metadata().configuration.get("avcontrol.schema", SCHEMA_VERSION))
        if written > SCHEMA_VERSION:
            raise BrokenCatalog(
                f"{name} has schema version {written}; this release knows up to {SCHEMA_VERSION}",
                "Install a newer avcontrol.",
            )
        return cls(root, name, key, delta)

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
        """Arrow schema of the table."""
        return pa.schema(self._delta.schema().to_arrow())

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
        return [str(path) for path in pa.table(self._delta.get_add_actions())["path"].to_pylist()]

    def count(self) -> int | None:
        """How many rows, as the log says; None where a commit did not say."""
        counts = pa.table(self._delta.get_add_actions())["num_records"].to_pylist()
        return None if None in counts else sum(counts)

    def dataset(self) -> pads.Dataset:
        """The rows as a pyarrow dataset (not ordered)."""
        return self._delta.to_pyarrow_dataset()

    def read(self, columns: Sequence[str] | None = None, where: pads.Expression | None = None) -> pa.Table:
        """Read rows into memory.

        Raises:
            BrokenCatalog: A data file is missing or corrupt (the message names it).
        """
        try:
            return self.dataset().to_table(columns=list(columns) if columns else None, filter=where)
        except (pa.ArrowInvalid, OSError) as error:
            raise BrokenCatalog(
                f"a data file of {self.name} is missing or corrupt: {error}",
                "`avcontrol catalog validate` names what is lost.",
            ) from None

    def keys(self) -> set[tuple[str, ...]]:
        """Keys of all rows in the latest version; only files not seen before are read."""
        self.refresh()
        files = set(pa.table(self._delta.get_add_actions())["path"].to_pylist())
        if not self._files <= files:  # rows were removed or files compacted: start over
            self._keys, self._files = set(), set()
        fresh = sorted(files - self._files)
        if fresh:
            dataset = pads.dataset(
                [self.root.path(f"{self.name}/{file}") for file in fresh],
                filesystem=self.root.filesystem,
                format="parquet",
            )
            table = dataset.to_table(columns=list(self.key))
            self._keys.update(zip(*(table[name].to_pylist() for name in self.key), strict=True))
            self._files = files
            self._keys -= self._own
        return self._keys

    def overlook(self) -> None:
        """Compare appended rows from now on with what others add alone, so that no set of all keys is held.

        For one whose rows were planned against this version, and come once each.
        """
        self._keys, self._files = set(), set(pa.table(self._delta.get_add_actions())["path"].to_pylist())
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
                        self._delta, data, mode="append", schema_mode="merge", commit_properties=_once(run)
                    )
                if self._planned:
                    self._own = batch.keys() - known
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
        todo, removed = sorted(set(values)), 0
        for start in range(0, len(todo), _DELETE_CHUNK):
            chunk = todo[start : start + _DELETE_CHUNK]
            quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in chunk)
            removed += self._delete_where(f"{column} IN ({quoted})", run)
        return removed

    def _delete_where(self, condition: str, run: Mapping[str, str]) -> int:
        for attempt in range(_ATTEMPTS):
            self.refresh()
            try:
                with storage_errors(self.root.table_uri(self.name)):
                    metrics = self._delta.delete(condition, commit_properties=_once(run))
                return int(metrics["num_deleted_rows"] or 0)
            except CommitFailedError:
                _back_off(attempt)
        raise self._crowded()

    def _crowded(self) -> StorageError:
        return StorageError(
            f"could not commit to {self.name} in {_ATTEMPTS} attempts", "Are too many builds writing to it?"
        )


def _once(run: Mapping[str, str]) -> CommitProperties:
    """A commit that fails when another one came first."""
    return CommitProperties(custom_metadata=dict(run), max_commit_retries=0)


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))
