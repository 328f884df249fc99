"""Clips whose point tracks are known exactly: textured layers under affine motion, one hiding another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Moving:
    """F frames, and N points of their layers.

    Attributes:
        frames: RGB [H, W, 3].
        pixels: [F, N, 2], pixel centres at +0.5.
        visible: [F, N].
        layers: Which layer every pixel shows, 0 for the ground, [F, H, W]; None where it is not known.
    """

    frames: list[np.ndarray]
    pixels: np.ndarray
    visible: np.ndarray
    layers: np.ndarray | None = None


def texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise of all scales, most of it in the large ones as in photographs, RGB [H, W, 3]."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        coarse = rng.normal(size=(2 + height // 2**octave, 2 + width // 2**octave, 3)).astype(np.float32)
        total += 2 ** (0.6 * octave) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    total = 128 + 50 * total / total.std()
    return np.clip(total, 0, 255).astype(np.uint8)


def slide(
    step: tuple[float, float], size: tuple[int, int] = (128, 96), count: int = 9, seed: int = 0
) -> list[np.ndarray]:
    """A texture that moves by the same ``step`` (x, y in px) every frame, resampled by cubics."""
    width, height = size
    wide = texture(height + 128, width + 128, np.random.default_rng(seed))
    return [
        cv2.warpAffine(
            wide,
            np.array([[1, 0, n * step[0] - 64], [0, 1, n * step[1] - 64]], float),
            size,
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        for n in range(count)
    ]


def scene(
    seed: int, size: tuple[int, int] = (320, 192), count: int = 24, movers: int = 3, points: int = 300
) -> Moving:
    """A ground that pans, turns and zooms, and ``movers`` ellipses that pass over it and each other."""
    rng = np.random.default_rng(seed)
    width, height = size
    layers = [(texture(height * 2, width * 2, rng), None)]
    for _ in range(movers):
        side = int(rng.uniform(0.25, 0.45) * height)
        mask = np.zeros((side, int(side * rng.uniform(1, 1.6))), np.uint8)
        centre = (mask.shape[1] // 2, mask.shape[0] // 2)
        cv2.ellipse(mask, centre, (centre[0] - 1, centre[1] - 1), 0, 0, 360, 255, -1)
        layers.append((texture(*mask.shape, rng), mask))
    paths = [_path(rng, layer[0].shape[:2], size, count, ground=n == 0) for n, layer in enumerate(layers)]

    frames, covers = [], []
    for frame in range(count):
        picture, cover = np.zeros((height, width, 3), np.float32), np.full((height, width), -1)
        for n, (colours, mask) in enumerate(layers):
            at = paths[n][frame].copy()
            at[:, 2] += at[:, :2] @ (0.5, 0.5) - 0.5  # for pixel centres at whole numbers, as OpenCV has them
            seen = cv2.warpAffine(colours, at, size, flags=cv2.INTER_CUBIC)
            solid = np.full(colours.shape[:2], 255, np.uint8) if mask is None else mask
            alpha = cv2.warpAffine(solid, at, size, flags=cv2.INTER_LINEAR)[..., None] / np.float32(255)
            picture = alpha * seen + (1 - alpha) * picture
            cover[alpha[..., 0] > 0.5] = n
        frames.append(np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))
        covers.append(cover)

    pixels, visible = [], []
    for n, (colours, mask) in enumerate(layers):
        where = rng.uniform(size=((points * 4 if n == 0 else points // 2), 2)) * colours.shape[1::-1]
        if mask is not None:
            where = where[mask[tuple(where[:, ::-1].astype(int).T)] > 0]
        there = np.stack([where @ path[:, :2].T + path[:, 2] for path in paths[n]])
        within = ((there >= 0) & (there < size)).all(-1)
        x, y = np.clip(there, 0, np.subtract(size, 1)).astype(int).transpose(2, 0, 1)
        pixels.append(there)
        visible.append(within & (np.stack(covers)[np.arange(count)[:, None], y, x] == n))
    return Moving(
        frames=frames,
        pixels=np.concatenate(pixels, 1),
        visible=np.concatenate(visible, 1),
        layers=np.stack(covers),
    )


def _path(
    rng: np.random.Generator, layer: tuple[int, int], size: tuple[int, int], count: int, *, ground: bool
) -> np.ndarray:
    """From a layer's pixels to a picture's, [F, 2, 3]: centre, turn and scale go evenly from one value to another."""
    reach = (0.42, 0.58) if ground else (0.1, 0.9)
    centres = np.linspace(*rng.uniform(*reach, (2, 2)) * size, count)
    turns = np.linspace(*rng.uniform(-0.15, 0.15, 2), count)
    scales = np.exp(np.linspace(*rng.uniform(-0.12, 0.12, 2), count)) * (1.1 if ground else 1.0)
    turn = np.array([[np.cos(turns), -np.sin(turns)], [np.sin(turns), np.cos(turns)]]).transpose(2, 0, 1)
    linear = scales[:, None, None] * turn
    return np.concatenate([linear, (centres - linear @ np.array(layer[::-1]) / 2)[..., None]], axis=2)
