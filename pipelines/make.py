"""Making: from one unit of a plan to its samples and rejects, in one pass over the frames.

Whatever was made before under the same key (a target shared by several modalities, a signal whose canvas is redrawn)
is taken from the root's memo instead of being made again.
"""

from __future__ import annotations

import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.errors import SourceError, UnusableClip
from catalogs.root import Root
from catalogs.schema import SCHEMA_VERSION
from pipelines import decoders, selection
from pipelines import modality as modalities
from pipelines.audio import read_audio
from pipelines.clips import clips
from pipelines.identity import child_rng, digest
from pipelines.modality import Clip, Modality, Signal, signal_params
from pipelines.plan import STAGES_VERSION, Recipe
from pipelines.probe import Probe, probe
from pipelines.scan import local_source
from pipelines.cuts import cut_test
from pipelines.timeline import TICKS_PER_SECOND, resample
from pipelines.writers import write_audio, write_video

Span = tuple[int, int]


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
    first_tick, end_tick = max(unit["segment"][0], request.get("from_tick", 0)), unit["segment"][1]
    common = common_columns(request)
    if unit["reason"]:  # the scan found it unusable; --retry-rejects scans again
        yield reject(common, (first_tick, end_tick), "scan", unit["reason"], unit["message"])
        return
    made, reached = 0, first_tick
    try:
        with local_source(unit["source"]["uri"]) as path:
            _unchanged(path, unit["source"])
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
                    clip = Clip(frames=pictures, audio=sound, timeline=timeline)
                    row = _sample(root, modality, recipe, clip, unit, span)
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


def _sample(
    root: Root, modality: Modality, recipe: Recipe, clip: Clip, unit: Mapping[str, Any], span: Span
) -> dict[str, Any]:
    """Select, measure, draw and store one clip; returns its row.

    Raises:
        UnusableClip: Refused by the selection or by the modality.
    """
    measures = selection.measure(list(clip.frames))
    selection.check(measures, selection.Selection(**json.loads(recipe.selection)))
    source, timeline = unit["source"], clip.timeline
    params = modality.params(**json.loads(recipe.params))
    rng = child_rng(recipe.seed, unit["sha256"], *span, modality.name)
    clip_key = {"sha256": unit["sha256"], "span": span, "timeline": recipe.timeline, "code": STAGES_VERSION}
    signal_key = digest(
        kind="signal",
        clip=clip_key,
        estimator=recipe.estimator,
        weights=recipe.weights,
        params=signal_params(params),
        code=recipe.code_version,
        seed=recipe.seed,
    )
    caption, caption_source = _caption(recipe, clip, source)
    sample_id = digest(
        sha256=unit["sha256"],
        span=span,
        timeline=recipe.timeline,
        modality=recipe.modality,
        estimator=recipe.estimator,
        weights=recipe.weights,
        params=recipe.params,
        code=recipe.code_version,
        seed=recipe.seed,
        caption=caption,
    )

    signal, signal_file = _signal(root, signal_key, lambda: modality.signal(clip, params, rng))
    own = modality.columns(clip, signal, params)
    target = modality.target(clip, signal, params)

    def video(key: str, frames: modalities.Frames, gray: bool) -> str:
        return _stored(
            root, key, "media", ".mp4", lambda path: write_video(path, frames, timeline.fps, gray=gray)
        )

    canvas_key = digest(kind="canvas", signal=signal_key, params=recipe.params, clip=clip_key)
    reference = _stored(
        root,
        canvas_key,
        "media",
        ".mp4",
        lambda path: write_video(
            path, modality.canvas(clip, signal, params), timeline.fps, gray=modality.gray
        ),
    )
    if target is None:
        target_file = video(digest(kind="clip", clip=clip_key), clip.frames, False)
    else:
        target_file = video(
            digest(kind="target", signal=signal_key, params=recipe.params, clip=clip_key), target, False
        )
    sound = clip.audio
    sound_file = (
        None
        if sound is None
        else _stored(
            root,
            digest(kind="sound", clip=clip_key),
            "media",
            ".flac",
            lambda path: write_audio(path, sound, timeline.sample_rate),
        )
    )
    return {
        "sample_id": sample_id,
        "caption": caption,
        "caption_source": caption_source,
        "video": target_file,
        "reference_video": reference,
        "audio": sound_file,
        "signals": [{"name": modality.name, "path": signal_file}],
        "width": timeline.width,
        "height": timeline.height,
        "frames": timeline.frames,
        "fps_num": timeline.fps.numerator,
        "fps_den": timeline.fps.denominator,
        "sample_rate": timeline.sample_rate if sound is not None else None,
        "audio_samples": timeline.audio_samples if sound is not None else None,
        "reference_downscale": modality.downscale,
        "steps": modality.steps,
        "span_start": span[0],
        "span_end": span[1],
        "estimator": recipe.estimator,
        "estimator_weights": recipe.weights,
        "estimator_license": modality.estimator_license,
        "commercial_ok": modality.commercial_ok,
        "source_license": source["license"],
        "source_attribution": source["attribution"],
        "made_with": made_with(),
        "quality": measures.quality,
        "motion": measures.motion,
        "brightness": measures.brightness,
        "sharpness": measures.sharpness,
        **own,
    }


def _signal(root: Root, key: str, measure: Callable[[], Signal]) -> tuple[Signal, str]:
    """The signal under ``key`` and the file that keeps it; measured only if no such file exists."""
    kept = root.recall(key)
    if kept is not None:
        with np.load(root.local(kept), allow_pickle=False) as arrays:
            return dict(arrays), kept
    signal = measure()

    return signal, _stored(root, key, "signals", ".npz", lambda path: write_npz(path, signal))


def write_npz(path: Path, arrays: Signal) -> None:
    """What ``np.savez_compressed`` writes, at zlib's level 1: a fifth of its time for a third more bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so equal arrays give equal bytes
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(arrays[name]), allow_pickle=False)
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, 1)


def _stored(root: Root, key: str, kind: str, suffix: str, write: Callable[[Path], None]) -> str:
    """The file under ``key``; written and content-addressed only if no such file exists."""
    kept = root.recall(key)
    if kept is None:
        scratch = root.scratch(suffix)
        try:
            write(scratch)
            kept = root.put(scratch, kind)
        finally:
            scratch.unlink(missing_ok=True)
        root.remember(key, kept)
    return kept


def _caption(recipe: Recipe, clip: Clip, source: Mapping[str, Any]) -> tuple[str, str]:
    if source["caption"] or not recipe.captioner:
        return source["caption"], source["caption_source"]
    from pipelines.estimators.captions import captioner

    return captioner(recipe.captioner)(clip.frames), f"model {recipe.captioner}"


def _unchanged(path: Path, source: Mapping[str, Any]) -> None:
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


@cache
def made_with() -> str:
    """Versions of what decodes, draws and encodes, as JSON; not part of a sample's identity."""
    import av
    import cv2

    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return json.dumps(
        {
            "python": platform.python_version(),
            "av": av.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
            "libavcodec": libraries["libavcodec"],
        },
        sort_keys=True,
    )
