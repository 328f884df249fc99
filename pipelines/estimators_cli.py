"""The command ``avcontrol estimators``: what can measure what, what each still needs here, and how good it is."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from catalogs.console import emit, listing
from catalogs.errors import ConfigError, EstimatorUnavailable
from catalogs.options import options
from pipelines.estimators.card import Card
from pipelines.grade_config import GradeConfig

FAMILIES = ("depth", "pose", "tracks", "cameras", "masks", "faces")
"""Families whose modules say what they have in ``ESTIMATORS``."""


@click.group("estimators", invoke_without_command=True)
@click.option("--json", "style", flag_value="json", help="Print JSON.")
@click.option("--csv", "style", flag_value="csv", help="Print CSV.")
@click.pass_context
def estimators(context: click.Context, style: str | None) -> None:
    """List the estimators: what each gives, its licence, whether it is ready here, and how to get what it lacks."""
    if context.invoked_subcommand is None:
        emit([_row(card) for card in cards()], style)


@estimators.command("grade")
@click.argument("names", nargs=-1, metavar="[FAMILY|NAME]...")
@listing
@options(GradeConfig)
def grade(config: GradeConfig, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Grade estimators against exact truth: a textured room, or rendered takes (--from).

    All that are ready, or those of some families or names; cameras/colmap is the one of that family. A clip that an
    estimator refuses is counted, with the reason, and not held against its errors. With --root the result is kept
    there: samples made later by the same weights get an expected_error.
    """
    from pipelines.grades import grade as run

    chosen, named = choose(names)
    return [
        {
            key: row[key]
            for key in ("family", "estimator", "truth", "metric", "value", "clips", "refused", "reasons")
        }
        for row in run(config, chosen, named=named)
    ]


def cards() -> list[Card]:
    """Every estimator's card, the default of each family first."""
    return [
        card
        for family in FAMILIES
        for card in getattr(importlib.import_module(f"pipelines.estimators.{family}"), "ESTIMATORS", ())
    ]


def choose(names: Sequence[str]) -> tuple[list[Card], bool]:
    """The cards of families or names; all for none. Also whether only names were given.

    Raises:
        ConfigError: There is no such family or estimator.
    """
    every = cards()
    known = {*FAMILIES, *(card.name for card in every), *(f"{card.family}/{card.name}" for card in every)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(f"no estimator {name!r}", f"{guess}`avcontrol estimators` lists them.")
    wanted = set(names) or set(FAMILIES)
    chosen = [card for card in every if wanted & {card.family, card.name, f"{card.family}/{card.name}"}]
    return chosen, bool(names) and not set(names) & set(FAMILIES)


def _row(card: Card) -> dict[str, Any]:
    lacking = missing(card)
    return {
        "family": card.family,
        "name": card.name,
        "gives": card.summary,
        "license": card.license,
        "commercial_ok": card.commercial_ok,
        "ready": not lacking,
        "missing": ", ".join(lacking) or "nothing",
        "needs": " && ".join(lacking.values()) or "nothing: ready",
    }


def missing(card: Card) -> dict[str, str]:
    """What is not here, and the command that gets it."""
    lacking = {}
    absent = [name for name in card.packages if not _importable(name)]
    if absent:
        wanted = f"'avcontrol[{card.extra}]'" if card.extra else " ".join(absent)
        lacking[f"packages {' '.join(absent)}"] = card.install or f"pip install {wanted}"
    if card.checkout:
        folder = card.checkout.rstrip("/").rpartition("/")[2].removesuffix(".git")
        lacking[f"checkout={folder}"] = f"git clone {card.checkout}"
    if card.weights and not _cached(card.weights):
        lacking["weights"] = _download(card)
    if not lacking and not card.weights:  # whatever else it may need, it says so itself
        try:
            importlib.import_module(f"pipelines.estimators.{card.family}").load(card.name)
        except EstimatorUnavailable as error:
            return {error.message: error.hint}
    return lacking


def _download(card: Card) -> str:
    """The command that gets the weights: the estimator's own, which names the files, where it says one."""
    if "://" in card.weights:
        return f"curl -LO {card.weights}"
    try:
        importlib.import_module(f"pipelines.estimators.{card.family}").weights_hash(card.name)
    except EstimatorUnavailable as error:
        if said := re.search(r"`(hf download [^`]+)`", error.hint):
            return said[1]
    return f"hf download {card.weights}"


def _importable(name: str) -> bool:
    with suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


def _cached(weights: str) -> bool:
    """Whether a hub's weights lie in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return weights in {repo.repo_id for repo in scan_cache_dir().repos}
    except CacheNotFound:
        return False
