"""Estimators that measure one signal together: what the sample says it was made by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pipelines.estimators.card import Card


def joined(cards: Sequence[Card]) -> Card:
    """One card for several: names and licences joined by ``+``, commercial use only where all of them allow it.

    Args:
        cards: One or more, in the order in which their work builds on each other; one alone stays as it is.
    """
    if len(cards) == 1:
        return cards[0]
    return Card(
        name="+".join(card.name for card in cards),
        family="+".join(_once(card.family for card in cards)),
        summary="; ".join(card.summary for card in cards),
        license=" + ".join(_once(card.license for card in cards)),
        commercial_ok=all(card.commercial_ok for card in cards),
        packages=tuple(_once(package for card in cards for package in card.packages)),
    )


def joined_weights(hashes: Sequence[str]) -> str:
    """Hash of all their weights, each of which is "" for none: "" if all are, the one's own where there is but one."""
    if len(hashes) == 1 or not any(hashes):
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
