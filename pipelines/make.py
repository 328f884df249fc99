"""Making: from the units of a segment to their samples and rejects, in one pass over the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from catalogs.errors import SourceError, UnusableClip
from catalogs.root import Root
from catalogs.schema import SCHEMA_VERSION
from pipelines import decoders
from pipelines import modality as modalities
from pipelines.audio import read_audio
from pipelines.clips import clips
from pipelines.cuts import cut_test
from pipelines.identity import digest
from pipelines.modality import Clip, Modality
from pipelines.plan import Recipe
from pipelines.probe import Probe, probe
from pipelines.sample import Span, sample_row
from pipelines.scan import local_source
from pipelines.timeline import TICKS_PER_SECOND, resample


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one modality wants of a segment.

    Attributes:
        unit: Its unit.
        recipe: How to make it.
        modality: The recipe's.
        common: Columns of all its rows.
    """

    unit: Mapping[str, Any]
    recipe: Recipe
    modality: Modality
    common: Mapping[str, Any]

    @classmethod
    def of(cls, request: Mapping[str, Any], part: Mapping[str, Any]) -> Part:
        """Of a request and one of its ``parts``."""
        recipe = Recipe(**part["recipe"])
        return cls(
            unit=part["unit"],
            recipe=recipe,
            modality=modalities.load(recipe.modality),
            common=common_columns({**request, **part}),
        )


