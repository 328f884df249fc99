"""The parallel canvas: reference tokens behind the target's, marked clean by timestep 0.

A stream (video or audio) of the transformer sees one sequence, `[target | reference]`. Only the positions
tell it which reference token belongs to which target token, so a reference drawn at 1/s of the size has its
y and x multiplied by s (AVControl, arXiv 2603.24793). The loss is on the target alone.

Shapes: B samples, T target tokens, R reference tokens, C channels of a token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from training.backbone import FACTORS


def video_tokens(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, F, H, W] latents to [B, F*H*W, C] tokens; x runs fastest (the patch size is 1)."""
    return latents.flatten(2).transpose(1, 2)


def video_latents(tokens: torch.Tensor, frames: int, height: int, width: int) -> torch.Tensor:
    """[B, F*H*W, C] tokens back to [B, C, F, H, W] latents."""
    return torch.unflatten(tokens.transpose(1, 2), 2, (frames, height, width))


def audio_tokens(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, L, bins] latents to [B, L, C*bins] tokens: one token for each latent frame."""
    return latents.transpose(1, 2).flatten(2)


def audio_latents(tokens: torch.Tensor, bins: int) -> torch.Tensor:
    """[B, L, C*bins] tokens back to [B, C, L, bins] latents."""
    return torch.unflatten(tokens, 2, (-1, bins)).transpose(1, 2)


def video_positions(frames: int, height: int, width: int, fps: float, scale: int = 1) -> torch.Tensor:
    """Where each video token lies: seconds, y and x in pixels of the target, as [start, end).

    The first latent frame stands for one pixel frame, each later one for eight, so the k-th covers frames
    max(0, 8k - 7) to 8k + 1 (diffusers' `prepare_video_coords` gives the same numbers).

    Args:
        frames: Latent frames.
        height: Latent rows.
        width: Latent columns.
        fps: Frames a second.
        scale: s of a reference drawn at 1/s.

    Returns:
        [1, 3, F*H*W, 2] float32.
    """
    time = _bounds(frames, FACTORS.time)
    time = (time + 1 - FACTORS.time).clamp(min=0) / fps
    y = _bounds(height, FACTORS.space) * scale
    x = _bounds(width, FACTORS.space) * scale
    grid = (
        time[:, None, None].expand(frames, height, width, 2),
        y[None, :, None].expand(frames, height, width, 2),
        x[None, None, :].expand(frames, height, width, 2),
    )
    return torch.stack(grid).flatten(1, 3)[None]


def audio_positions(count: int) -> torch.Tensor:
    """When each audio token sounds, seconds, as [start, end): [1, 1, L, 2] float32."""
    mels = (_bounds(count, FACTORS.audio_time) + 1 - FACTORS.audio_time).clamp(min=0)
    return (mels * FACTORS.audio_hop / FACTORS.audio_rate)[None, None]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """One stream of a batch: what to denoise, and the reference beside it.

    Attributes:
        target: [B, T, C], clean in training, the current state in generation.
        reference: [B, R, C]; R is 0 where there is none.
        positions: [1 or B, axes, T + R, 2]; 3 axes for video, 1 for audio.
        grid: The target's latent grid: (F, H, W) for video, (L, bins) for audio.
        given: bool [1 or B, T], target tokens that are known and stay as they are (a first frame); None for none.
        strength: [1 or B, R], how much the target's tokens heed each reference token: 1 as trained, 0 not at all;
            None is 1 everywhere.
    """

    target: torch.Tensor
    reference: torch.Tensor
    positions: torch.Tensor
    grid: tuple[int, ...]
    given: torch.Tensor | None = None
    strength: torch.Tensor | None = None

    def tokens(self, noised: torch.Tensor) -> torch.Tensor:
        """The sequence the transformer sees: [B, T + R, C], noised target first."""
        return torch.cat([noised, self.reference.to(noised.dtype)], dim=1)

    def clean(self) -> torch.Tensor:
        """Which tokens carry no noise, bool [1 or B, T + R]: the reference's, and what of the target is given."""
        given = self.given
        if given is None:
            given = torch.zeros(1, self.target.shape[1], dtype=torch.bool, device=self.target.device)
        return torch.cat([given, given.new_ones(len(given), self.reference.shape[1])], dim=1)

    def latents(self, tokens: torch.Tensor) -> torch.Tensor:
        """Target tokens [B, T, C] back on the latent grid."""
        if len(self.grid) == 2:
            return audio_latents(tokens, self.grid[1])
        frames, height, width = self.grid
        return video_latents(tokens, frames, height, width)

    def also(self, other: Canvas) -> Canvas:
        """The same with the other's reference behind its own: two controls of one target."""
        beside = other.positions[:, :, other.target.shape[1] :]
        return replace(
            self,
            reference=torch.cat([self.reference, other.reference], dim=1),
            positions=torch.cat([self.positions, beside], dim=2),
            strength=_both(self, other),
        )

    def to(self, device: torch.device | str) -> Canvas:
        """The same on another device."""
        return replace(
            self,
            target=self.target.to(device),
            reference=self.reference.to(device),
            positions=self.positions.to(device),
            given=None if self.given is None else self.given.to(device),
            strength=None if self.strength is None else self.strength.to(device),
        )


def video_canvas(
    target: torch.Tensor, reference: torch.Tensor | None, *, fps: float, scale: int = 1
) -> Canvas:
    """Lay video latents [B, C, F, H, W] and a reference's [B, C, F, H/s, W/s] on one canvas.

    Args:
        target: Latents, or noise of their shape.
        reference: Latents of the control; None for none.
        fps: Of both.
        scale: s, `reference_downscale` of the sample.
    """
    positions = [_positions_of(target, fps, 1)]
    rows = video_tokens(target)
    beside = rows[:, :0]
    if reference is not None:
        positions.append(_positions_of(reference, fps, scale))
        beside = video_tokens(reference)
    grid = tuple(target.shape[2:])
    return Canvas(target=rows, reference=beside, positions=torch.cat(positions, dim=2), grid=grid)


def audio_canvas(target: torch.Tensor, reference: torch.Tensor | None) -> Canvas:
    """Lay audio latents [B, C, L, bins] and a reference's on one canvas."""
    positions = [audio_positions(target.shape[2])]
    rows = audio_tokens(target)
    beside = rows[:, :0]
    if reference is not None:
        positions.append(audio_positions(reference.shape[2]))
        beside = audio_tokens(reference)
    grid = tuple(target.shape[2:])
    return Canvas(target=rows, reference=beside, positions=torch.cat(positions, dim=2), grid=grid)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Connector outputs of a batch.

    Attributes:
        video: [B, L, Dv].
        audio: [B, L, Da].
        mask: [B, L], 1 where a token counts; None where all do, which is decided where the prompt is made, on the
            CPU, so that no step waits for the GPU to know.
    """

    video: torch.Tensor
    audio: torch.Tensor
    mask: torch.Tensor | None

    def __post_init__(self) -> None:
        """Let a mask go that masks nothing."""
        if self.mask is not None and self.mask.device.type == "cpu" and bool(self.mask.all()):
            object.__setattr__(self, "mask", None)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Prompt:
        """The same on another device, the embeddings in another dtype."""
        mask = None if self.mask is None else self.mask.to(device)
        return Prompt(video=self.video.to(device, dtype), audio=self.audio.to(device, dtype), mask=mask)


@dataclass(frozen=True, kw_only=True)
class Streams:
    """One value for each stream; None where the stream is not used."""

    video: Any = None
    audio: Any = None

    def to(self, device: torch.device | str) -> Streams:
        """The same on another device."""
        return Streams(video=self.video and self.video.to(device), audio=self.audio and self.audio.to(device))


def _positions_of(latents: torch.Tensor, fps: float, scale: int) -> torch.Tensor:
    frames, height, width = latents.shape[2:]
    return video_positions(frames, height, width, fps, scale)


def _bounds(count: int, step: int) -> torch.Tensor:
    """[count, 2] float32: start and end of each cell of a grid with this step."""
    starts = torch.arange(count, dtype=torch.float32)
    return torch.stack([starts, starts + 1], dim=-1) * step


def _both(one: Canvas, other: Canvas) -> torch.Tensor | None:
    """Strengths of two references, one behind the other."""
    if one.strength is None and other.strength is None:
        return None
    parts = [
        canvas.reference.new_ones(1, canvas.reference.shape[1])
        if canvas.strength is None
        else canvas.strength
        for canvas in (one, other)
    ]
    return torch.cat(parts, dim=1)
