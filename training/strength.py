"""How strongly the target heeds each token of a reference: a level, a mask over it, fades at its edges.

The three are multiplied; `training/attention.py` says what becomes of the product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from catalogs.errors import ConfigError
from training import media
from training.backbone import FACTORS
from training.config import GenerateConfig
from training.tokens import Canvas

T = TypeVar("T")

NONE = "none"  # said of a reference without a mask, or without a fade, among others that have one
_AXES = {"in": 0, "out": 0, "top": 1, "bottom": 1, "left": 2, "right": 2}  # of the positions
_FROM_THE_END = ("out", "bottom", "right")


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How strongly one reference is heeded.

    Attributes:
        level: Everywhere; 1 as trained, 0 not at all, more is more.
        mask: uint8 [F, H, W] over the reference's frames, 255 is full strength; None for none.
        fade: Length of the rise from 0 at an edge: seconds for in and out, a share of the picture for the others.
    """

    level: float = 1.0
    mask: np.ndarray | None = None
    fade: Mapping[str, float] = field(default_factory=dict)

    def on(self, canvas: Canvas) -> Canvas:
        """The canvas of this one reference with each of its tokens' strength."""
        count = canvas.target.shape[1]
        own, beside = canvas.positions[0, :, :count], canvas.positions[0, :, count:]
        values = torch.full(beside.shape[1:2], self.level)
        if self.mask is not None:
            values = values * _means(self.mask)
        for edge, length in self.fade.items():
            axis = _AXES[edge]
            values = values * _rise(beside[axis], length, edge, float(own[axis].max()))
        return replace(canvas, strength=values[None])


def read(config: GenerateConfig, videos: int, sounds: int) -> tuple[list[Strength], list[Path | None]]:
    """What the options say of each reference.

    Args:
        config: The generation.
        videos: How many reference videos there are.
        sounds: How many reference sounds.

    Returns:
        A strength without its mask for each video, then for each sound; and the mask's file of each video.

    Raises:
        ConfigError: Not one for all and not one for each, or a fade that is none.
    """
    count = videos + sounds
    levels = _each("--strength", config.strength, count, 1.0)
    fades = [fade(text) for text in _each("--strength-fade", config.strength_fade, count, NONE)]
    for given in fades[videos:]:
        if wrong := [edge for edge in given if _AXES[edge]]:
            raise ConfigError(
                f"a sound has no {wrong[0]}", "it fades in and out: --strength-fade in=1s,out=1s"
            )
    masks = _each("--strength-mask", config.strength_mask, videos, NONE)
    return (
        [Strength(level=level, fade=given) for level, given in zip(levels, fades, strict=True)],
        [None if file == NONE else Path(file) for file in masks],
    )


def fade(text: str) -> dict[str, float]:
    """`in=0.5s,out=1s,left=25%` to lengths: seconds, and shares of the picture; `none` has none.

    Raises:
        ConfigError: It is not of that form.
    """
    lengths: dict[str, float] = {}
    for part in text.split(",") if text != NONE else []:
        match = re.fullmatch(r"\s*(?:(in|out)=([\d.]+)s|(left|right|top|bottom)=([\d.]+)%)\s*", part)
        try:
            edge, length = (match[1] or match[3], float(match[2] or match[4])) if match else ("", 0.0)
        except ValueError:
            length = 0.0
        if not length or edge in lengths:
            raise ConfigError(
                f"{text!r} is not a fade",
                "write in=0.5s, out=1s, left=25%, right=, top= or bottom=, several with commas",
            )
        lengths[edge] = length / (100 if _AXES[edge] else 1)
    return lengths


def mask(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read a mask, a picture or a video, and stretch it over a reference.

    Args:
        file: White is full strength, black and transparent none; colours count by their mean.
        shape: (F, H, W) of the reference's file.

    Returns:
        uint8 [F, H, W].

    Raises:
        InputError: It cannot be read.
        ConfigError: It is too long to be held in memory.
    """
    import cv2

    grey = media.read_mask(file)
    count, height, width = shape
    picks = ((np.arange(count) + 0.5) * len(grey) / count).astype(int)
    used, places = np.unique(picks, return_inverse=True)
    grey = grey[used]
    if grey.shape[1:] != (height, width):
        area = cv2.INTER_AREA
        grey = np.stack([cv2.resize(frame, (width, height), interpolation=area) for frame in grey])
    stretched: np.ndarray = grey[places]
    return stretched


def moves(file: Path) -> bool:
    """Whether a mask has more frames than one, so that its reference's length matters.

    Raises:
        InputError: It cannot be read.
    """
    return len(media.read_mask(file, limit=2)) > 1


def _each(option: str, given: Sequence[T], count: int, usual: T) -> list[T]:
    """One of these for each of `count` references."""
    if (len(given) > 1 and len(given) != count) or (given and not count):
        kind = "reference videos" if option == "--strength-mask" else "references"
        raise ConfigError(
            f"{option} is given {len(given)} times, there are {count} {kind}",
            "give one for all, or one for each: the videos in their order, then the sounds",
        )
    return list(given) if len(given) > 1 else list(given or [usual]) * count


def _means(mask: np.ndarray) -> torch.Tensor:
    """Mean of a mask [F, H, W] over what each video token covers, [F' * H' * W'] in [0, 1]."""
    held = np.repeat(
        mask[:1], FACTORS.time - 1, axis=0
    )  # the first latent frame is one frame: its mean is that
    time, space = FACTORS.time, FACTORS.space
    cells = torch.from_numpy(np.concatenate([held, mask])).unfold(0, time, time)
    cells = cells.unfold(1, space, space).unfold(2, space, space)
    return cells.float().mean(dim=(3, 4, 5)).flatten() / 255


def _rise(spans: torch.Tensor, length: float, edge: str, end_of_clip: float) -> torch.Tensor:
    """Mean over each token's span of a ramp: 0 at the edge, 1 from `length` inwards.

    Args:
        spans: [R, 2], start and end of each token along this axis.
        length: Seconds along time, otherwise a share of what the reference covers.
        edge: Where it rises from.
        end_of_clip: Along this axis; a reference that goes on behind it ends there.
    """
    first, last = float(spans.min()), min(float(spans.max()), end_of_clip)
    if _AXES[edge]:
        length = length * (last - first)
    start, end = (last - spans.flip(1) if edge in _FROM_THE_END else spans - first).double().unbind(1)

    def until(x: torch.Tensor) -> torch.Tensor:  # the ramp's integral
        return torch.where(x < length, x.clamp(min=0).square() / (2 * length), x - length / 2)

    return ((until(end) - until(start)) / (end - start)).float()
