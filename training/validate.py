"""Validation samples: what the adapter makes now of the catalog's first rows, beside their references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training import backbone, data, media
from training.config import TrainConfig
from training.index import Example
from training.sampler import Decoder, denoise, with_noise
from training.tokens import Streams


def validate(
    config: TrainConfig, dataset: data.Dataset, transformer: Any, path: Path, step: int, writer: Any
) -> None:
    """Generate samples with the adapter as it is and write `OUT/samples/step-…-N.{png,mp4,flac}`.

    Args:
        config: The run.
        dataset: Whose first rows are taken.
        transformer: With the adapter.
        path: The located backbone.
        step: For the names.
        writer: TensorBoard's; gets the pictures too. None in a process that only takes part in the forward
            passes, where weights are spread over several.
    """
    device, dtype = backbone.placement(config.device, config.dtype)
    scheduler = backbone.component(path, "scheduler")
    decode = Decoder(path, device, dtype) if writer is not None else None
    folder = config.out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    for index, example in enumerate(dataset.examples[: config.validate_count]):
        batch = data.read_batch(dataset, [example])
        canvases = with_noise(batch.canvases, config.seed).to(device)
        made = denoise(
            transformer, scheduler, canvases, batch.prompt.to(device, dtype), steps=config.validate_steps
        )
        if decode is None:
            continue
        frames, sound = decode(canvases, made)
        stem = folder / f"step-{step:06d}-{index}"
        both, picture = beside_reference(frames, sound, _references(dataset, example))
        if both is not None:
            media.write_video(stem.with_suffix(".mp4"), both, example.fps, sound)
        elif sound is not None:
            media.write_audio(stem.with_suffix(".flac"), *sound)
        Image.fromarray(picture).save(stem.with_suffix(".png"))
        writer.add_image(f"samples/{index}", picture, step, dataformats="HWC")


def validated(config: TrainConfig, dataset: data.Dataset, step: int) -> bool:
    """Whether :func:`validate` has written everything of a step."""
    wanted = range(len(dataset.examples[: config.validate_count]))
    return all((config.out / "samples" / f"step-{step:06d}-{index}.png").exists() for index in wanted)


def beside_reference(
    frames: np.ndarray | None, sound: tuple[np.ndarray, int] | None, references: Streams
) -> tuple[np.ndarray | None, np.ndarray]:
    """Put what was made beside its reference.

    Args:
        frames: Generated, uint8 [F, H, W, 3].
        sound: Generated, float32 [2, N] and its rate.
        references: uint8 frames and (samples, rate) of the references; None where there is none.

    Returns:
        The clip, reference left and generated right (None where only sound was made), and a still picture:
        frames of it, or the reference's waveform over the generated one's; uint8 [H, W, 3].
    """
    if frames is not None:
        both = frames if references.video is None else media.beside(references.video, frames)
        return both, media.strip(both)
    sounds = [pair for pair in (references.audio, sound) if pair is not None]
    return None, np.concatenate([media.waveform(samples) for samples, _ in sounds])


def _references(dataset: data.Dataset, example: Example) -> Streams:
    def local(column: str) -> Path | None:
        return dataset.root.local(example.media[column]) if column in example.latents else None

    video, audio = local("reference_video"), local("reference_audio")
    return Streams(
        video=media.read_video(video)[0] if video else None, audio=media.read_audio(audio) if audio else None
    )