def make(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make the units of a segment, one for each modality: frames are decoded once for all.

    Args:
        request: ``parts`` (``unit`` and ``recipe`` as dicts; same source, segment, timeline, shots), ``root`` URI,
            ``decoder``, ``run_id``, and after a crash ``from_tick``: where to begin in the segment, and ``from_part``:
            which part to begin with in the first clip.

    Yields:
        ``{"event": "clip", "span": …, "part": …}`` before each part of each clip, then
        ``{"event": "sample" | "reject", "row": …}``.

    Raises:
        StorageError: The root cannot be written; the build must stop.
    """
    parts = [Part.of(request, part) for part in request["parts"]]
    unit, timeline = parts[0].unit, parts[0].recipe.clip_timeline
    first_tick, end_tick = max(unit["segment"][0], request.get("from_tick", 0)), unit["segment"][1]

    def refuse(span: Span, stage: str, reason: str, message: str, since: int = 0) -> Iterator[dict[str, Any]]:
        return (reject(part.common, span, stage, reason, message) for part in parts[since:])

    if unit["reason"]:  # the scan found it unusable; --retry-rejects scans again
        yield from refuse((first_tick, end_tick), "scan", unit["reason"], unit["message"])
        return
    root, made, reached, since = Root.open(request["root"]), 0, first_tick, request.get("from_part", 0)
    try:
        with local_source(unit["source"]["uri"]) as path:
            unchanged(path, unit["source"])
            found = probe(path)
            decoder, why = decoders.choose(found, request["decoder"])
            problems: list[str] = []
            assert found.video is not None
            origin = found.video.start + Fraction(first_tick, TICKS_PER_SECOND)
            end = found.video.start + Fraction(end_tick, TICKS_PER_SECOND)

            def look(problems: list[str]) -> Iterator[tuple[int, Any]]:
                return resample(decoders.frames(found, decoder, origin, end, problems), timeline.fps, origin)

            is_cut = cut_test(parts[0].recipe.shots, lambda: look([]))
            for n, pictures in clips(look(problems), timeline, is_cut):
                span = (
                    first_tick + n * timeline.frame_ticks,
                    first_tick + (n + timeline.frames) * timeline.frame_ticks,
                )
                if span[1] > end_tick + timeline.frame_ticks // 2:
                    break  # the last frame is held to its end, which may lie beyond the segment's
                yield {"event": "clip", "span": span, "part": since}
                made, reached = made + 1, span[1]
                try:
                    if problems:
                        raise UnusableClip(
                            "damaged", f"{len(problems)} problems while decoding: {problems[0]}"
                        )
                    start = found.video.start + Fraction(span[0], TICKS_PER_SECOND)
                    clip = Clip(
                        frames=pictures,
                        audio=read_audio(found, start, timeline.audio_samples, timeline.sample_rate),
                        timeline=timeline,
                        caption=unit["source"]["caption"],
                        turns=unit["source"]["turns"],
                        start=span[0] / TICKS_PER_SECOND,
                        local=root.local,
                    )
                except SourceError as error:
                    yield from refuse(span, "clip", error.reason, str(error), since)
                else:
                    own = {"decoder": decoder, "decoder_reason": why, "av_offset_ms": _offset_ms(found)}
                    for index, part in enumerate(parts[since:], since):
                        yield {"event": "clip", "span": span, "part": index}
                        yield _sample(root, part, clip, span, own)
                since = 0
                problems.clear()
            if problems:
                yield from refuse((reached, end_tick), "decode", "damaged", problems[0])
    except SourceError as error:
        yield from refuse((reached, end_tick), "decode", error.reason, str(error))
        return
    if not made and not problems and "from_tick" not in request:
        have = (end_tick - first_tick) / timeline.frame_ticks
        short = have < timeline.frames - 0.5
        yield from refuse(
            (first_tick, end_tick),
            "clip",
            "too_short" if short else "no_clip_between_cuts",
            f"{have:.0f} frames at {float(timeline.fps):g} fps; a clip needs {timeline.frames}"
            + ("" if short else " between two cuts"),
        )


def _sample(root: Root, part: Part, clip: Clip, span: Span, own: Mapping[str, Any]) -> dict[str, Any]:
    """What one modality makes of a clip: a sample, or a reject."""
    try:
        if part.modality.media == "joint" and clip.audio is None:
            raise UnusableClip("no_audio_stream", f"{part.modality.name} needs sound, and there is none")
        row = sample_row(root, part.modality, part.recipe, clip, part.unit, span)
    except SourceError as error:
        return reject(part.common, span, "clip", error.reason, str(error))
    return {"event": "sample", "row": {**part.common, **row, **own}}


def unchanged(path: Path, source: Mapping[str, Any]) -> None:
    """Check that a local file is still the one that was listed.

    Raises:
        SourceError: It is gone, or its size or time differ.
    """
    if "://" in source["uri"]:
        return
    try:
        now = path.stat()
    except OSError as error:
        raise SourceError("missing", f"{path} is gone: {error.strerror}") from None
    if (now.st_size, now.st_mtime_ns) != (source["size"], source["mtime_ns"]):
        raise SourceError("source_changed", f"{path} changed while the build ran", "Start the build again.")


def _offset_ms(found: Probe) -> float | None:
    """How much later than the picture the source's sound begins; the cut makes up for it."""
    assert found.video is not None
    return None if found.audio is None else round(float((found.audio.start - found.video.start) * 1000), 3)


def common_columns(request: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that every sample and reject of a request shares."""
    unit, recipe = request["unit"], request["recipe"]
    return {
        "modality": recipe["modality"],
        "source_uri": unit["source"]["uri"],
        "source_sha256": unit["sha256"],
        "timeline": recipe["timeline"],
        "params": recipe["params"],
        "code_version": recipe["code_version"],
        "seed": recipe["seed"],
        "unit_id": unit["id"],
        "run_id": request["run_id"],
        "schema_version": SCHEMA_VERSION,
    }


def reject(common: Mapping[str, Any], span: Span, stage: str, reason: str, message: str) -> dict[str, Any]:
    """A reject: what, where, at which stage, why."""
    key = digest(unit=common["unit_id"], span=span, stage=stage, reason=reason)
    return {
        "event": "reject",
        "row": {
            **common,
            "reject_id": key,
            "span_start": span[0],
            "span_end": span[1],
            "stage": stage,
            "reason": reason,
            "message": message[:500],
        },
    }
