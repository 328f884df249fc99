"""Catalog IDs: ``NAME``, ``NAME@VERSION`` and ``NAME@VERSION?WHERE``.

Reviews are a table of their own beside the samples. An ID whose WHERE reads them (``review='accept'``) is pinned
with their version too, after a plus: ``canny@3+5?review='accept'``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from catalogs.errors import ConfigError

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.IGNORECASE | re.ASCII)
"""Of a catalog, and of a tag."""
_ID = re.compile(r"(?P<name>[^@?]+)(?:@(?P<version>[^?]*))?(?:\?(?P<where>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class CatalogID:
    """A view of a catalog. Pinned, it resolves to the same rows forever.

    It is pinned when ``version`` is a number, and ``reviews`` too if WHERE reads the reviews.

    Attributes:
        name: The catalog.
        version: Delta version of its samples table, or a tag that names one; None means the latest.
        where: SQL condition over the sample columns, and ``review`` and ``review_note``; None means every row.
        reviews: Delta version of its reviews table; None means the latest.
    """

    name: str
    version: int | str | None = None
    where: str | None = None
    reviews: int | None = None

    @classmethod
    def parse(cls, text: str) -> CatalogID:
        """Parse ``canny``, ``canny@3``, ``canny@best``, ``canny@3?quality>0.5`` or ``canny@3+5?review='accept'``.

        Raises:
            ConfigError: Not of that form.
        """
        match = _ID.fullmatch(text.strip())
        if not match or not NAME.fullmatch(match["name"]):
            raise ConfigError(
                f"{text!r} is not a catalog ID", "Write NAME, NAME@VERSION or 'NAME@VERSION?WHERE'."
            )
        version, plus, reviews = (match["version"] or "").partition("+")
        named = match["version"] is not None
        if (named and not NAME.fullmatch(version)) or (plus and not reviews.isdecimal()):
            raise ConfigError(
                f"version {match['version']!r} in {text!r} is not a number and no tag",
                "Write NAME@VERSION, e.g. canny@3 or canny@best.",
            )
        where = (match["where"] or "").strip() or None
        number = int(version) if version.isdecimal() else version or None
        return cls(name=match["name"], version=number, where=where, reviews=int(reviews) if plus else None)

    def at(self, version: int | str) -> CatalogID:
        """The same view, pinned to ``version``."""
        return replace(self, version=version)

    def __str__(self) -> str:
        version = "" if self.version is None else f"@{self.version}"
        reviews = "" if self.reviews is None else f"+{self.reviews}"
        return f"{self.name}{version}{reviews}" + (f"?{self.where}" if self.where else "")
