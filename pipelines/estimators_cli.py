"""The command ``avcontrol estimators``: what can measure what, and what each still needs here."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import click

from catalogs.console import listing

FAMILIES = ("depth", "tracks")
"""Families whose modules say what they have in ``ESTIMATORS``."""


@click.command("estimators")
@listing
def estimators() -> list[dict[str, Any]]:
    """List the estimators: what each gives, its licence, whether it is ready here, and what it still needs."""
    return [
        {
            "family": card.family,
            "name": card.name,
            "gives": card.summary,
            "license": card.license,
            "commercial_ok": card.commercial_ok,
            "needs": ", ".join(_needs(card)) or "nothing: ready",
        }
        for family in FAMILIES
        for card in importlib.import_module(f"pipelines.estimators.{family}").ESTIMATORS
    ]


def _needs(card: Any) -> list[str]:
    """What is missing here, in words."""
    missing = [f"package {name}" for name in card.packages if importlib.util.find_spec(name) is None]
    if card.checkout:
        missing.append(f"--set checkout=FOLDER of {card.checkout}")
    if card.weights and not _cached(card.weights):
        missing.append(f"weights {card.weights}")
    return missing


def _cached(weights: str) -> bool:
    """Whether a hub's weights lie in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return weights in {repo.repo_id for repo in scan_cache_dir().repos}
    except CacheNotFound:
        return False
