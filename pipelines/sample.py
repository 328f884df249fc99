"""Samples: from a clip to its row, its signal, reference and target stored on the way.

Whatever was made before under the same key (a target shared by several modalities, a signal whose canvas is redrawn)
is taken from the root's memo instead of being made again.
"""

from __future__ import annotations

import io
import json
import platform
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.root import Root
from pipelines import selection
from pipelines.calibration import expected_error
from pipelines.identity import child_rng, digest
from pipelines.modality import Clip, Frames, Modality, Signal, Sound, signal_params
from pipelines.plan import STAGES_VERSION, Recipe
from pipelines.writers import write_audio, write_video

Span = tuple[int, int]


def sample_row(
    root: Root,
    modality: Modality,
    recipe: Recipe,
    clip: Clip,
    unit: Mapping[str, Any],
    span: Span,
    *,
    stored_clip: str | None = None,
) -> dict[str, Any]:
    """Select, measure, draw and store one clip; returns its row.

    Args:
        root: Where the media go.
        modality: What to make of the clip; its ``exact`` signal for a rendered take, else its ``signal``.
        recipe: How, and what the sample's identity hangs on.
        clip: The clip.
        unit: ``sha256`` of what the clip comes from, and ``source`` with caption and licence.
        span: Of the clip in its source, in ticks.
        stored_clip: The clip's own file, where the root has it already.

    Raises:
        UnusableClip: Refused by the selection or by the modality.
    """
    source, timeline = unit["source"], clip.timeline
    params = recipe.options(modality)
    rng = child_rng(recipe.seed, unit["sha256"], *span, modality.name)
    clip_key = {"sha256": unit["sha256"], "span": span, "timeline": recipe.timeline, "code": STAGES_VERSION}
    labelled = {"turns": digest(text=clip.turns)} if clip.turns else {}  # who speaks when, as the source says
    made_by = {
        "estimator": recipe.estimator,
        "weights": recipe.weights,
        "code": recipe.code_version,
        "seed": recipe.seed,
    }
    signal_key = digest(kind="signal", clip=clip_key, params=signal_params(params), **made_by, **labelled)
    figures = _figures(clip, recipe)
    measure = modality.signal if clip.view is None else modality.exact
    assert measure is not None
    signal, signal_file = _signal(root, signal_key, lambda: measure(clip, params, rng))
    if modality.sounds is not None:
        clip = replace(clip, sounds=modality.sounds(clip, signal, params))
    own = modality.columns(clip, signal, params)
    caption, caption_source = _caption(modality, recipe, clip, signal, params, source)
    sample_id = digest(
        sha256=unit["sha256"],
        span=span,
        timeline=recipe.timeline,
        modality=recipe.modality,
        params=recipe.params,
        caption=caption,
        **made_by,
        **labelled,
        **({"calibration": recipe.calibration} if recipe.calibration else {}),
    )
    made = _Keys(signal=signal_key, params=recipe.params, clip=clip_key)
    files = (
        _sounds(root, clip, made)
        if clip.sounds
        else _pictures(root, modality, clip, signal, params, made, stored_clip)
    )
    licence, commercial_ok = modality.estimator_license, modality.commercial_ok
    if modality.estimator_of is not None and clip.view is None:
        card = modality.estimator_of(params)
        licence, commercial_ok = card.license, card.commercial_ok
    heard = files.get("audio") is not None
    return {
        "sample_id": sample_id,
        "caption": caption,
        "caption_source": caption_source,
        **files,
        "streams": modality.media,
        "signals": [{"name": modality.name, "path": signal_file}],
        "width": timeline.width if clip.frames else None,
        "height": timeline.height if clip.frames else None,
        "frames": timeline.frames if clip.frames else None,
        "fps_num": timeline.fps.numerator,
        "fps_den": timeline.fps.denominator,
        "sample_rate": timeline.sample_rate if heard else None,
        "audio_samples": timeline.audio_samples if heard else None,
        "reference_downscale": modality.downscale,
        "steps": modality.steps,
        "span_start": span[0],
        "span_end": span[1],
        "estimator": recipe.estimator,
        "estimator_weights": recipe.weights,
        "estimator_license": licence,
        "commercial_ok": commercial_ok,
        "source_license": source["license"],
        "source_attribution": source["attribution"],
        "made_with": made_with(),
        "calibration": recipe.calibration or None,
        **expected_error(recipe.calibration, {**figures, **own}),
        **figures,
        **own,
    }


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """What a sample's files hang on."""

    signal: str
    params: str
    clip: Mapping[str, Any]

    def of(self, kind: str) -> str:
        """Key of a file made from the signal."""
        return digest(kind=kind, signal=self.signal, params=self.params, clip=self.clip)

    def of_clip(self, kind: str) -> str:
        """Key of a file that shows the clip itself, shared by all modalities."""
        return digest(kind=kind, clip=self.clip)


