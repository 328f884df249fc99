"""Generation: a reference, a prompt and an adapter in, a clip out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from catalogs.errors import CatalogNotFound, ConfigError
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root, storage_errors
from training import adapter, backbone, codec, media
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.sampler import Decoder, denoise, with_noise
from training.tokens import Prompt, Streams, audio_canvas, video_canvas
from training.validate import beside_reference


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is put on the canvas beside the noise.

    Attributes:
        video: uint8 RGB [F, H/s, W/s, 3], or None.
        audio: (float32 samples [channels, N], rate in Hz), or None.
        prompt: What should come out.
        size: (W, H, F) of the clip to make.
        fps: Frames a second.
        scale: s.
    """

    video: np.ndarray | None
    audio: tuple[np.ndarray, int] | None
    prompt: str
    size: tuple[int, int, int]
    fps: float
    scale: int


def generate(config: GenerateConfig, progress: Callable[[int], None] | None = None) -> Path:
    """Generate one clip. The same configuration on the same device gives the same clip.

    Args:
        config: What to make.
        progress: Called with the number of finished denoising steps.

    Returns:
        The clip: `config.out`, or the `.flac` of that name where sound alone was made. Reference and result
        side by side lie next to it as `NAME-side-by-side.mp4`, or `.png` with both waveforms.

    Raises:
        ConfigError: References and streams do not go together, or the resolution does not fit.
        TrainingError: The adapter is not one, or not of this backbone.
        CatalogNotFound: No such sample.
        EstimatorUnavailable: The backbone is not here.
    """
    with storage_errors(config.out):
        config.out.parent.mkdir(parents=True, exist_ok=True)
    device, dtype = backbone.placement(config.device, config.dtype)
    path = backbone.locate(config.backbone)
    header = adapter.read(config.adapter)[1] if config.adapter is not None else {}
    reference = _reference(config, int(header.get("reference_downscale_factor") or 1))
    streams = _streams(config, header, reference)

    canvases = _canvases(path, reference, streams, device, dtype)
    texts = [reference.prompt] + ([config.negative_prompt] if config.guidance != 1.0 else [])
    prompts = _prompts(path, texts, device, dtype)

    transformer = backbone.component(path, "transformer", dtype).to(device)
    if config.adapter is not None:
        adapter.load(transformer, config.adapter)
    noisy = with_noise(canvases, config.seed).to(device)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
        made = denoise(
            transformer, backbone.component(path, "scheduler"), noisy, prompts[0],
            steps=config.steps, guidance=config.guidance, negative=prompts[-1], progress=progress,
        )  # fmt: skip
    del transformer  # the decoder may need its room
    frames, sound = Decoder(path, device, dtype)(noisy, made)
    return _write(config.out, frames, sound, reference)


