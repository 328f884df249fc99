"""Grading estimators: run each on clips of which everything is known, and keep how far off it was."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_type_hints

import numpy as np

from catalogs.console import positive, progress
from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from catalogs.query import pin
from catalogs.root import Root
from pipelines import calibration
from pipelines.commit import run_metadata
from pipelines.estimators.card import Card
from pipelines.grade_config import GradeConfig
from pipelines.grade_table import add_grades
from pipelines.grading import FAMILIES, Marks
from pipelines.identity import canonical, child_rng, digest
from pipelines.timeline import Timeline
from pipelines.truths import Truth, of_takes, of_the_room

log = logging.getLogger("avcontrol")

GRADES_VERSION = 1
"""Raise it when an estimator that has not changed gets other grades: the room or the measures have."""

_SIZE = "320x192x25"


@dataclass(kw_only=True)
class Candidate:
    """An estimator and how it has done so far.

    Attributes:
        card: Its card.
        estimate: It, loaded.
        weights: Hash of its weights.
        marks: One for each clip that it did not refuse.
        refused: Why it refused the others.
    """

    card: Card
    estimate: Callable[..., Any]
    weights: str
    marks: list[Marks] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


def grade(config: GradeConfig, cards: Sequence[Card], *, named: bool) -> list[dict[str, Any]]:
    """Grade estimators, and add the result to the root's table.

    Args:
        config: On what, and how.
        cards: Which; families that cannot be graded are left out.
        named: Whether they were asked for by name: then one that is not ready is an error, else it is left out.

    Returns:
        A row per estimator and metric, as the table has it.

    Raises:
        ConfigError: A bad option, or none of the families can be graded.
        EstimatorUnavailable: One that was named is not ready, or none is.
    """
    positive(config.clips, "--clips")
    known = [family for family in FAMILIES if family != "pose" or config.from_catalog is not None]
    cards = [card for card in cards if card.family in known]
    if not cards:
        raise ConfigError(
            "there is no truth to grade that on",
            f"There is for {', '.join(known)}; for pose on rendered takes: --from 'scenes@3'.",
        )
    root = None if config.root is None else Root.open(config.root, create=config.from_catalog is None)
    name, truths = _truths(config, root)
    candidates = list(_ready(cards, config.settings, named))
    if not candidates:
        raise EstimatorUnavailable(
            "no such estimator is ready here", "`avcontrol estimators` says what each needs."
        )
    with progress("grade", config.clips, "clips") as advance:
        for n, truth in enumerate(truths):
            for each in candidates:
                examine(each, truth, child_rng(config.seed, each.card.family, n))
            advance(1, truth.name)
    rows = [row for each in candidates for row in rows_of(each, name, config)]
    if root is not None:
        add_grades(root, rows, run_metadata("grade", config))
    return rows


def examine(candidate: Candidate, truth: Truth, rng: np.random.Generator) -> None:
    """Let an estimator do a clip; what it says is marked, and its refusal counted."""
    try:
        candidate.marks.append(FAMILIES[candidate.card.family].mark(candidate.estimate, truth, rng))
    except UnusableClip as error:
        candidate.refused[error.reason] += 1
        log.info("%s/%s refuses %s: %s", candidate.card.family, candidate.card.name, truth.name, error)


def _truths(config: GradeConfig, root: Root | None) -> tuple[str, Iterable[Truth]]:
    """What the clips are called, and the clips."""
    given = None if config.resolution is None else Timeline.parse(config.resolution)
    if config.from_catalog is None:
        size = given or Timeline.parse(_SIZE)
        shape = (size.width, size.height, size.frames)
        name = f"room {'x'.join(map(str, shape))} seed {config.seed}"
        return name, of_the_room(config.clips, *shape, seed=config.seed)
    if root is None:
        raise ConfigError("--from needs --root", "It says where the catalog lies.")
    catalog = str(pin(root, config.from_catalog))
    name = catalog if config.resolution is None else f"{catalog} {config.resolution}"
    return name, of_takes(root, catalog, config.clips, given)


def _ready(cards: Sequence[Card], settings: Mapping[str, str], named: bool) -> Iterator[Candidate]:
    """Those that can be loaded here."""
    for card in cards:
        module = importlib.import_module(f"pipelines.estimators.{card.family}")
        given = _options(card, cards, settings)
        try:
            hashed = module.weights_hash(card.name, **_known(module.weights_hash, given))
            yield Candidate(card=card, estimate=module.load(card.name, **given), weights=hashed)
        except EstimatorUnavailable as error:
            if named:
                raise
            log.info("%s is not ready: %s", card.name, error)


def _options(card: Card, cards: Sequence[Card], settings: Mapping[str, str]) -> dict[str, Any]:
    """What was set for an estimator; of several, options begin with a name and a dot."""
    load = importlib.import_module(f"pipelines.estimators.{card.family}").load
    kinds = {name: kind for name, kind in get_type_hints(load).items() if name not in ("name", "return")}
    found: dict[str, Any] = {}
    for key, text in settings.items():
        owner, _, option = key.rpartition(".")
        if (not owner and len(cards) > 1) or (owner and owner not in {one.name for one in cards}):
            raise ConfigError(
                f"--set {key} does not say whose option it is",
                f"Write --set {cards[0].name}.{option}={text}.",
            )
        if owner in ("", card.name):
            if option not in kinds:
                raise ConfigError(f"{card.name} has no option {option!r}", f"It has: {', '.join(kinds)}.")
            try:
                found[option] = kinds[option](text)
            except ValueError:
                raise ConfigError(f"--set {key}={text} is not {kinds[option].__name__}") from None
    return found


def _known(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a function takes."""
    return {key: text for key, text in options.items() if key in inspect.signature(function).parameters}


def rows_of(candidate: Candidate, truth: str, config: GradeConfig) -> list[dict[str, Any]]:
    """What the table gets of an estimator: the mean of each metric, and with the main one the calibration."""
    family, card = FAMILIES[candidate.card.family], candidate.card
    metrics = list(candidate.marks[0].errors) if candidate.marks else [family.main]
    rows = []
    for metric in metrics:
        values = [marks.errors[metric] for marks in candidate.marks]
        identity = {
            "family": card.family,
            "estimator": card.name,
            "estimator_weights": candidate.weights,
            "truth": truth,
            "metric": metric,
        }
        curve = None
        if metric == family.main:
            clips = [(marks.figures, marks.errors[metric]) for marks in candidate.marks]
            curve = calibration.best(clips, family.figures)
        rows.append(
            {
                "grade_id": digest(**identity, asked=config.clips, seed=config.seed, code=GRADES_VERSION),
                **identity,
                "value": sum(values) / len(values) if values else None,
                "clips": len(values),
                "refused": candidate.refused.total(),
                "reasons": canonical(candidate.refused),
                "calibration": None if curve is None else calibration.written(metric, *curve),
                "code_version": str(GRADES_VERSION),
                "graded_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
    return rows