def _pictures(
    root: Root,
    modality: Modality,
    clip: Clip,
    signal: Signal,
    params: Any,
    keys: _Keys,
    stored_clip: str | None,
) -> dict[str, str | None]:
    """Canvas, target and the target's sound."""
    fps, rate, sound = clip.timeline.fps, clip.timeline.sample_rate, clip.audio
    canvas, target = modality.canvas, modality.target(clip, signal, params)
    assert canvas is not None

    def video(key: str, frames: Callable[[], Frames], gray: bool = False) -> str:
        return stored(root, key, "media", ".mp4", lambda path: write_video(path, frames(), fps, gray=gray))

    reference = video(keys.of("canvas"), lambda: canvas(clip, signal, params), modality.gray)
    if target is not None:
        shown = video(keys.of("target"), lambda: target)
    else:
        shown = stored_clip or video(keys.of_clip("clip"), lambda: clip.frames)
    heard = None
    if sound is not None:
        heard = stored(
            root, keys.of_clip("sound"), "media", ".flac", lambda path: write_audio(path, sound, rate)
        )
    return {"video": shown, "reference_video": reference, "audio": heard}


def _sounds(root: Root, clip: Clip, keys: _Keys) -> dict[str, str | None]:
    """Reference and target of a modality of sound alone."""
    assert clip.sounds is not None
    rate = clip.timeline.sample_rate

    def flac(name: str, sound: Sound) -> str:
        return stored(root, keys.of(name), "media", ".flac", lambda path: write_audio(path, sound, rate))

    reference, target = clip.sounds
    return {"reference_audio": flac("reference_audio", reference), "audio": flac("audio", target)}


def _figures(clip: Clip, recipe: Recipe) -> dict[str, float]:
    """The figures that every clip with pictures has.

    Raises:
        UnusableClip: The selection refuses it.
    """
    if not clip.frames:
        return {}
    measures = clip.measures
    selection.check(measures, selection.Selection(**json.loads(recipe.selection)))
    return {
        "quality": measures.quality,
        "motion": measures.motion,
        "brightness": measures.brightness,
        "sharpness": measures.sharpness,
    }


def _signal(root: Root, key: str, measure: Callable[[], Signal]) -> tuple[Signal, str]:
    """The signal under ``key`` and the file that keeps it; measured only if no such file exists."""
    kept = root.recall(key)
    if kept is not None:
        with np.load(root.local(kept), allow_pickle=False) as arrays:
            return dict(arrays), kept
    signal = measure()

    return signal, stored(root, key, "signals", ".npz", lambda path: write_npz(path, signal))


def write_npz(path: Path, arrays: Signal) -> None:
    """What ``np.savez_compressed`` writes, at zlib's level 1: a fifth of its time for a third more bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so equal arrays give equal bytes
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(arrays[name]), allow_pickle=False)
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, 1)


def stored(root: Root, key: str, kind: str, suffix: str, write: Callable[[Path], None]) -> str:
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


def _caption(
    modality: Modality, recipe: Recipe, clip: Clip, signal: Signal, params: Any, source: Mapping[str, Any]
) -> tuple[str, str]:
    """The prompt, and where it came from."""
    if modality.caption is not None:
        return modality.caption(clip, signal, params), modality.name
    if source["caption"] or not recipe.captioner or not clip.frames:
        return source["caption"], source["caption_source"]
    from pipelines.estimators.captions import captioner

    return captioner(recipe.captioner)(clip.frames), f"model {recipe.captioner}"


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
