"""A selection of a catalog in pages, however many rows it has, in any order.

The first page is asked of the Parquet files: a LIMIT stops early. Meanwhile :meth:`Pages.prepare` streams the listed
columns to a file (a second and 170 MB of disk for a million rows) and sorts the numbers of its rows by one column.
From then on a page is a look-up, wherever it lies: keyset paging would need no file, but would read the sort key of
every row again for each page.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs.browse.held import Held
from catalogs.errors import BadQuery, CatalogNotFound
from catalogs.ids import CatalogID
from catalogs.query import asking, condition, opened, select, table_of
from catalogs.root import Root
from catalogs.scan import quoted

LISTED = ("sample_id", "caption", "quality", "motion", "timeline", "source_uri")
REJECTED = ("stage", "reason", "message", "source_uri")
_MEMORY, _BATCH = "256MB", 8192  # most that DuckDB keeps while it streams, and rows at a time


class Pages:
    """The rows of a catalog ID in pages; safe to use from several threads.

    Args:
        root: Where the catalog lies.
        catalog: Which rows; pinned when opened.
        sort: Column; empty for the order in which the rows are stored, which also tells equal values apart.
        descending: From the greatest down; nulls come last either way.
        columns: Those that the pages hold besides the one to sort by.
        kind: ``samples`` or ``rejects``.

    Attributes:
        catalog: The pinned ID.
        columns: As given, without those that the catalog lacks.

    Raises:
        CatalogNotFound: No such catalog or version.
        BadQuery: WHERE does not parse, or there is no column ``sort``.
    """

    def __init__(
        self,
        root: Root,
        catalog: str | CatalogID,
        sort: str = "",
        descending: bool = False,
        columns: tuple[str, ...] = LISTED,
        kind: str = "samples",
    ) -> None:
        parsed = CatalogID.parse(str(catalog))
        self.catalog, self._table = (
            opened(root, str(catalog)) if kind == "samples" else (parsed, table_of(root, parsed.name, kind))
        )
        names = self._table.schema.names
        self.columns = tuple(name for name in columns if name in names)
        self.sort, self.descending = _known(sort, names), descending
        self._from = f"FROM rows{condition(self.catalog)}"
        joined = " JOIN " in self._from  # which keeps no order
        self._by = f" ORDER BY {', '.join(self._table.key)}" if joined else ""
        self._count: int | None = None
        self._held: Held | None = None
        self._keys: pa.ChunkedArray | None = None
        self._order: pa.Array | None = None
        self._preparing = threading.Lock()

    def sorted_by(self, sort: str, descending: bool = False) -> Pages:
        """The same rows in another order; what was written for this one serves that one too.

        Raises:
            BadQuery: There is no such column.
        """
        other = copy.copy(self)
        other.sort, other.descending = _known(sort, self.names), descending
        other._keys = self._keys if sort == self.sort else None
        other._order, other._preparing = None, threading.Lock()
        return other

    @property
    def names(self) -> list[str]:
        """All columns of the catalog."""
        return list(self._table.schema.names)

    @property
    def schema(self) -> pa.Schema:
        """All columns of the catalog with their types."""
        return self._table.schema

    @property
    def ready(self) -> bool:
        """Whether every page is a look-up by now."""
        return self._held is not None and (not self.sort or self._order is not None)

    def count(self) -> int:
        """How many rows there are; asked once."""
        if self._count is None and not self.catalog.where:
            self._count = self._table.count()
        if self._count is None:
            with asking({"rows": self._table}) as ask:
                self._count = int(ask(f"SELECT count(*) AS n {self._from}").fetchall()[0][0])
        return self._count

    def page(self, start: int, size: int) -> list[dict[str, Any]]:
        """Rows ``start`` to ``start + size``, dicts of the columns; fewer at the end.

        Before :meth:`prepare` is done, rows in the order of the files are read past those before; sorted ones wait.

        Raises:
            BadQuery: WHERE names an unknown column or does not fit a column's type.
            BrokenCatalog: A data file is missing or corrupt.
            StorageError: No room for temporary files.
        """
        if not self.ready and not self.sort:
            return list(self._ask(self.columns, f" LIMIT {int(size)} OFFSET {int(start)}").to_pylist())
        self.prepare()
        assert self._held is not None
        if self._order is None:
            rows = self._held.slice(start, size)
        else:
            rows = [self._row(self._held, number) for number in self._order.slice(start, size).to_pylist()]
        self._held.release()
        return rows

    def prepare(self) -> None:
        """Make every page a look-up; a second or two for a million rows, so call it from a thread.

        Raises:
            As :meth:`page`.
        """
        with self._preparing:
            if self._held is None:
                with asking({"rows": self._table}, memory=_MEMORY) as ask:
                    rows = ask(f"SELECT {', '.join(map(quoted, self.columns))} {self._from}{self._by}")
                    self._held = Held(rows.to_arrow_reader(_BATCH))
                self._count = len(self._held)
            if self.sort and self._order is None:
                if self._keys is None:
                    listed = self.sort in self.columns
                    self._keys = self._held.column(self.sort) if listed else self._ask([self.sort])[self.sort]
                way = "descending" if self.descending else "ascending"
                order = pc.sort_indices(self._keys, sort_keys=[("", way)])  # stable, nulls last
                self._order = order.cast(pa.uint32())
                self._held.release()

    def _ask(self, columns: Sequence[str], tail: str = "") -> pa.Table:
        with asking({"rows": self._table}) as ask:
            return ask(
                f"SELECT {', '.join(map(quoted, columns))} {self._from}{self._by}{tail}"
            ).to_arrow_table()

    def _row(self, held: Held, number: int) -> dict[str, Any]:
        row = held.row(number)
        return row | {self.sort: self._keys[number].as_py()} if self._keys is not None else row


def row_of(root: Root, catalog: CatalogID, sample_id: str) -> dict[str, Any]:
    """The whole row of a sample.

    Raises:
        CatalogNotFound: It is not in that version.
    """
    rows = select(root, replace(catalog, where=f"sample_id = '{sample_id}'"), limit=1).to_pylist()
    if not rows:
        raise CatalogNotFound(f"{catalog.name}@{catalog.version} has no sample {sample_id}")
    return dict(rows[0])


def _known(sort: str, names: Sequence[str]) -> str:
    if sort and sort not in names:
        raise BadQuery(f"cannot sort by {sort!r}", f"Columns: {', '.join(names)}.")
    return sort