def _reference(config: GenerateConfig, adapter_scale: int) -> Reference:
    """Read the reference from a catalog's sample or from files and fit it to the latent grid."""
    row: dict[str, Any] = {}
    video_file, audio_file = config.reference_video, config.reference_audio
    if config.sample is not None:
        root = Root.open(str(config.root))
        row = _row(root, config.sample)
        if row["reference_video"] and video_file is None:
            video_file = root.local(row["reference_video"])
        if row["reference_audio"] and audio_file is None:
            audio_file = root.local(row["reference_audio"])
    scale = config.reference_downscale or row.get("reference_downscale") or adapter_scale
    video, fps, size = None, config.fps or 24.0, (0, 0, 0)
    if video_file is not None:
        video, rate = media.read_video(video_file)
        fps = config.fps or float(rate)
        drawn_small = scale if row else 1  # a catalog's reference is already drawn at 1/s
        size = _size(config, video.shape[2] * drawn_small, video.shape[1] * drawn_small, len(video), scale)
        video = media.fit(video[: size[2]], size[0] // scale, size[1] // scale)
    elif config.resolution is not None:
        size = _size(config, 0, 0, 0, scale)
    prompt = config.prompt if config.prompt is not None else row.get("caption") or ""
    audio = media.read_audio(audio_file) if audio_file is not None else None
    return Reference(video=video, audio=audio, prompt=prompt, size=size, fps=fps, scale=scale)


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


def _size(config: GenerateConfig, width: int, height: int, frames: int, scale: int) -> tuple[int, int, int]:
    """The clip's size: as asked, else the reference's, cut down to what the latent grid holds."""
    grid = FACTORS.space * scale
    if config.resolution is None:
        width, height = width // grid * grid, height // grid * grid
        return max(width, grid), max(height, grid), (frames - 1) // FACTORS.time * FACTORS.time + 1
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", config.resolution)
    wide, high, long = (int(number) for number in match.groups()) if match else (0, 0, 0)
    if not wide or not high or wide % grid or high % grid or long % FACTORS.time != 1:
        raise ConfigError(
            f"resolution {config.resolution!r} does not fit",
            f"write WxHxF, W and H multiples of {grid}, F one more than a multiple of {FACTORS.time}",
        )
    if frames and frames < long:
        raise ConfigError(f"the reference has {frames} frames, {long} are asked for", "ask for fewer")
    return wide, high, long


def _streams(config: GenerateConfig, header: dict[str, str], reference: Reference) -> str:
    has = [name for name in ("video", "audio") if getattr(reference, name) is not None]
    streams: str = config.streams
    if streams == "auto":
        streams = header.get("streams") or ("joint" if len(has) == 2 else "".join(has))
    if streams in ("video", "joint") and not reference.size[0]:
        raise ConfigError(f"{streams} needs a clip size", "give --reference-video or --resolution WxHxF")
    if streams != "joint" and streams not in has:
        raise ConfigError(f"{streams} needs a reference {streams}", f"give --reference-{streams} or --sample")
    return streams


def _canvases(path: Path, reference: Reference, streams: str, device: Any, dtype: Any) -> Streams:
    """Encode the reference and lay it beside an empty target."""
    video = audio = None
    width, height, frames = reference.size
    if streams in ("video", "joint"):
        vae = backbone.component(path, "vae", dtype).to(device)
        grid = (FACTORS.latent_frames(frames), height // FACTORS.space, width // FACTORS.space)
        target = torch.zeros(1, vae.config.latent_channels, *grid)
        latents = None if reference.video is None else codec.encode_video(vae, reference.video)[None]
        video = video_canvas(target, latents, fps=reference.fps, scale=reference.scale)
    if streams in ("audio", "joint"):
        audio_vae = backbone.component(path, "audio_vae", dtype).to(device)
        latents = None if reference.audio is None else codec.encode_audio(audio_vae, *reference.audio)[None]
        count = latents.shape[2] if latents is not None else 0
        if video is not None:
            count = codec.audio_latent_count(frames / reference.fps)
        bins = audio_vae.config.mel_bins // FACTORS.audio_time
        audio = audio_canvas(torch.zeros(1, audio_vae.config.latent_channels, count, bins), latents)
    return Streams(video=video, audio=audio)


def _prompts(path: Path, texts: list[str], device: Any, dtype: Any) -> list[Prompt]:
    text_encoder = backbone.component(path, "text_encoder", dtype).to(device)
    connectors = backbone.component(path, "connectors", dtype).to(device)
    tokenizer = backbone.component(path, "tokenizer")
    encoded = [codec.encode_prompt(text_encoder, tokenizer, connectors, text) for text in texts]
    return [Prompt(**{key: value[None] for key, value in one.items()}).to(device, dtype) for one in encoded]


def _write(
    out: Path, frames: np.ndarray | None, sound: tuple[np.ndarray, int] | None, reference: Reference
) -> Path:
    references = Streams(video=reference.video, audio=reference.audio)
    both, picture = beside_reference(frames, sound, references)
    side = out.with_name(f"{out.stem}-side-by-side.mp4")
    if frames is not None and both is not None:
        media.write_video(out, frames, reference.fps, sound)
        media.write_video(side, both, reference.fps, sound)
        return out
    assert sound is not None  # one of the two streams was made
    media.write_audio(out.with_suffix(".flac"), *sound)
    Image.fromarray(picture).save(side.with_suffix(".png"))
    return out.with_suffix(".flac")
