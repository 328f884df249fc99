"""Catalog IDs: ``NAME``, ``NAME@VERSION`` and ``NAME@VERSION?WHERE``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from catalogs.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.IGNORECASE | re.ASCII)
_ID = re.compile(r"(?P<name>[^@?]+)(?:@(?P<version>[^?]*))?(?:\?(?P<where>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class CatalogID:
    """A view of a catalog. Pinned (``version`` is a number), it resolves to the same rows forever.

    Attributes:
        name: The catalog.
        version: Delta version of its samples table; None means the latest.
        where: SQL condition over the sample columns; None means every row.
    """

    name: str
    version: int | None = None
    where: str | None = None

    @classmethod
    def parse(cls, text: str) -> CatalogID:
        """Parse ``canny``, ``canny@3`` or ``canny@3?quality>0.5``.

        Raises:
            ConfigError: Not of that form.
        """
        match = _ID.fullmatch(text.strip())
        if not match or not _NAME.fullmatch(match["name"]):
            raise ConfigError(
                f"{text!r} is not a catalog ID", "Write NAME, NAME@VERSION or 'NAME@VERSION?WHERE'."
            )
        version = match["version"]
        if version is not None and not version.isdecimal():
            raise ConfigError(
                f"version {version!r} in {text!r} is not a number", "Write NAME@VERSION, e.g. canny@3."
            )
        where = (match["where"] or "").strip() or None
        return cls(name=match["name"], version=int(version) if version else None, where=where)

    def at(self, version: int) -> CatalogID:
        """The same view, pinned to ``version``."""
        return replace(self, version=version)

    def __str__(self) -> str:
        version = "" if self.version is None else f"@{self.version}"
        return f"{self.name}{version}" + (f"?{self.where}" if self.where else "")
