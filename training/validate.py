"""Validation samples: what the adapter makes now of the catalog's first rows, beside their references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from training import backbone, data, media
from training.config import TrainConfig
from training.sampler import Decoder, denoise, with_noise
from training.tokens import Streams


def validate(
    config: TrainConfig, dataset: data.Dataset, transformer: Any, path: Path, step: int, writer: Any
) -> list[Path]:
    """Generate samples with the adapter as it is and write `OUT/samples/step-…-N.{png,mp4,flac}`.

    Args:
        config: The run.
        dataset: Whose first rows are taken.
        transformer: With the adapter, in training mode.
        path: The located backbone.
        step: For the names.
        writer: TensorBoard's; gets the pictures too.

    Returns:
        The files written.
    """
    device, dtype = backbone.placement(config.device, config.dtype)
    scheduler, decode = backbone.component(path, "scheduler"), Decoder(path, device, dtype)
    folder = config.out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    transformer.eval()
    for index, example in enumerate(dataset.examples[: config.validate_count]):
        batch = data.read_batch(dataset, [example])
        canvases = with_noise(batch.canvases, config.seed).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
            made = denoise(
                transformer, scheduler, canvases, batch.prompt.to(device, dtype), steps=config.validate_steps
            )
        frames, sound = decode(canvases, made)
        stem = folder / f"step-{step:06d}-{index}"
        references = _references(dataset, example)
        media_file, picture = beside_reference(stem, frames, sound, example.fps, references)
        Image.fromarray(picture).save(stem.with_suffix(".png"))
        writer.add_image(f"samples/{index}", picture, step, dataformats="HWC")
        written += [media_file, stem.with_suffix(".png")]
    transformer.train()
    return written


def beside_reference(
    stem: Path,
    frames: np.ndarray | None,
    sound: tuple[np.ndarray, int] | None,
    fps: float,
    references: Streams,
) -> tuple[Path, np.ndarray]:
    """Write `stem.mp4`, reference left and generated right, or `stem.flac` where only sound was made.

    Args:
        stem: The file without its suffix.
        frames: Generated, uint8 [F, H, W, 3].
        sound: Generated, float32 [2, N] and its rate.
        fps: Of the frames.
        references: uint8 frames and (samples, rate) of the references; None where there is none.

    Returns:
        The file, and a still picture of it, uint8 [H, W, 3].
    """
    if frames is not None:
        both = frames if references.video is None else media.beside(references.video, frames)
        media.write_video(stem.with_suffix(".mp4"), both, fps, sound)
        return stem.with_suffix(".mp4"), media.strip(both)
    assert sound is not None  # one of the streams was made
    media.write_audio(stem.with_suffix(".flac"), *sound)
    heard = [sound] if references.audio is None else [references.audio, sound]
    return stem.with_suffix(".flac"), np.concatenate([media.waveform(samples) for samples, _ in heard])


def _references(dataset: data.Dataset, example: data.Example) -> Streams:
    def local(column: str) -> Path | None:
        return dataset.root.local(example.media[column]) if column in example.latents else None

    video, audio = local("reference_video"), local("reference_audio")
    return Streams(
        video=media.read_video(video)[0] if video else None, audio=media.read_audio(audio) if audio else None
    )
