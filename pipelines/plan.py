"""Planning: which work units a build consists of, and which of them are still to do.

A unit is a segment of a source, to be made into the samples of one recipe (modality, parameters, timeline,
code). Its ID is a hash of all it depends on, so a unit in the ledger needs nothing, and a changed source,
parameter, estimator or stage gives another ID for exactly the units it touches.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalogs.errors import ConfigError
from pipelines import modality as modalities
from pipelines.clips import segments
from pipelines.identity import canonical, digest
from pipelines.modality import Modality
from pipelines.selection import Selection
from pipelines.sources import Source
from pipelines.timeline import TICKS_PER_SECOND, Timeline
from training.backbone import FACTORS

STAGES_VERSION = 1
"""Version of the stages all modalities share (decode, resample, cut, select, encode); raise it with their
output."""

_SEGMENT_SECONDS = 120
_UNREADABLE = ("zero_byte", "unreadable", "missing", "timeout", "crashed")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything besides the source that a sample depends on.

    Attributes:
        modality: The modality's name.
        params: Its options, canonical JSON, but for the places.
        timeline: The clip's size, rate and length.
        estimator, weights: What measures the signal.
        code_version: Versions of the shared stages and of the modality.
        seed: Base of every random draw.
        selection: Which clips are refused, canonical JSON.
        captioner: Model that writes missing captions; "" for none.
        shots: The shot detector.
        places: Where on this machine what the options name lies, canonical JSON; no part of the identity.
        calibration: How the estimator's figures tell its error (:mod:`pipelines.calibration`); "" where it was never
            graded, and then no part of the identity.
    """

    modality: str
    params: str
    timeline: str
    estimator: str
    weights: str
    code_version: str
    seed: int
    selection: str
    captioner: str
    shots: str
    places: str = "{}"
    calibration: str = ""

    @classmethod
    def of(
        cls,
        modality: Modality,
        params: Any,
        timeline: Timeline,
        *,
        seed: int = 0,
        selection: Selection | None = None,
        captioner: str = "",
        shots: str = "content",
        estimator: str | None = None,
    ) -> Recipe:
        """The recipe of a modality with given options; ``estimator`` where it is not the modality's own."""
        weights = modality.weights
        if estimator is None and modality.estimator_of is not None:
            estimator = modality.estimator_of(params).name
            weights = modality.weights_of(params) if modality.weights_of is not None else weights
        return cls(
            modality=modality.name,
            params=canonical(modalities.sample_params(params)),
            places=canonical(modalities.places(params)),
            timeline=timeline.canonical(),
            estimator=modality.estimator if estimator is None else estimator,
            weights=weights,
            code_version=f"{STAGES_VERSION}.{modality.version}",
            seed=seed,
            selection=canonical(dataclasses.asdict(selection or Selection())),
            captioner=captioner,
            shots=shots,
        )

    @property
    def id(self) -> str:
        """Hash of the recipe."""
        parts = dataclasses.asdict(self)
        del parts["places"]
        if not self.calibration:
            del parts["calibration"]
        return digest(**parts)

    def options(self, modality: Modality) -> Any:
        """The modality's options."""
        return modality.params(**json.loads(self.params), **json.loads(self.places))

    @property
    def clip_timeline(self) -> Timeline:
        """The timeline, read back from its canonical form."""
        size, fps, rate = re.split("[@+]", self.timeline)
        return Timeline.parse(size, fps, int(rate))


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A segment of a source under a recipe: what one worker does in one go.

    Attributes:
        id: Hash of all that the unit's samples depend on.
        source: The source.
        sha256: Hash of the source's bytes.
        segment: [start, end) in ticks from the source's first video frame.
        reason, message: Why the source cannot be used, where it cannot.
    """

    id: str
    source: Source
    sha256: str
    segment: tuple[int, int]
    reason: str | None = None
    message: str | None = None

    @property
    def seconds(self) -> float:
        """Length of the segment."""
        return (self.segment[1] - self.segment[0]) / TICKS_PER_SECOND


def make_plan(sources: Iterable[Source], scanned: dict[str, dict[str, Any]], recipe: Recipe) -> list[Unit]:
    """All units of a build.

    Args:
        sources: What was listed.
        scanned: Rows of the ``sources`` table by source ID; sources without one are left out.
        recipe: What to make of them.
    """
    timeline, sound = recipe.clip_timeline, modalities.load(recipe.modality).media == "audio"
    per_segment = max(1, -(-_SEGMENT_SECONDS * TICKS_PER_SECOND // timeline.ticks))
    recipe_id, units = recipe.id, []
    for source in sources:
        row = scanned.get(source.id)
        if row is None:
            continue
        reason, message = row["reason"], row["message"]
        if sound:  # what has no pictures may be heard
            silent = not row["sound_ticks"]
            reason = (reason if reason in _UNREADABLE else "no_audio_stream") if silent else None
            message = (message or f"{source.uri} has no audio stream that decodes") if silent else None
        for segment in segments(row["sound_ticks" if sound else "ticks"], timeline, per_segment):
            sha256 = row["sha256"] or ""
            unit = digest(
                recipe=recipe_id,
                sha256=sha256 or source.id,
                segment=list(segment),
                caption=source.caption,
                license=source.license,
                attribution=source.attribution,
                **({"turns": source.turns} if source.turns else {}),
            )
            units.append(
                Unit(
                    id=unit,
                    source=source,
                    sha256=sha256,
                    segment=segment,
                    reason=reason,
                    message=message,
                )
            )
    return units


def load_recipe(
    name: str,
    settings: dict[str, str],
    timeline: Timeline,
    *,
    checkouts: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[Modality, Any, Recipe]:
    """A modality, its options and the recipe they make.

    Args:
        name: The modality's.
        settings: Of its options.
        timeline: Of the clips.
        checkouts: Folders of estimators' code, by the estimators' names.
        options: See :meth:`Recipe.of`.

    Raises:
        ConfigError: A bad option or size.
    """
    modality = modalities.load(name)
    params = modalities.with_checkouts(modalities.make_params(modality, settings), checkouts or {})
    step = FACTORS.space * modality.downscale
    if timeline.width % step or timeline.height % step:
        near = [max(step, side // step * step) for side in (timeline.width, timeline.height)]
        scale, size = f"1/{modality.downscale}", f"{timeline.width}x{timeline.height}"
        raise ConfigError(
            f"{modality.name} draws its canvas at {scale} size: width and height must be "
            f"multiples of {step}, not {size}",
            f"Nearest: {near[0]}x{near[1]}x{timeline.frames}",
        )
    return modality, params, Recipe.of(modality, params, timeline, **options)
