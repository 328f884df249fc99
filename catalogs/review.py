"""Reviews: what people say of samples, kept in a table of their own, so that the samples are never touched.

``catalogs/NAME/reviews`` only grows. For each sample the newest row that says something counts, by the reviewer's
clock; a note leaves the verdict as it was and the other way round. A WHERE that names ``review`` (``'accept'``,
``'reject'``, or null where there is none) or ``review_note`` reads them beside the sample's columns.

Such an ID is pinned with two versions: ``canny@3+5?review='accept'`` is version 3 of the samples seen with version 5
of the reviews, whatever is reviewed later. ``+0`` is before the first review. An ID without the plus sees the newest.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.root import Root
from catalogs.schema import REVIEWS
from catalogs.store import Table

VERDICTS = ("accept", "reject")
COLUMNS = ("review", "review_note")
_NONE = pa.schema([REVIEWS.field(name) for name in ("sample_id", *COLUMNS)]).empty_table()

_NEWEST = """
SELECT sample_id,
    nullif(last(review ORDER BY reviewed_at, review_id) FILTER (review IS NOT NULL), '') AS review,
    nullif(last(review_note ORDER BY reviewed_at, review_id) FILTER (review_note IS NOT NULL), '') AS review_note
FROM said GROUP BY sample_id
"""


def write(
    root: Root,
    name: str,
    sample_ids: Iterable[str],
    *,
    verdict: str | None = None,
    note: str | None = None,
    reviewer: str = "",
) -> int:
    """Review samples, as one commit; returns the version of the reviews that holds it.

    Args:
        root: Where the catalog lies.
        name: The catalog.
        sample_ids: Whole IDs.
        verdict: accept, reject, "" to take it back, None to leave it.
        note: A few words, "" to take them back, None to leave them.
        reviewer: Who says so; the user of this process by default.

    Raises:
        ConfigError: Neither verdict nor note, or a verdict that is none.
        StorageError: The table cannot be written.
    """
    if verdict not in (None, "", *VERDICTS) or (verdict is None and note is None):
        raise ConfigError(f"{verdict!r} is no review", f"Say {' or '.join(VERDICTS)}, or give a note.")
    table = _table(root, name, create=True)
    said = {
        "review": verdict,
        "review_note": note,
        "reviewer": reviewer or _user(),
        "reviewed_at": datetime.now(UTC),
    }
    rows = [{"review_id": uuid.uuid4().hex, "sample_id": sample_id, **said} for sample_id in sample_ids]
    table.append_new(rows, {"program": "review"})
    return table.version


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def version(root: Root, name: str) -> int:
    """The newest version of a catalog's reviews; 0 if there is none yet."""
    try:
        return _table(root, name).version
    except CatalogNotFound:
        return 0


def newest(root: Root, name: str, at: int | None = None) -> pa.Table:
    """What counts for each sample that was reviewed: ``sample_id``, ``review``, ``review_note``.

    Args:
        root: Where the catalog lies.
        name: The catalog.
        at: Version of the reviews; None means the newest.

    Raises:
        CatalogNotFound: The reviews have no such version.
    """
    try:
        said = _table(root, name, at=at).read(["sample_id", *COLUMNS, "reviewed_at", "review_id"])
    except CatalogNotFound:
        latest = version(root, name)
        if at is not None and at > latest:
            raise CatalogNotFound(
                f"the reviews of {name} have no version {at}",
                f"They have versions 0 to {latest}; {name}@VERSION+{latest} is the newest.",
            ) from None
        return _NONE  # nobody said anything yet
    with duckdb.connect() as connection:
        connection.register("said", said)
        return connection.sql(_NEWEST).to_arrow_table()


def history(root: Root, name: str, sample_id: str) -> list[dict[str, object]]:
    """Everything that was said of a sample, newest first."""
    import pyarrow.dataset as pads

    try:
        said = _table(root, name).read(where=pads.field("sample_id") == sample_id)
    except CatalogNotFound:
        return []
    return list(said.sort_by([("reviewed_at", "descending")]).to_pylist())


def whole(starts: Sequence[str], known: Sequence[str]) -> list[str]:
    """The one ID among ``known`` that begins with each of ``starts``.

    Raises:
        CatalogNotFound: None, or more than one, does.
    """
    found = []
    for start in starts:
        fits = [start] if start in known else sorted(each for each in known if each.startswith(start))
        if len(fits) != 1:
            raise CatalogNotFound(
                f"{len(fits) or 'no'} sample{'s begin' if fits else ' begins'} with {start!r}",
                f"Give more of it: {', '.join(fits[:4])}."
                if fits
                else "`avcontrol catalog query NAME --columns sample_id` lists those that exist.",
            )
        found += fits
    return found


def _table(root: Root, name: str, *, create: bool = False, at: int | None = None) -> Table:
    place = f"catalogs/{name}/reviews"
    return Table.open(root, place, key=("review_id",), create=REVIEWS if create else None, version=at)
