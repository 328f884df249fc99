"""Real media, small catalogs and their encodings, made by hand for the tests."""

import hashlib
from pathlib import Path

import av
import numpy as np
import torch

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import ENCODINGS, samples_schema
from catalogs.store import Table
from pipelines.encode import Encoder, plan
from training import backbone, media
from training.tokens import Prompt

torch.set_num_threads(2)
WIDTH, HEIGHT, FRAMES, FPS, RATE = 64, 96, 9, 24, 48_000


def moving_square(seed: int, scale: int = 1, outline: bool = False, height: int = HEIGHT) -> np.ndarray:
    """uint8 [F, height/scale, W/scale, 3]: a square drifting over a gradient, or only its outline."""
    random = np.random.default_rng(seed)
    x, y, size = random.integers(4, 20, 3) + 4
    frames = np.zeros((FRAMES, height, WIDTH, 3), np.uint8)
    for index in range(FRAMES):
        if not outline:
            frames[index] = np.linspace(20, 120, height)[:, None, None]
        frames[index, y : y + size, x + index : x + index + size] = (
            255 if outline else random.integers(60, 255, 3)
        )
        if outline:
            frames[index, y + 2 : y + size - 2, x + index + 2 : x + index + size - 2] = 0
    return frames[:, ::scale, ::scale]


def tone(hertz: float, seconds: float = FRAMES / FPS) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (
        np.stack([np.sin(2 * np.pi * hertz * time), np.cos(2 * np.pi * hertz * time)]).astype(np.float32)
        * 0.5
    )


def add_sample(
    root: Root, index: int, *, scale: int = 1, columns: tuple[str, ...], height: int = HEIGHT
) -> dict:
    row = dict(
        unit_id="unit",
        modality="canny",
        caption=f"a square, number {index}",
        width=WIDTH,
        height=height,
        frames=FRAMES,
        fps_num=FPS,
        fps_den=1,
        reference_downscale=scale,
        steps=5,
        sample_id=hashlib.sha256(f"{index}{scale}".encode()).hexdigest(),
    )
    for column in columns:
        if "video" in column:
            file = root.scratch(".mp4")
            frames = moving_square(
                index, scale if "ref" in column else 1, outline="ref" in column, height=height
            )
            media.write_video(file, frames, FPS)
        else:
            file = root.scratch(".flac")
            media.write_audio(file, tone(220 * (index + 1) * (2 if "ref" in column else 1)), RATE)
        row[column] = root.put(file, "media")
    if not any("video" in column for column in columns):
        row |= dict.fromkeys(("width", "height", "frames", "fps_num", "fps_den", "reference_downscale"))
        row |= {"sample_rate": RATE, "audio_samples": round(FRAMES / FPS * RATE), "streams": "audio"}
    return row


def make_catalog(root: Root, name: str, rows: list[dict]) -> None:
    table_of(root, name, create=samples_schema()).append_new(rows, {"run": "test"})


def encode(root: Root, catalog: str) -> int:
    units = plan(root, catalog, "test").units
    encoder = Encoder(root.uri, "test", device="cpu")
    rows = [row for unit in units for row in encoder(unit)]
    Table.open(root, "encodings", key=("encoding_id",), create=ENCODINGS).append_new(rows, {})
    return len(rows)


def probe_streams(file: Path) -> dict[str, int]:
    with av.open(str(file)) as container:
        return {"video": len(container.streams.video), "audio": len(container.streams.audio)}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prompt(batch: int = 1, seed: int = 5) -> Prompt:
    return Prompt(
        video=random(batch, 12, 16, seed=seed),
        audio=random(batch, 12, 16, seed=seed + 1),
        mask=torch.ones(batch, 12, dtype=torch.int64),
    )


def fresh(path: Path):
    """The frozen test-size transformer."""
    return backbone.component(path, "transformer")


def moved(parameters: dict[str, torch.nn.Parameter]) -> None:
    """Give a fresh adapter updates that are not zero any more."""
    for index, (key, parameter) in enumerate(parameters.items()):
        if "lora_B" in key:
            parameter.data = random(*parameter.shape, seed=index) * 0.2
