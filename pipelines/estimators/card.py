"""What an estimator is: one card for each, so that a listing can say what is ready here and how to get the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalogs.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Card:
    """An estimator.

    Attributes:
        name: What options call it.
        family: depth, pose, tracks, cameras, masks, faces, voice, shots or captions.
        summary: One line: what comes out, in which units.
        license: Of code and weights.
        commercial_ok: Whether what it makes may be used commercially.
        packages: Modules that must import here.
        extra: Extra of this package that installs them; "" if they are always there.
        install: The command that installs them, where an extra cannot; "" for the usual one.
        weights: Hub name or URL of the weights; "" for none, or where a package ships them.
        checkout: Git repository that must be checked out; "" for none.
    """

    name: str
    family: str
    summary: str
    license: str
    commercial_ok: bool = True
    packages: tuple[str, ...] = ()
    extra: str = ""
    install: str = ""
    weights: str = ""
    checkout: str = ""


def named(cards: Sequence[Card], name: str) -> Card:
    """The card of a family that is called ``name``.

    Raises:
        ConfigError: There is none.
    """
    for card in cards:
        if card.name == name:
            return card
    raise ConfigError(
        f"no {cards[0].family} estimator {name!r}", f"There are: {', '.join(card.name for card in cards)}."
    )
