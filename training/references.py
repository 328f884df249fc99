"""What a generation is given to follow: pictures and sounds from catalogs and from files, fitted to the clip."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from training import fitting, intensity, media, strength
from training.backbone import FACTORS
from training.config import SHORTEST, GenerateConfig
from training.fitting import Drawn, Video
from training.stack import Layer
from training.strength import Strength

_GIVE = {
    "video": "give --reference-video or --sample",
    "audio": "give --reference-audio, --reference-loudness or --sample",
}


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A reference sound: float32 [channels, N] at `rate` Hz, and how strongly it is heeded."""

    samples: np.ndarray
    rate: int
    strength: Strength


@dataclass(frozen=True, kw_only=True)
class References:
    """What is put on the canvases beside the noise.

    Attributes:
        streams: What is made: video, audio or joint.
        video: The reference videos, fitted.
        audio: The reference sounds, no longer than what is made.
        begin: uint8 RGB [F, H, W, 3], what the clip begins with; no frames where it is free.
        prompt: What should come out.
        size: (W, H, F) of the clip; zeros where sound alone is made.
        fps: Frames a second.
        seconds: Length.
    """

    streams: str
    video: Sequence[Video]
    audio: Sequence[Sound]
    begin: np.ndarray
    prompt: str
    size: tuple[int, int, int]
    fps: float
    seconds: float


def read(config: GenerateConfig, layers: Sequence[Layer]) -> References:
    """Gather the references and fit them to the latent grid.

    Files replace what samples have for that stream. A stream's references lie on its canvas in the order
    given, the first with the first adapter that reads one there.

    Args:
        config: The generation.
        layers: Its adapters.

    Raises:
        ConfigError: References, adapters, streams and size do not go together.
        CatalogNotFound: No such sample.
        InputError: A file cannot be read.
    """
    root = Root.open(str(config.root)) if config.sample else None
    rows = [_row(root, sample) for sample in config.sample] if root else []
    videos = [(file, 1) for file in config.reference_video] or [
        (root.local(row["reference_video"]), int(row["reference_downscale"] or 1))
        for row in rows
        if root and row["reference_video"]
    ]
    sounds = list(config.reference_audio)
    if not sounds and config.reference_loudness is None:
        sounds = [root.local(row["reference_audio"]) for row in rows if root and row["reference_audio"]]
    count = {"video": len(videos), "audio": len(sounds) + (config.reference_loudness is not None)}
    streams = _streams(config, layers, count)
    _check(config, layers, streams, count)
    count |= {kind: 0 for kind in count if streams not in (kind, "joint")}
    strengths, masks = strength.read(config, count["video"], count["audio"])

    prompt = config.prompt if config.prompt is not None else (rows[0]["caption"] or "" if rows else "")
    size, fps, clips, begin = (0, 0, 0), config.fps or 24.0, [], np.zeros((0, 1, 1, 3), np.uint8)
    if streams != "audio":
        scales = _scales(config, layers, [drawn for _, drawn in videos])
        fps = config.fps or (float(media.frame_rate(videos[0][0])) if videos else 24.0)
        if config.resolution is not None:  # checked before anything is decoded
            size = fitting.size_of(config, [], fps, math.lcm(*scales))
        found = [
            Drawn(frames=frames, rate=rate, scale=drawn)
            for (frames, rate), drawn in (
                (media.read_video(file, limit=_needed(config, file, mask, size[2], fps)), drawn)
                for (file, drawn), mask in zip(videos, masks, strict=True)
            )
        ]
        size = fitting.size_of(config, found, fps, math.lcm(*scales))
        clips = [
            fitting.fit(config, one, size, fps, scale=scale, heeded=each, mask=mask)
            for one, scale, each, mask in zip(found, scales, strengths[: len(found)], masks, strict=True)
        ]
        if config.first_frame is not None:
            begin = media.read_video(config.first_frame, limit=size[2])[0]
            begin = media.fit(begin[: fitting.on_grid(len(begin))], size[0], size[1])
    seconds, audio = size[2] / fps if size[2] else config.seconds, []
    if streams != "video":
        audio = [_sound(file) for file in sounds]
        if config.reference_loudness is not None:
            audio.append(intensity.reference(config.reference_loudness, seconds))
    if seconds is None:
        seconds = min(samples.shape[1] / rate for samples, rate in audio)
    return References(
        streams=streams,
        video=clips,
        audio=[
            Sound(samples=samples[:, : round(seconds * rate)], rate=rate, strength=each)
            for (samples, rate), each in zip(audio, strengths[count["video"] :], strict=True)
        ],
        begin=begin,
        prompt=prompt,
        size=size,
        fps=fps,
        seconds=seconds,
    )


