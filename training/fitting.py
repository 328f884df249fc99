"""Reference videos fitted to the clip that is made: in size, and in time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from catalogs.errors import ConfigError
from training import media, strength
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.strength import Strength


@dataclass(frozen=True, kw_only=True)
class Video:
    """A reference video.

    Attributes:
        frames: uint8 RGB [F, H/s, W/s, 3].
        scale: s.
        fps: The rate at which it passes on the canvas; the clip's, where it is not retimed.
        strength: How strongly it is heeded.
    """

    frames: np.ndarray
    scale: int
    fps: float
    strength: Strength

    def beside(self, count: int, fps: float) -> np.ndarray:
        """What of it goes with each frame of a clip of `count` frames at this rate."""
        shown = np.arange(count) * self.fps / fps
        frames: np.ndarray = self.frames[shown.round().astype(int).clip(max=len(self.frames) - 1)]
        return frames


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A reference video as it is in its file.

    Attributes:
        frames: uint8 RGB [F, H, W, 3].
        rate: Frames a second.
        scale: At what part of the clip's size it is drawn, 1/scale.
    """

    frames: np.ndarray
    rate: Fraction
    scale: int


def size_of(config: GenerateConfig, found: Sequence[Drawn], fps: float, scale: int) -> tuple[int, int, int]:
    """The clip's (W, H, F): as asked, else the first reference's, cut down to what the latent grid holds.

    Args:
        config: Which states a size, or none.
        found: The references; the shortest decides the length.
        fps: Of the clip.
        scale: What all canvas scales divide.

    Raises:
        ConfigError: What is asked for does not fit the grid, or the references are too short.
    """
    grid, asked = FACTORS.space * scale, config.resolution
    frames = min((_lasts(config, one, fps) for one in found), default=0)
    if asked is None:
        first = found[0]
        height, width = (max(grid, side * first.scale // grid * grid) for side in first.frames.shape[1:3])
        return width, height, on_grid(frames)
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", asked)
    wide, high, long = (int(number) for number in match.groups()) if match else (0, 0, 0)
    if not wide or not high or wide % grid or high % grid or long % FACTORS.time != 1:
        raise ConfigError(
            f"resolution {asked!r} does not fit",
            f"write WxHxF, W and H multiples of {grid}, F one more than a multiple of {FACTORS.time}",
        )
    if frames and frames < long and config.retime != "fit":
        lasts = f"the reference has {frames} frames" + ("" if config.retime is None else " at that speed")
        raise ConfigError(f"{lasts}, {long} are asked for", "ask for fewer, or stretch it: --retime fit")
    return wide, high, long


def fit(
    config: GenerateConfig,
    one: Drawn,
    size: tuple[int, int, int],
    fps: float,
    *,
    scale: int,
    heeded: Strength,
    mask: Path | None,
) -> Video:
    """Cut a reference (and its mask) to what goes with the clip, and fit it to the canvas.

    Args:
        config: Which says how it is retimed.
        one: The reference.
        size: (W, H, F) of the clip.
        fps: Of the clip.
        scale: s of the reference on the canvas.
        heeded: How strongly it is heeded, without the mask.
        mask: The mask's file.

    Raises:
        InputError: The mask cannot be read.
    """
    width, height, needed = size[0] // scale, size[1] // scale, size[2]
    held, shown = on_grid(len(one.frames)), fps
    if config.retime == "fit":
        shown, needed = fps * held / size[2], held
    elif config.speed is not None:
        shown = float(one.rate) * config.speed
        needed = on_grid(math.ceil(size[2] * shown / fps - 1e-6) + FACTORS.time - 1)
    kept = slice(min(needed, held))
    if mask is not None:
        count, high, wide = one.frames.shape[:3]
        whole = strength.mask(mask, (count, high, wide))
        heeded = replace(heeded, mask=media.fit(whole[kept], width, height))
    return Video(frames=media.fit(one.frames[kept], width, height), scale=scale, fps=shown, strength=heeded)


def on_grid(frames: int) -> int:
    """The most frames, no more than these, that the latent grid holds: 8n + 1."""
    return max(1, (frames - 1) // FACTORS.time * FACTORS.time + 1)


def _lasts(config: GenerateConfig, one: Drawn, fps: float) -> int:
    """How many of the clip's frames a reference lasts. Frame goes with frame unless a speed is stated."""
    if config.speed is None:
        return len(one.frames)
    return max(1, math.floor(len(one.frames) * fps / (float(one.rate) * config.speed) + 1e-6))
