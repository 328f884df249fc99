"""Generation: references, a prompt and adapters in, a clip out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from catalogs.root import storage_errors
from training import backbone, codec, idle, media, references, stack
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.references import References
from training.sampler import Decoder, denoise, with_noise
from training.tokens import Prompt, Streams, audio_canvas, video_canvas
from training.validate import beside_reference


def generate(config: GenerateConfig, progress: Callable[[int], None] | None = None) -> Path:
    """Generate one clip. The same configuration on the same device gives the same clip.

    Args:
        config: What to make.
        progress: Called with the number of finished denoising steps.

    Returns:
        The clip: `config.out`, or the `.flac` of that name where sound alone was made. The first reference and
        the result side by side lie next to it as `NAME-side-by-side.mp4`, or `.png` with both waveforms.

    Raises:
        ConfigError: Adapters, references and streams do not go together, or the resolution does not fit.
        TrainingError: An adapter is not one, or not of this backbone.
        InputError: A reference cannot be read.
        CatalogNotFound: No such sample.
        EstimatorUnavailable: The backbone is not here.
    """
    with storage_errors(config.out):
        config.out.parent.mkdir(parents=True, exist_ok=True)
    device, dtype = backbone.placement(config.device, config.dtype)
    path = backbone.locate(config.backbone)
    layers = stack.read(config.adapter)
    given = references.read(config, layers)

    canvases = _canvases(path, given, device, dtype)
    texts = [given.prompt] + ([config.negative_prompt] if config.guidance != 1.0 else [])
    prompts = _prompts(path, texts, device, dtype)

    transformer = backbone.component(path, "transformer", dtype)
    stack.load(transformer, layers)
    idle.drop(transformer, given.streams)
    noisy = with_noise(canvases, config.seed).to(device)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
        made = denoise(
            transformer.to(device), backbone.component(path, "scheduler"), noisy, prompts[0],
            steps=config.steps, guidance=config.guidance, negative=prompts[-1], progress=progress,
        )  # fmt: skip
    del transformer  # the decoder may need its room
    frames, sound = Decoder(path, device, dtype)(noisy, made)
    return _write(config.out, frames, sound, given)


def _canvases(path: Path, given: References, device: Any, dtype: Any) -> Streams:
    """Encode the references and lay them beside an empty target."""
    video = audio = None
    width, height, frames = given.size
    if given.streams != "audio":
        vae = backbone.component(path, "vae", dtype).to(device)
        grid = (FACTORS.latent_frames(frames), height // FACTORS.space, width // FACTORS.space)
        target = torch.zeros(1, vae.config.latent_channels, *grid)
        video = video_canvas(target, None, fps=given.fps)
        for clip, scale in zip(given.video, given.scales, strict=True):
            latents = codec.encode_video(vae, clip)[None]
            video = video.also(video_canvas(target, latents, fps=given.fps, scale=scale))
    if given.streams != "video":
        audio_vae = backbone.component(path, "audio_vae", dtype).to(device)
        count = max(1, codec.audio_latent_count(given.seconds))
        bins = audio_vae.config.mel_bins // FACTORS.audio_time
        target = torch.zeros(1, audio_vae.config.latent_channels, count, bins)
        audio = audio_canvas(target, None)
        for samples, rate in given.audio:
            audio = audio.also(audio_canvas(target, codec.encode_audio(audio_vae, samples, rate)[None]))
    return Streams(video=video, audio=audio)


def _prompts(path: Path, texts: list[str], device: Any, dtype: Any) -> list[Prompt]:
    text_encoder = backbone.component(path, "text_encoder", dtype).to(device)
    connectors = backbone.component(path, "connectors", dtype).to(device)
    tokenizer = backbone.component(path, "tokenizer")
    encoded = [codec.encode_prompt(text_encoder, tokenizer, connectors, text) for text in texts]
    return [Prompt(**{key: value[None] for key, value in one.items()}).to(device, dtype) for one in encoded]


def _write(
    out: Path, frames: np.ndarray | None, sound: tuple[np.ndarray, int] | None, given: References
) -> Path:
    first = Streams(video=next(iter(given.video), None), audio=next(iter(given.audio), None))
    both, picture = beside_reference(frames, sound, first)
    side = out.with_name(f"{out.stem}-side-by-side.mp4")
    if frames is not None and both is not None:
        media.write_video(out, frames, given.fps, sound)
        media.write_video(side, both, given.fps, sound)
        return out
    assert sound is not None  # one of the two streams was made
    media.write_audio(out.with_suffix(".flac"), *sound)
    Image.fromarray(picture).save(side.with_suffix(".png"))
    return out.with_suffix(".flac")
