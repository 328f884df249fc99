"""Which encodings a catalog ID needs, and which of them a root has: SQL over its `rows` and the `encodings` table.

An encoding is of an input (a media path, or a caption) by an encoder, the hash of the weights that made it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from catalogs.errors import CatalogNotFound
from catalogs.ids import CatalogID
from catalogs.query import condition
from catalogs.root import Root
from catalogs.schema import ENCODINGS
from catalogs.store import Table

KINDS = ("video", "audio", "text")
MEDIA = {  # media columns of each stream: target, reference
    "video": ("video", "reference_video"),
    "audio": ("audio", "reference_audio"),
}
COLUMNS = {column: kind for kind, pair in MEDIA.items() for column in pair}


def encodings(root: Root) -> Table | pa.Table:
    """A root's `encodings` table; no rows where there is none yet."""
    try:
        return Table.open(root, "encodings", key=("encoding_id",), known=ENCODINGS)
    except CatalogNotFound:
        return ENCODINGS.empty_table()


def needed(catalog: CatalogID, columns: Mapping[str, str] = COLUMNS) -> str:
    """A SELECT of (kind, input): every distinct input of a catalog ID's rows.

    Args:
        catalog: Its ID.
        columns: Kind of each media column that counts.

    Raises:
        BadQuery: The ID's WHERE is not one condition.
    """
    kinds = ", ".join(f"'{kind}'" for kind in columns.values())
    inputs = ", ".join(f"nullif({column}, '')" for column in columns)
    return (
        "SELECT DISTINCT kind, input FROM ("
        f"SELECT unnest([{kinds}, 'text']) AS kind, unnest([{inputs}, coalesce(caption, '')]) AS input "
        f"FROM rows{condition(catalog)}) WHERE input IS NOT NULL"
    )


def found(catalog: CatalogID, encoders: Mapping[str, str], columns: Mapping[str, str] = COLUMNS) -> str:
    """A SELECT of (kind, input, path): :func:`needed`, with where the encoding by `encoders` lies, or null.

    Args:
        catalog: Its ID.
        encoders: Hash of the encoder of each kind that is needed.
        columns: Kind of each media column that counts.
    """
    made = " OR ".join(f"(kind = '{kind}' AND encoder = '{encoder}')" for kind, encoder in encoders.items())
    return (
        f"SELECT kind, input, path FROM ({needed(catalog, columns)}) "
        f"LEFT JOIN (SELECT kind, input, path FROM encodings WHERE {made or 'false'}) USING (kind, input)"
    )