def _streams(config: GenerateConfig, layers: Sequence[Layer], count: dict[str, int]) -> str:
    """What to make: as asked, else what the adapters were trained on, else what has a reference."""
    has = {kind for kind, number in count.items() if number}
    trained = {layer.streams for layer in layers}
    if not layers or "" in trained:  # none, or one of another trainer, which does not say
        trained = (trained | has) - {""}
    streams: str = config.streams
    if streams == "auto":
        streams = trained.pop() if len(trained) == 1 else "joint"
    files = {"video": config.reference_video, "audio": config.reference_audio or config.reference_loudness}
    for kind in ("video", "audio"):
        if files[kind] and streams not in (kind, "joint"):
            raise ConfigError(
                f"a reference {kind} is given, but {streams} alone is made",
                f"add an adapter of {kind}, or --streams joint",
            )
    if streams != "audio" and not count["video"] and config.resolution is None:
        raise ConfigError(f"{streams} needs a clip size", "give --reference-video or --resolution WxHxF")
    if streams != "audio" and config.seconds is not None:
        raise ConfigError("--seconds is for sound alone", "a clip's length is its frames: --resolution WxHxF")
    if streams == "audio" and (config.first_frame or config.retime):
        option = "--first-frame" if config.first_frame else "--retime"
        raise ConfigError(
            f"{option} is of video, but audio alone is made", "add --streams joint, or leave it out"
        )
    return streams


def _check(config: GenerateConfig, layers: Sequence[Layer], streams: str, count: dict[str, int]) -> None:
    """Refuse adapters and references that cannot go together."""
    for layer in layers:
        if "joint" not in (streams, layer.streams or "joint") and layer.streams != streams:
            raise ConfigError(f"{layer.file.name} is an adapter of {layer.streams}, not of {streams}")
    for kind in ("video", "audio") if streams == "joint" else (streams,):
        readers, given = [layer for layer in layers if kind in layer.reads], count[kind]
        if not given and any(layer.streams for layer in readers):
            raise ConfigError(f"{readers[0].file.name} needs a reference {kind}", _GIVE[kind])
        if given > 1 and given != len(readers):
            raise ConfigError(
                f"{given} references of {kind} for {len(readers)} adapters that read one",
                "give one for each, or one for all",
            )
    if streams != "joint" and not count[streams] and config.first_frame is None:
        raise ConfigError(f"{streams} needs a reference {streams}", _GIVE[streams])


def _scales(config: GenerateConfig, layers: Sequence[Layer], drawn: Sequence[int]) -> list[int]:
    """The canvas scale s of every reference video: as asked, else as a catalog drew it, else the adapter's."""
    readers = [layer.downscale for layer in layers if "video" in layer.reads]
    if len(drawn) == 1 and len(set(readers)) > 1:
        raise ConfigError(
            f"these adapters read references of different canvas scales ({', '.join(f'1/{s}' for s in readers)})",
            "give each its own --reference-video or --sample, in the order of --adapter",
        )
    if config.reference_downscale is not None:
        return [config.reference_downscale] * len(drawn)
    if config.sample and not config.reference_video:
        return list(drawn)
    return [*readers, *[1] * len(drawn)][: len(drawn)]


def _needed(config: GenerateConfig, file: Path, mask: Path | None, long: int, fps: float) -> int | None:
    """How many of a reference's frames are enough for a clip of `long`; None where all of them matter."""
    if config.resolution is None or config.retime == "fit" or (mask is not None and strength.moves(mask)):
        return None
    shown = fps if config.speed is None else float(media.frame_rate(file)) * config.speed
    return math.ceil(long * shown / fps) + FACTORS.time  # as fitting.fit cuts it, or a few more


def _sound(file: Path) -> tuple[np.ndarray, int]:
    """Read a reference sound."""
    samples, rate = media.read_audio(file)
    if (lasts := samples.shape[1] / rate) < SHORTEST:
        raise ConfigError(
            f"{file} lasts {lasts:.4f} s, less than a latent of sound ({SHORTEST:g} s)", "give a longer one"
        )
    return samples, rate


def _row(root: Root, sample: str) -> dict[str, Any]:
    """The row of `CATALOG#SAMPLE_ID` (or a start of the ID), or the first of `CATALOG`."""
    catalog, _, sample_id = sample.partition("#")
    view = CatalogID.parse(catalog)
    if sample_id:
        if not re.fullmatch(r"[0-9a-zA-Z]+", sample_id):
            raise ConfigError(f"{sample_id!r} is not a sample ID")
        one = f"starts_with(sample_id, '{sample_id}')"
        view = replace(view, where=f"({view.where}) AND {one}" if view.where else one)
    rows = select(root, view, limit=1).to_pylist()
    if not rows:
        raise CatalogNotFound(f"no sample {sample}", f"avcontrol catalog query '{view.name}' lists them")
    found: dict[str, Any] = rows[0]
    return found
