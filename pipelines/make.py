"""Making: from one unit of a plan to its samples and rejects, in one pass over the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from pipelines.modality import Clip
from pipelines.plan import Recipe
from pipelines.probe import Probe, probe
from pipelines.sample import Span, sample_row
from pipelines.scan import local_source
from pipelines.timeline import TICKS_PER_SECOND, resample


def make(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make one unit.

    Args:
        request: ``unit`` and ``recipe`` as dicts, ``root`` URI, ``decoder``, ``run_id``, and ``from_tick``: where to
            begin in the unit's segment (not at its start after a crash).

    Yields:
        ``{"event": "clip", "span": …}`` before each clip, then ``{"event": "sample" | "reject", "row": …}``.

    Raises:
        StorageError: The root cannot be written; the build must stop.
    """
    unit, recipe = request["unit"], Recipe(**request["recipe"])
    root, timeline = Root.open(request["root"]), recipe.clip_timeline
    modality = modalities.load(recipe.modality)
    if modality.media == "audio":
        from pipelines.make_sound import make_sound

        yield from make_sound(request)
        return
    first_tick, end_tick = max(unit["segment"][0], request.get("from_tick", 0)), unit["segment"][1]
    common = common_columns(request)
    if unit["reason"]:  # the scan found it unusable; --retry-rejects scans again
        yield reject(common, (first_tick, end_tick), "scan", unit["reason"], unit["message"])
        return
    made, reached = 0, first_tick
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

            is_cut = cut_test(recipe.shots, lambda: look([]))
            for n, pictures in clips(look(problems), timeline, is_cut):
                span = (
                    first_tick + n * timeline.frame_ticks,
                    first_tick + (n + timeline.frames) * timeline.frame_ticks,
                )
                if span[1] > end_tick + timeline.frame_ticks // 2:
                    break  # the last frame is held to its end, which may lie beyond the segment's
                yield {"event": "clip", "span": span}
                made, reached = made + 1, span[1]
                try:
                    if problems:
                        raise UnusableClip(
                            "damaged", f"{len(problems)} problems while decoding: {problems[0]}"
                        )
                    start = found.video.start + Fraction(span[0], TICKS_PER_SECOND)
                    sound = read_audio(found, start, timeline.audio_samples, timeline.sample_rate)
                    clip = Clip(
                        frames=pictures,
                        audio=sound,
                        timeline=timeline,
                        caption=unit["source"]["caption"],
                        turns=unit["source"]["turns"],
                        start=span[0] / TICKS_PER_SECOND,
                        local=root.local,
                    )
                    if modality.media == "joint" and sound is None:
                        raise UnusableClip(
                            "no_audio_stream", f"{modality.name} needs sound, and there is none"
                        )
                    row = sample_row(root, modality, recipe, clip, unit, span)
                    yield {
                        "event": "sample",
                        "row": {
                            **common,
                            **row,
                            "decoder": decoder,
                            "decoder_reason": why,
                            "av_offset_ms": _offset_ms(found),
                        },
                    }
                except SourceError as error:
                    yield reject(common, span, "clip", error.reason, str(error))
                problems.clear()
            if problems:
                yield reject(common, (reached, end_tick), "decode", "damaged", problems[0])
    except SourceError as error:
        yield reject(common, (reached, end_tick), "decode", error.reason, str(error))
        return
    if not made and not problems and "from_tick" not in request:
        have = (end_tick - first_tick) / timeline.frame_ticks
        short = have < timeline.frames - 0.5
        yield reject(
            common,
            (first_tick, end_tick),
            "clip",
            "too_short" if short else "no_clip_between_cuts",
            f"{have:.0f} frames at {float(timeline.fps):g} fps; a clip needs {timeline.frames}"
            + ("" if short else " between two cuts"),
        )


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
