"""Generation: references, a prompt and adapters in, a clip out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from catalogs.errors import ConfigError
from catalogs.root import storage_errors
from training import backbone, codec, forward, media, references, stack
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.references import References
from training.sampler import Decoder, denoise, with_noise
from training.step import full_gpu
from training.tokens import Prompt, Streams, audio_canvas, video_canvas
from training.validate import beside_reference


@full_gpu("while generating", "a smaller or shorter --resolution needs less")
def generate(config: GenerateConfig, progress: Callable[[int], None] | None = None) -> list[Path]:
    """Generate clips. The same configuration on the same device gives the same clips.

    Args:
        config: What to make.
        progress: Called with the number of finished denoising steps, of all clips together.

    Returns:
        The clips: `config.out`, or `NAME-SEED.mp4` each where several are made; `.flac` where sound alone was made.
        The first reference and the result side by side lie next to each as `NAME-side-by-side.mp4`, or `.png` with
        both waveforms, and several clips side by side as `NAME-seeds.png`.

    Raises:
        ConfigError: Adapters, references and streams do not go together, the resolution does not fit, a reference
            does not fit into memory, or a folder lies where a clip should.
        TrainingError: An adapter is not one, or not of this backbone; or the GPU's memory is full.
        InputError: A reference, a mask or a first frame cannot be read.
        CatalogNotFound: No such sample.
        EstimatorUnavailable: The backbone is not here.
        StorageError: The disk is full, or it cannot be written there.
    """
    with storage_errors(config.out):
        config.out.parent.mkdir(parents=True, exist_ok=True)
    device, dtype = backbone.placement(config.device, config.dtype)
    path = backbone.locate(config.backbone)
    layers = stack.read(config.adapter)
    given = references.read(config, layers)
    outs = _outs(config, given.streams)

    canvases = _canvases(path, given, device, dtype)
    texts = [given.prompt] + ([config.negative_prompt] if config.guidance != 1.0 else [])
    prompts = _prompts(path, texts, device, dtype)

    transformer = backbone.component(path, "transformer", dtype)
    stack.load(transformer, layers)
    forward.keep(transformer, given.streams)
    transformer, scheduler = transformer.to(device), backbone.component(path, "scheduler")
    made = {}
    for index, seed in enumerate(range(config.seed, config.seed + config.count)):
        made[seed] = denoise(
            transformer, scheduler, with_noise(canvases, seed).to(device), prompts[0],
            steps=config.steps, guidance=config.guidance, negative=prompts[-1],
            progress=_after(index * config.steps, progress),
        )  # fmt: skip
    del transformer  # the decoder may need its room
    decode, files, columns = Decoder(path, device, dtype), [], []
    for seed, latents in made.items():
        frames, sound = decode(canvases, latents)
        files.append(_write(outs[seed], frames, sound, given))
        columns.append(_picture(frames, sound))
    if config.count > 1:
        _save(_sheet(config), np.concatenate(columns, axis=1))
    return files


def _after(steps: int, progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    return progress and (lambda done: progress(steps + done))


def _canvases(path: Path, given: References, device: Any, dtype: Any) -> Streams:
    """Encode the references and lay them beside an empty target."""
    video = audio = None
    width, height, frames = given.size
    if given.streams != "audio":
        vae = backbone.component(path, "vae", dtype).to(device)
        grid = (FACTORS.latent_frames(frames), height // FACTORS.space, width // FACTORS.space)
        target = torch.zeros(1, vae.config.latent_channels, *grid)
        known = torch.zeros(1, *grid, dtype=torch.bool)
        if len(given.begin):
            begin = codec.encode_video(vae, given.begin)
            target[0, :, : begin.shape[1]] = begin
            known[:, : begin.shape[1]] = True
        video = video_canvas(target, None, fps=given.fps)
        for clip in given.video:
            latents = codec.encode_video(vae, clip.frames)[None]
            one = video_canvas(target, latents, fps=clip.fps, scale=clip.scale)
            # Retimed is the reference alone: fades end where the clip does.
            own = one.target.shape[1]
            places = torch.cat([video.positions[:, :, :own], one.positions[:, :, own:]], dim=2)
            video = video.also(clip.strength.on(replace(one, positions=places)))
        if len(given.begin):
            video = replace(video, given=known.flatten(1))
    if given.streams != "video":
        audio_vae = backbone.component(path, "audio_vae", dtype).to(device)
        count = max(1, codec.audio_latent_count(given.seconds))
        bins = audio_vae.config.mel_bins // FACTORS.audio_time
        target = torch.zeros(1, audio_vae.config.latent_channels, count, bins)
        audio = audio_canvas(target, None)
        for sound in given.audio:
            latents = codec.encode_audio(audio_vae, sound.samples, sound.rate)[None]
            audio = audio.also(sound.strength.on(audio_canvas(target, latents)))
    return Streams(video=video, audio=audio)


def _prompts(path: Path, texts: list[str], device: Any, dtype: Any) -> list[Prompt]:
    text_encoder = backbone.component(path, "text_encoder", dtype).to(device)
    connectors = backbone.component(path, "connectors", dtype).to(device)
    tokenizer = backbone.component(path, "tokenizer")
    encoded = [codec.encode_prompt(text_encoder, tokenizer, connectors, text) for text in texts]
    return [Prompt(**{key: value[None] for key, value in one.items()}).to(device, dtype) for one in encoded]


def _outs(config: GenerateConfig, streams: str) -> dict[int, Path]:
    """The clip's file of each seed. That a folder lies at one's place is said before the work, not after it."""
    kind = ".flac" if streams == "audio" else config.out.suffix
    seeds = range(config.seed, config.seed + config.count)
    stems = {seed: f"{config.out.stem}-{seed}" if config.count > 1 else config.out.stem for seed in seeds}
    outs = {seed: config.out.with_name(stem + kind) for seed, stem in stems.items()}
    for file in (*outs.values(), *map(_side, outs.values()), *([_sheet(config)] if config.count > 1 else [])):
        if file.is_dir():
            raise ConfigError(f"cannot write {file}", "it is a folder: give --out another name")
    return outs


def _sheet(config: GenerateConfig) -> Path:
    return config.out.with_name(f"{config.out.stem}-seeds.png")


def _side(out: Path) -> Path:
    """What lies next to a clip, or to a sound."""
    return out.with_name(f"{out.stem}-side-by-side{'.png' if out.suffix == '.flac' else '.mp4'}")


def _save(file: Path, picture: np.ndarray) -> None:
    with storage_errors(file):
        Image.fromarray(picture).save(file)


def _write(
    out: Path, frames: np.ndarray | None, sound: tuple[np.ndarray, int] | None, given: References
) -> Path:
    """Write a clip and, next to it, the clip beside its first reference."""
    clip, heard = next(iter(given.video), None), next(iter(given.audio), None)
    first = Streams(
        video=clip and clip.beside(given.size[2], given.fps), audio=heard and (heard.samples, heard.rate)
    )
    both, picture = beside_reference(frames, sound, first)
    if frames is not None and both is not None:
        media.write_video(out, frames, given.fps, sound)
        media.write_video(_side(out), both, given.fps, sound)
        return out
    assert sound is not None  # one of the two streams was made
    media.write_audio(out, *sound)
    _save(_side(out), picture)
    return out


def _picture(frames: np.ndarray | None, sound: tuple[np.ndarray, int] | None) -> np.ndarray:
    """A clip as a column of frames, a sound as a waveform."""
    if frames is not None:
        return media.strip(frames)
    assert sound is not None
    return media.waveform(sound[0])
