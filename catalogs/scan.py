"""A table's rows for DuckDB: its own Parquet reader for local files, Arrow's for everything else.

DuckDB's reader is three to thirty times as fast and holds less memory; it needs no extension only for local files.
Either way a query can read these rows and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from catalogs.store import Table

_KEPT = 4
_kept: dict[tuple[str, ...], duckdb.DuckDBPyConnection] = {}
_keeping = threading.Lock()
_MANY = 2000  # footers are read one after the other before a query starts; Arrow opens files as it goes
_GLOB = frozenset("*?[")


def connect(tables: Mapping[str, Table | pa.Table], config: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """A connection that knows tables by name, and nothing else.

    Starting and ending a database takes as long as a query over a million rows, and a second query need not read the
    files' footers again. So this process keeps the databases of the table versions it asked last; not where ``config``
    limits one, or more than ``rows`` is asked.
    """
    files = {name: _local(table) for name, table in tables.items() if isinstance(table, Table)}
    rows = tables.get("rows")
    if config or len(tables) > 1 or not isinstance(rows, Table) or not files["rows"]:
        return _started(tables, files, config)
    # `validate --fix` may give a version of the same number other files.
    which = (rows.root.uri, rows.name, rows.id, str(rows.version), *rows.schema.names, *files["rows"])
    with _keeping:
        database = _kept.pop(which, None) or _started(tables, files, config)
        _kept[which] = database  # the newest last
        if len(_kept) > _KEPT:
            del _kept[next(iter(_kept))]  # ends with its last connection
        return database.cursor()


def _started(
    tables: Mapping[str, Table | pa.Table], files: Mapping[str, list[str]], config: Mapping[str, str]
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config=dict(config))
    connection.execute("SET allowed_paths = ?", [[file for paths in files.values() for file in paths]])
    # Else a view's footers are read again when it is asked.
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET enable_external_access = false")
    for name, table in tables.items():
        if not isinstance(table, Table):
            connection.register(name, table)
        elif files[name]:
            _native(connection, name, table, files[name])
        else:
            connection.register(name, table.dataset())
    return connection


def _local(table: Table) -> list[str]:
    """Paths of a table's files; none where DuckDB could not open them by path."""
    if table.root.folder is None:
        return []
    paths = [table.root.path(f"{table.name}/{file}") for file in table.files()]
    plain = len(paths) <= _MANY and not any(_GLOB & set(path) for path in paths)
    return paths if plain else []


def _native(connection: duckdb.DuckDBPyConnection, name: str, table: Table, files: list[str]) -> None:
    paths = ", ".join(quoted(file, "'") for file in files)
    source = f"read_parquet([{paths}], union_by_name = true)"
    schema = table.schema
    chosen = {column: quoted(column) for column in schema.names}
    head = f"CREATE VIEW {name} AS SELECT "
    try:
        connection.execute(f"{head}{', '.join(chosen.values())} FROM {source}")
    except (
        duckdb.BinderException
    ):  # a column in no file: unknown to an older release, or all its rows were deleted
        present = set(connection.sql(f"SELECT * FROM {source}").columns)
        types = connection.from_arrow(schema.empty_table()).types
        for column, kind in zip(schema.names, types, strict=True):
            if column not in present:
                chosen[column] = f"CAST(NULL AS {kind}) AS {chosen[column]}"
        connection.execute(f"{head}{', '.join(chosen.values())} FROM {source}")


def quoted(text: str, mark: str = '"') -> str:
    """A name in SQL, or with the mark ' a string."""
    return mark + text.replace(mark, 2 * mark) + mark
