"""What the pages of ``catalog serve`` ask for: rows by the page, statistics, one sample, its story; and reviews."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import pyarrow as pa

from catalogs import describe, review
from catalogs.browse.marks import Marks
from catalogs.browse.pages import Pages, row_of
from catalogs.describe import Row
from catalogs.errors import AvcontrolError, BadQuery, ConfigError
from catalogs.explain import explain
from catalogs.ids import CatalogID
from catalogs.query import names, opened
from catalogs.root import Root
from catalogs.stats import stats
from catalogs.web import pictures, ranges
from catalogs.web.detail import detail

LISTED = ("sample_id", "caption", "quality", "motion", *describe.MEDIA, *pictures.SHAPE)
LARGEST = 200  # rows of a page
_KEPT = 4  # selections that are kept ready
_LATER_S = 0.5
T = TypeVar("T")
Asked = Mapping[str, str]


class Site:
    """A root as its pages see it; safe to use from several threads.

    Args:
        root: What is shown.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._pictures = pictures.Kept(root)
        self._pages: OrderedDict[tuple[str, str, bool], Pages] = OrderedDict()
        self._stats: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def catalogs(self, asked: Asked) -> list[str]:
        """The names of the catalogs."""
        return names(self.root)

    def page(self, asked: Asked) -> dict[str, Any]:
        """Rows ``start`` to ``start + size`` of what ``id`` and ``where`` select, sorted by ``sort``.

        Returns:
            ``catalog`` (pinned, without WHERE), ``selection`` (pinned, with it), ``total``, ``columns`` to sort by and
            ``rows`` of :func:`card`.
        """
        start, size = _number(asked, "start", 0), min(LARGEST, _number(asked, "size", 60))
        found = self._of(_selection(asked), asked.get("sort", ""), asked.get("descending") == "1")
        columns = [field.name for field in found.schema if not pa.types.is_nested(field.type)]
        if found.sort and found.sort not in columns:
            raise BadQuery(f"cannot sort by {found.sort!r}", f"Columns: {', '.join(columns)}.")
        rows, total = found.page(start, size), found.count()
        if not found.ready and total > size:  # the next page will be at hand; this one goes out first
            later = threading.Timer(_LATER_S, _quietly, (found.prepare,))
            later.daemon = True
            later.start()
        marks = Marks(self.root, found.catalog.name)
        marks.read()
        return {
            "catalog": str(replace(found.catalog, where=None, reviews=None)),
            "selection": str(found.catalog),
            "total": total,
            "columns": columns,
            "rows": [card(row, marks, found.sort) | {"thumb": _thumb(row)} for row in rows],
        }

    def stats(self, asked: Asked) -> dict[str, Any]:
        """The statistics of what ``id`` and ``where`` select, see :func:`catalogs.stats.stats`; without file sizes."""
        pinned, _ = opened(self.root, str(_selection(asked)))
        return self._kept(self._stats, str(pinned), lambda: stats(self.root, pinned, sizes=False))

    def sample(self, asked: Asked) -> dict[str, Any]:
        """The sample ``sample`` of ``id``, see :func:`catalogs.web.detail.detail`, and its review."""
        row, marks = self._row(asked), Marks(self.root, _catalog(asked).name)
        marks.read()
        return detail(self.root, row, self._video, self._sound) | _marked(row, marks)

    def story(self, asked: Asked) -> dict[str, Any]:
        """The story of a sample, and ``reviews``: everything that was said of it, newest first."""
        catalog = _catalog(asked)
        told = explain(self.root, asked.get("sample", ""), str(catalog))
        return {
            "story": told,
            "reviews": review.history(self.root, catalog.name, told["sample"]["id"]),
        }

    def review(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Write a review: ``id``, ``sample``, and ``verdict``, ``note`` or both, as :func:`catalogs.review.write`."""
        wanted = {"id": str, "sample": str, "verdict": str | None, "note": str | None}
        if not set(said) <= set(wanted) or not all(isinstance(said.get(k), v) for k, v in wanted.items()):
            raise ConfigError("a review has id, sample, and verdict or note, all of them text")
        try:
            json.dumps(dict(said), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ConfigError("a review has half of a surrogate pair, which is no text") from None
        row = self._row(said)
        name = _catalog(said).name
        review.write(self.root, name, [row["sample_id"]], verdict=said.get("verdict"), note=said.get("note"))
        marks = Marks(self.root, name)
        marks.read()
        return _marked(row, marks) | {"reviews": review.history(self.root, name, row["sample_id"])}

    def thumb(self, asked: Asked) -> bytes:
        """A sample's picture, from the columns it is drawn from."""
        row = _drawn_from(asked)
        return self._pictures.get("thumbnail", row, lambda: pictures.thumbnail(self.root, row))

    def sound(self, asked: Asked) -> bytes:
        """The picture of the sound in ``column``, from the columns it is drawn from."""
        row, column = _drawn_from(asked), asked.get("column", "")
        if column not in ("audio", "reference_audio") or not row.get(column):
            raise ConfigError(f"{column!r} is no sound")
        return self._pictures.get(column, row, lambda: (pictures.sound(self.root, row, column), True))

    def _of(self, selection: CatalogID, sort: str, descending: bool) -> Pages:
        """The pages of a selection; those of the same rows in another order share what was read."""
        with self._lock:
            kept = self._pages.get((str(selection), sort, descending))
        if kept:
            return kept
        fresh = Pages(
            self.root, selection, sort, descending, columns=LISTED
        )  # which pins it, and reads nothing yet
        pinned = str(fresh.catalog)
        with self._lock:
            near = next(
                (pages for (name, *_), pages in reversed(self._pages.items()) if name == pinned), None
            )
        if near and sort:
            near.prepare()  # or wait for whoever does: its rows are then shared
        return self._kept(
            self._pages,
            (pinned, sort, descending),
            lambda: near.sorted_by(sort, descending) if near else fresh,
        )

    def _kept(self, kept: OrderedDict[Any, T], key: Any, make: Callable[[], T]) -> T:
        """The newest few of what was made."""
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        made = make()
        with self._lock:
            made = kept.setdefault(key, made)
            while len(kept) > _KEPT:
                kept.popitem(last=False)
        return made

    def _row(self, asked: Mapping[str, Any]) -> Row:
        sample = str(asked.get("sample", ""))
        if not sample.isalnum():
            raise ConfigError(f"{sample!r} is no sample ID")
        pinned, _ = opened(self.root, str(_catalog(asked)))
        return row_of(self.root, pinned, sample)

    def _video(self, relative: str) -> str:
        with ranges.media(self.root, relative):
            return "/" + quote(relative)

    def _sound(self, row: Row, column: str, side: str) -> dict[str, str]:
        drawn = urlencode({"column": column, **pictures.known(row)})
        return {
            "url": self._video(row[column]),
            "picture": f"/sound?{drawn}",
            "what": pictures.sound_words(self.root, row, column, side),
        }


def card(row: Row, marks: Marks | None, sort: str) -> dict[str, Any]:
    """What the grid shows of a row: ``id``, ``caption``, ``seconds``, ``figures``, ``shape`` of its picture, review."""
    names = dict.fromkeys(("quality", "motion", sort))
    shown = {name: row[name] for name in names if name not in LISTED[:2] and row.get(name) is not None}
    return {
        "id": row["sample_id"],
        "caption": row.get("caption") or "",
        "seconds": float(describe.frame_count(row) / describe.fps(row)),
        "figures": [[name, describe.figure(value)] for name, value in shown.items()],
        "shape": pictures.size(row),
        **(_marked(row, marks) if marks else {}),
    }


def _marked(row: Row, marks: Marks) -> dict[str, Any]:
    verdict, note = marks.of(row["sample_id"])
    return {"review": verdict, "review_note": note}


def _thumb(row: Row) -> str:
    return f"/thumb?{urlencode(pictures.known(row))}"


def _drawn_from(asked: Asked) -> dict[str, Any]:
    row: dict[str, Any] = {name: asked[name] for name in describe.MEDIA if name in asked}
    row |= {name: _number(asked, name, 0) for name in pictures.SHAPE if name in asked}
    return row


def _catalog(asked: Mapping[str, Any]) -> CatalogID:
    return replace(_parsed(str(asked.get("id", ""))), where=None, reviews=None)


def _selection(asked: Asked) -> CatalogID:
    return replace(_parsed(asked.get("id", "")), where=asked.get("where", "").strip() or None)


def _parsed(text: str) -> CatalogID:
    try:
        return CatalogID.parse(text)
    except ValueError:  # Python reads no number of so many digits
        raise ConfigError(f"{text[:40]!r} … is not a catalog ID: its version is too long") from None


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not text.isdecimal() or len(text) > 12:
        raise ConfigError(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


def _quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(AvcontrolError):  # whoever asks for a page is told
        act()
