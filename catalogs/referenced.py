"""Which files the tables of a root refer to, whatever columns they stand in: by the hashes in their text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from catalogs.errors import BrokenCatalog
from catalogs.root import Root

KINDS = ("media", "signals", "latents")
HASH = "[0-9a-f]{64}"
_REFERS = {"encodings": ["path"], "fingerprints": []}
"""The columns of shared tables that hold files in place: what was encoded need not stay, its latents do."""


def data_files(root: Root) -> set[str]:
    """Paths of the data files of all tables."""
    found = set()
    for folder in folders(root, ""):
        if folder in (*KINDS, "memo", ".tmp"):
            continue
        inner = root.filesystem.get_file_info(fs.FileSelector(root.path(folder), recursive=True))
        found |= {info.path.removeprefix(f"{root.base}/") for info in inner if info.type == fs.FileType.File}
    return {path for path in found if path.endswith(".parquet") and "/_" not in path}


def hashes(root: Root, files: Iterable[str]) -> pa.Table:
    """Every hash that stands in the text columns of these Parquet files: one column ``hash``."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE found (hash VARCHAR)")
        for path in sorted(files):
            for batch in _texts(root, path):
                connection.register("batch", batch)
                text = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in batch.schema.names)
                stated = f"unnest(regexp_extract_all(concat_ws(' ', {text}), '{HASH}'))"
                connection.execute(f"INSERT INTO found SELECT DISTINCT {stated} FROM batch")
        return connection.sql("SELECT DISTINCT hash FROM found").to_arrow_table()


def _texts(root: Root, path: str) -> Iterator[pa.Table]:
    try:
        with root.filesystem.open_input_file(root.path(path)) as handle:
            file = pq.ParquetFile(handle)
            columns = [field.name for field in file.schema_arrow if "string" in str(field.type)]
            columns = [name for name in columns if name in _REFERS.get(path.split("/")[0], columns)]
            if columns:
                yield from (
                    pa.Table.from_batches([batch]) for batch in file.iter_batches(100_000, columns=columns)
                )
    except FileNotFoundError:  # replaced meanwhile, and cleared away
        return
    except (pa.ArrowInvalid, OSError) as error:
        raise BrokenCatalog(
            f"{path} cannot be read, so it is not known which files it needs: {error}",
            "`avcontrol catalog validate` names what is lost.",
        ) from None


def folders(root: Root, inside: str) -> list[str]:
    """Paths of the folders directly inside one of the root's, or inside the root itself for ""."""
    selector = fs.FileSelector(root.path(inside) if inside else root.base, allow_not_found=True)
    found = [
        info.path for info in root.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory
    ]
    return sorted(path.removeprefix(f"{root.base}/") for path in found)
