"""From a catalog ID to rows: always the same rows, in the same order, for a pinned ID."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import fs

from catalogs import review, scan, tags
from catalogs.errors import BadQuery, CatalogNotFound, ConfigError, StorageError
from catalogs.ids import NAME, CatalogID
from catalogs.root import Root, storage_errors
from catalogs.schema import LEDGER, REJECTS, SAMPLES
from catalogs.store import Table

_EXAMPLE = "WHERE is an SQL condition, e.g. 'canny@3?quality>0.5'."
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CHANGING = re.compile(
    r"\b(?:(?:random|setseed|uuid(?:v4|v7)?|gen_random_uuid|now|today|get_current_\w+|"
    r"transaction_timestamp|nextval)\s*\(|(?:current_date|current_time|current_timestamp|"
    r"localtime|localtimestamp)\b)",
    re.IGNORECASE,
)
_KEYS = {"samples": ("sample_id", "unit_id"), "rejects": ("reject_id",), "ledger": ("ledger_id",)}
_COLUMNS = {"samples": SAMPLES, "rejects": REJECTS, "ledger": LEDGER}
_OF_THE_QUERY = (  # other errors may be a damaged file's: DuckDB does not always say which one it read
    *(duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException),
    *(duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidTypeException),
)
_READS_REVIEWS = re.compile(r"\breview(?:_note)?\b", re.IGNORECASE)
_REVIEWS = re.compile(r"\breviews_(\d+|newest)\b")  # the name that a query gives the reviews of a version


def table_of(
    root: Root,
    name: str,
    kind: str = "samples",
    *,
    create: pa.Schema | None = None,
    version: int | str | None = None,
) -> Table:
    """Open one of a catalog's tables: ``samples``, ``rejects`` or ``ledger``; ``version`` may be a tag.

    Raises:
        CatalogNotFound: No such catalog or version; the message lists those that exist.
        ConfigError: The name is none that a catalog ID could hold.
    """
    if str(CatalogID.parse(name).name) != name:
        raise ConfigError(f"{name!r} is not a catalog's name", "Use letters, digits, '.', '_' and '-'.")
    if isinstance(version, str):
        version = tags.version_of(root, name, version) if name in names(root) else None
    try:
        return Table.open(
            root,
            f"catalogs/{name}/{kind}",
            key=_KEYS[kind],
            create=create,
            version=version,
            known=_COLUMNS[kind],
        )
    except CatalogNotFound:
        known = names(root)
        if name in known and version is not None:
            latest = Table.open(root, f"catalogs/{name}/{kind}", key=_KEYS[kind]).version
            raise CatalogNotFound(
                f"catalog {name} has no version {version}",
                f"It has versions 0 to {latest}; {name}@{latest} is the newest.",
            ) from None
        if name in known:
            raise CatalogNotFound(
                f"catalog {name} has no table {kind}", "Was it made by something else?"
            ) from None
        near = difflib.get_close_matches(name, known, n=1)
        listed = f"There are: {', '.join(known)}." if known else "`avcontrol build` makes the first one."
        guess = f"Did you mean {near[0]}? " if near else ""
        raise CatalogNotFound(f"no catalog {name!r} under {root.uri}", guess + listed) from None


def names(root: Root) -> list[str]:
    """Names of the catalogs under a root, sorted."""
    selector = fs.FileSelector(root.path("catalogs"), allow_not_found=True)
    with storage_errors(root.uri):
        listed = root.filesystem.get_file_info(selector)
    found = [PurePosixPath(info.path).name for info in listed if info.type == fs.FileType.Directory]
    named = [name for name in found if NAME.fullmatch(name)]  # others cannot be asked for
    return sorted(name for name in named if root.exists(f"catalogs/{name}/samples/_delta_log"))


def pin(root: Root, text: str) -> CatalogID:
    """Parse a catalog ID and fix its version, and that of the reviews if it reads them: named, or the newest now."""
    return opened(root, text)[0]


def opened(root: Root, text: str) -> tuple[CatalogID, Table]:
    """The catalog ID that :func:`pin` gives, and the table of its samples."""
    catalog = CatalogID.parse(text)
    reviews = catalog.reviews
    if reviews is None and _reads_reviews(catalog):
        reviews = review.version(root, catalog.name)
    table = table_of(root, catalog.name, version=catalog.version)
    return replace(catalog, version=table.version, reviews=reviews), table


def select(
    root: Root,
    catalog: str | CatalogID,
    columns: Sequence[str] | None = None,
    *,
    limit: int | None = None,
    kind: str = "samples",
) -> pa.Table:
    """The rows of a catalog ID, ordered by their key.

    Args:
        root: Where the catalog lies.
        catalog: ``NAME``, ``NAME@VERSION`` or ``NAME@VERSION?WHERE``.
        columns: Which columns, ``review`` and ``review_note`` among them; None means all.
        limit: At most this many rows.
        kind: ``samples``, ``rejects`` or ``ledger``.

    Raises:
        CatalogNotFound: No such catalog or version.
        BadQuery: WHERE does not parse or names an unknown column.
        BrokenCatalog: A data file is missing or corrupt.
    """
    parsed = catalog if isinstance(catalog, CatalogID) else CatalogID.parse(catalog)
    table = table_of(root, parsed.name, kind, version=parsed.version)
    chosen = ", ".join(_quoted(name, table.schema) for name in columns) if columns else "*"
    tail = f" ORDER BY {', '.join(table.key)}" + (f" LIMIT {int(limit)}" if limit is not None else "")
    return run_sql(table, f"SELECT {chosen} FROM rows{condition(parsed, columns or ())}{tail}")


def condition(catalog: CatalogID, columns: Iterable[str] = ()) -> str:
    """What follows ``FROM rows`` for a catalog ID: its reviews if it or ``columns`` read them, then its WHERE.

    Raises:
        BadQuery: It is not one SQL condition, or its answer would change from call to call.
    """
    joined = ""
    if _reads_reviews(catalog) or set(review.COLUMNS) & set(columns):
        newest = "newest" if catalog.reviews is None else catalog.reviews
        joined = f" LEFT JOIN reviews_{newest} USING (sample_id)"
    if not catalog.where:
        return joined
    try:
        duckdb.SQLExpression(catalog.where)
    except duckdb.Error as error:
        raise BadQuery(_first_line(error), _EXAMPLE) from None
    changing = _CHANGING.search(_LITERAL.sub("''", catalog.where))
    if changing:
        raise BadQuery(
            f"{changing[0].strip('( ')} changes from call to call, but a catalog ID "
            "selects the same rows forever",
            _EXAMPLE,
        )
    return f"{joined} WHERE ({catalog.where}\n)"  # the line break ends a comment


def run_sql(table: Table, sql: str) -> pa.Table:
    """Run one SELECT over a table, known to the query as ``rows``. It can read nothing else."""
    with asking({"rows": table}) as ask:
        return ask(sql).to_arrow_table()


@contextlib.contextmanager
def asking(
    tables: dict[str, Table | pa.Table], memory: str = ""
) -> Iterator[Callable[[str], duckdb.DuckDBPyRelation]]:
    """Ask SELECTs over tables by name; they can read nothing else.

    Args:
        tables: By the names that the queries use; the first is the one that errors are about.
        memory: Most that sorts and joins hold, e.g. ``1GB``; beyond it they go to the disk, so that an answer
            larger than memory can be read as a stream (``to_arrow_reader``). Empty for DuckDB's own limit.

    Yields:
        The function that takes a SELECT.
    """
    about = next(table for table in tables.values() if isinstance(table, Table))
    config: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        if memory:  # every thread holds buffers of its own
            spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="avcontrol-"))
            config = {
                "memory_limit": memory,
                "threads": str(min(4, os.cpu_count() or 4)),
                "temp_directory": spill,
            }
        known: set[str] = set()

        def ask(sql: str) -> duckdb.DuckDBPyRelation:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise BadQuery("only a single SELECT condition can be asked of a catalog")
            for at in set(_REVIEWS.findall(sql)) - known:
                connection.register(f"reviews_{at}", _reviews(about, at))
                known.add(at)
            return connection.sql(sql)

        try:
            connection = stack.enter_context(scan.connect(tables, config))
            yield ask
        except duckdb.BinderException as error:
            named = re.search(r'column "([^"]+)" not found', str(error))
            if not named:
                raise BadQuery(_first_line(error), _EXAMPLE) from None
            raise _unknown_column(named[1], about.schema) from None
        except duckdb.OutOfMemoryException as error:
            raise StorageError(f"a query over {about.name} ran out of memory: {_first_line(error)}") from None
        except (duckdb.IOException, OSError, pa.ArrowInvalid) as error:
            raise about.unreadable(error) from None
        except duckdb.Error as error:
            if re.search(r"stream registered as '\w+' failed", str(error)) or f"/{about.name}/" in str(error):
                raise about.unreadable(error) from None
            damage = iter(()) if isinstance(error, _OF_THE_QUERY) else about.damage()
            for file, why in damage:
                raise about.unreadable(OSError(f"{file}: {why}")) from None
            raise BadQuery(_first_line(error), _EXAMPLE) from None


def sample(root: Root, sample_id: str, name: str | None = None) -> tuple[CatalogID, dict[str, Any]]:
    """Find a sample by its ID, or a unique start of it, in one catalog or in all of them.

    Args:
        root: Where the catalogs lie.
        sample_id: The ID or its start.
        name: Catalog ID to look into; None means every catalog at its newest version.

    Raises:
        CatalogNotFound: None, or more than one, begins with that.
    """
    start = sample_id.replace("'", "''")
    found: list[tuple[CatalogID, dict[str, Any]]] = []
    for catalog in [name] if name else names(root):
        pinned = pin(root, catalog)
        both = f"({pinned.where}\n) AND " if pinned.where else ""
        view = replace(pinned, where=f"{both}starts_with(sample_id, '{start}')")
        rows = select(root, view, limit=50).to_pylist()
        # Equal sources at two places give rows of one ID: any of them tells the story.
        found += [(pinned, row) for row in {row["sample_id"]: row for row in rows}.values()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CatalogNotFound(
            f"no sample begins with {sample_id!r}",
            "`avcontrol catalog query NAME --columns sample_id` lists those that exist.",
        )
    listed = ", ".join(f"{row['sample_id']} in {pinned.name}" for pinned, row in found[:6])
    raise CatalogNotFound(
        f"{len(found)} samples begin with {sample_id!r}", f"Give more of the ID, or its catalog: {listed}."
    )


def manifest_hash(sample_ids: Iterable[str], *, ordered: bool = False) -> str:
    """SHA-256 over the sorted sample IDs: equal exactly when the rows are.

    Args:
        sample_ids: In any order.
        ordered: They come sorted, as rows do: a stream of any length is then never held.
    """
    digest, between = hashlib.sha256(), b""
    for sample_id in sample_ids if ordered else sorted(sample_ids):
        digest.update(between + sample_id.encode())
        between = b"\n"
    return digest.hexdigest()


def _quoted(name: str, schema: pa.Schema) -> str:
    if name not in (*schema.names, *review.COLUMNS):
        raise _unknown_column(name, schema)
    return scan.quoted(name)


def _reads_reviews(catalog: CatalogID) -> bool:
    return bool(_READS_REVIEWS.search(_LITERAL.sub("''", catalog.where or "")))


def _reviews(table: Table, at: str) -> pa.Table:
    """The reviews beside a table of samples; a column that the samples have themselves is theirs."""
    name = PurePosixPath(table.name).parent.name
    found = review.newest(table.root, name, None if at == "newest" else int(at))
    return found.drop_columns([column for column in review.COLUMNS if column in table.schema.names])


def _unknown_column(name: str, schema: pa.Schema) -> BadQuery:
    near = difflib.get_close_matches(name, schema.names, n=1)
    return BadQuery(
        f"unknown column {name!r}",
        f"Did you mean {near[0]}?" if near else f"Columns: {', '.join(schema.names)}.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
