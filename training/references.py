"""What a generation is given to follow: pictures and sounds from catalogs and from files, fitted to the clip."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from training import intensity, media
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.stack import Layer

_GIVE = {
    "video": "give --reference-video or --sample",
    "audio": "give --reference-audio, --reference-loudness or --sample",
}


@dataclass(frozen=True, kw_only=True)
class References:
    """What is put on the canvases beside the noise.

    Attributes:
        streams: What is made: video, audio or joint.
        video: uint8 RGB [F, H/s, W/s, 3] each.
        scales: s of each of them.
        audio: (float32 samples [channels, N], rate in Hz) each; no longer than what is made.
        prompt: What should come out.
        size: (W, H, F) of the clip; zeros where sound alone is made.
        fps: Frames a second.
        seconds: Length.
    """

    streams: str
    video: Sequence[np.ndarray]
    scales: Sequence[int]
    audio: Sequence[tuple[np.ndarray, int]]
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
    _check(layers, streams, count)

    prompt = config.prompt if config.prompt is not None else (rows[0]["caption"] or "" if rows else "")
    size, fps, clips, scales = (0, 0, 0), config.fps or 24.0, [], []
    if streams != "audio":
        scales = _scales(config, layers, [drawn for _, drawn in videos])
        found = [media.read_video(file) for file, _ in videos]
        fps = config.fps or (float(found[0][1]) if found else 24.0)
        shapes = [
            (frames.shape[2] * drawn, frames.shape[1] * drawn, len(frames))
            for (frames, _), (_, drawn) in zip(found, videos, strict=True)
        ]
        size = _size(config.resolution, shapes, math.lcm(*scales))
        clips = [
            media.fit(frames[: size[2]], size[0] // s, size[1] // s)
            for (frames, _), s in zip(found, scales, strict=True)
        ]
    seconds, audio = size[2] / fps if size[2] else config.seconds, []
    if streams != "video":
        audio = [media.read_audio(file) for file in sounds]
        if config.reference_loudness is not None:
            audio.append(intensity.reference(config.reference_loudness, seconds))
    if seconds is None:
        seconds = min(samples.shape[1] / rate for samples, rate in audio)
    return References(
        streams=streams,
        video=clips,
        scales=scales,
        audio=[(samples[:, : round(seconds * rate)], rate) for samples, rate in audio],
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
    return streams


def _check(layers: Sequence[Layer], streams: str, count: dict[str, int]) -> None:
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
    if streams != "joint" and not count[streams]:
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


def _size(asked: str | None, shapes: Sequence[tuple[int, int, int]], scale: int) -> tuple[int, int, int]:
    """The clip's size: as asked, else the first reference's, cut down to what the latent grid holds.

    Args:
        asked: WxHxF, or None.
        shapes: (W, H, F) of the references at the clip's scale; the shortest decides the length.
        scale: What all canvas scales divide.
    """
    grid = FACTORS.space * scale
    frames = min((shape[2] for shape in shapes), default=0)
    if asked is None:
        width, height = (max(grid, side // grid * grid) for side in shapes[0][:2])
        return width, height, (frames - 1) // FACTORS.time * FACTORS.time + 1
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", asked)
    wide, high, long = (int(number) for number in match.groups()) if match else (0, 0, 0)
    if not wide or not high or wide % grid or high % grid or long % FACTORS.time != 1:
        raise ConfigError(
            f"resolution {asked!r} does not fit",
            f"write WxHxF, W and H multiples of {grid}, F one more than a multiple of {FACTORS.time}",
        )
    if frames and frames < long:
        raise ConfigError(f"the reference has {frames} frames, {long} are asked for", "ask for fewer")
    return wide, high, long


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
