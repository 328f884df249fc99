"""A canvas for a clip of one's own: what `generate` takes for a reference, with nothing built."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError, InputError
from catalogs.root import storage_errors
from pipelines import decoders
from pipelines import modality as modalities
from pipelines.clips import clips
from pipelines.config import CanvasConfig
from pipelines.identity import child_rng
from pipelines.modality import Clip, Frames, Modality
from pipelines.probe import probe
from pipelines.timeline import Timeline, fit, resample
from pipelines.writers import write_video

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def canvas(config: CanvasConfig) -> Path:
    """Draw the canvas of a modality from a clip or a picture, and write it.

    Raises:
        ConfigError: A bad option, or a modality that has no canvas of a clip.
        InputError: No clip, or one that is too short.
        UnusableClip: The modality finds nothing in it.
        EstimatorUnavailable: What measures it is not here.
    """
    modality = modalities.load(config.modality)
    params = modalities.make_params(modality, config.settings)
    params = modalities.with_checkouts(params, config.estimator_path)
    timeline = Timeline.parse(config.resolution, config.fps)
    if modality.canvas is None or modality.signal is None:
        raise ConfigError(
            f"{modality.name} draws no canvas of a clip",
            "Its reference is sound; see `generate --reference-loudness`."
            if modality.media == "audio"
            else "It is made from rendered scenes.",
        )
    if config.out.suffix != ".mp4":
        raise ConfigError(f"--out {config.out} is no .mp4", "A reference is a video.")
    clip = Clip(frames=_frames(config, timeline), audio=None, timeline=timeline, start=config.start)
    pictures = drawn(modality, clip, params, child_rng(config.seed, str(config.input.name), modality.name))
    with storage_errors(config.out):
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_video(config.out, pictures, timeline.fps, gray=modality.gray)
    return config.out


def drawn(modality: Modality, clip: Clip, params: Any, rng: np.random.Generator) -> Frames:
    """A modality's canvas of a clip; of a single picture held for the clip's length where it has no other way."""
    trajectory: str = getattr(params, "trajectory", "")
    if trajectory and modality.reference is not None:
        return modality.reference(clip, params)
    if len(clip.frames) < clip.timeline.frames:
        clip = Clip(frames=[clip.frames[0]] * clip.timeline.frames, audio=None, timeline=clip.timeline)
    assert modality.signal is not None and modality.canvas is not None
    return modality.canvas(clip, modality.signal(clip, params, rng), params)


def _frames(config: CanvasConfig, timeline: Timeline) -> list[NDArray[np.uint8]]:
    """The clip's first frames, or the one picture."""
    if not config.input.is_file():
        raise InputError(f"there is no file {config.input}")
    if config.input.suffix.lower() in PICTURES:
        picture = cv2.imread(str(config.input), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise InputError(f"{config.input} is no picture that decodes")
        return [fit(np.asarray(picture, np.uint8), timeline)]
    found = probe(config.input)
    if found.video is None:
        raise InputError(f"{config.input} has no pictures")
    origin = found.video.start + Fraction(config.start).limit_denominator(10_000)
    decoder, _ = decoders.choose(found, "auto")
    shown = resample(decoders.frames(found, decoder, origin), timeline.fps, origin)
    for _, pictures in clips(shown, timeline, lambda n, pixels: False):
        return pictures
    raise InputError(
        f"{config.input} is shorter than {timeline.frames} frames from {config.start:g} s on",
        "Say fewer: --resolution WIDTHxHEIGHTxFRAMES.",
    )
