"""From noise to latents: flow-match Euler steps along the scheduler's noise levels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import backbone, codec
from training.forward import predict
from training.noise import shift
from training.tokens import Canvas, Prompt, Streams


def noise_like(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Standard normal noise from a CPU generator: the same on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def denoise(
    transformer: Any,
    scheduler: Any,
    canvases: Streams,
    prompt: Prompt,
    *,
    steps: int,
    guidance: float = 1.0,
    negative: Prompt | None = None,
    progress: Callable[[int], None] | None = None,
) -> Streams:
    """Denoise the targets of one or both streams beside their references.

    Args:
        transformer: With the adapter in it.
        scheduler: The backbone's `FlowMatchEulerDiscreteScheduler`.
        canvases: A canvas for each stream, its target the initial noise; on the transformer's device.
        prompt: Of the batch.
        steps: Denoising steps.
        guidance: Classifier-free guidance; 1 needs no second pass.
        negative: The prompt that guidance steers away from; needed above 1.
        progress: Called with the number of finished steps.

    Returns:
        The denoised target tokens [B, T, C] float32 of each stream; what is given of them is as it was.
    """
    main = canvases.video or canvases.audio
    device = main.target.device
    # One scheduler for each stream, as each counts its own steps; the schedule follows the same shift that
    # the training noise has.
    schedulers = {"video": copy.deepcopy(scheduler), "audio": copy.deepcopy(scheduler)}
    for each in schedulers.values():
        if steps == 1:  # from 1 to 0; to stretch a single level down to a terminal one divides by 0
            each.register_to_config(shift_terminal=None)
        levels = np.linspace(1.0, 1.0 / steps, steps)
        each.set_timesteps(sigmas=levels, mu=shift(main.target.shape[1]), device=device)
    used = {name: canvas for name in ("video", "audio") if (canvas := getattr(canvases, name)) is not None}
    state = {name: canvas.target.float() for name, canvas in used.items()}
    for index, timestep in enumerate(schedulers["video"].timesteps):
        sigma = schedulers["video"].sigmas[index].to(device).expand(main.target.shape[0]).float()
        towards = predict(transformer, canvases, Streams(**state), sigma, prompt)
        away = None
        if guidance != 1.0 and negative is not None:
            away = predict(transformer, canvases, Streams(**state), sigma, negative)
        for name in state:
            velocity = getattr(towards, name).float()
            if away is not None:
                other = getattr(away, name).float()
                velocity = other + guidance * (velocity - other)
            made = schedulers[name].step(velocity, timestep, state[name], return_dict=False)[0]
            state[name] = _hold(used[name], made)
        if progress is not None:
            progress(index + 1)
    return Streams(**state)


def with_noise(canvases: Streams, seed: int) -> Streams:
    """The same canvases with seeded noise for targets, except where a target's tokens are given."""

    def fresh(canvas: Canvas | None, stream: int) -> Canvas | None:
        if canvas is None:
            return None
        noise = noise_like(tuple(canvas.target.shape), seed * 2 + stream)
        return replace(canvas, target=_hold(canvas, noise.to(canvas.target.device)))

    return Streams(video=fresh(canvases.video, 0), audio=fresh(canvases.audio, 1))


def _hold(canvas: Canvas, tokens: torch.Tensor) -> torch.Tensor:
    """Target tokens [B, T, C], with those that are given put back."""
    given = canvas.given
    return tokens if given is None else torch.where(given[:, :, None], canvas.target.to(tokens.dtype), tokens)


class Decoder:
    """Denoised tokens to pixels and sound; VAEs and vocoder are loaded when first needed.

    Args:
        path: The located backbone.
        device: Where they run.
        dtype: Of their weights.
    """

    def __init__(self, path: Path, device: Any, dtype: Any) -> None:
        self._path, self._device, self._dtype = path, device, dtype
        self._parts: dict[str, Any] = {}

    def __call__(
        self, canvases: Streams, made: Streams
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, int] | None]:
        """Decode the first sample of a batch: uint8 frames [F, H, W, 3], and (samples [2, N], rate in Hz)."""
        frames = sound = None
        if made.video is not None:
            frames = codec.decode_video(self._part("vae"), canvases.video.latents(made.video)[0])
        if made.audio is not None:
            latents = canvases.audio.latents(made.audio)[0]
            sound = codec.decode_audio(self._part("audio_vae"), self._part("vocoder"), latents)
        return frames, sound

    def _part(self, name: str) -> Any:
        if name not in self._parts:
            self._parts[name] = backbone.component(self._path, name, self._dtype).to(self._device)
        return self._parts[name]
