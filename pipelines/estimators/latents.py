"""Frames and sound to the backbone's latents (the numerics are in `training.codec`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training import backbone


class VideoEncoder:
    """The backbone's video VAE.

    Args:
        backbone_path: A located backbone.
        device: Torch device.
        dtype: Of the weights; None keeps the file's.

    Attributes:
        hash: Identifies the encoder: sha256 over its configuration and weights.
    """

    kind = "video"

    def __init__(self, backbone_path: Path, device: str = "cpu", dtype: Any = None) -> None:
        self.hash = backbone.encoder_hash(backbone_path, self.kind)
        self._vae = backbone.component(backbone_path, "vae", dtype).to(device)

    def encode(self, frames: np.ndarray) -> dict[str, Any]:
        """Encode a clip.

        Args:
            frames: uint8 RGB [F, H, W, 3], F % 8 == 1, H and W multiples of 32.

        Returns:
            `latents`: tensor [C, 1 + (F - 1) / 8, H / 32, W / 32], normalised, float32, on the CPU.

        Raises:
            ConfigError: The shape does not fit.
        """
        from training.codec import encode_video

        return {"latents": encode_video(self._vae, frames)}


class AudioEncoder:
    """The backbone's audio VAE behind its mel front end; arguments and `hash` as `VideoEncoder`'s."""

    kind = "audio"

    def __init__(self, backbone_path: Path, device: str = "cpu", dtype: Any = None) -> None:
        self.hash = backbone.encoder_hash(backbone_path, self.kind)
        self._vae = backbone.component(backbone_path, "audio_vae", dtype).to(device)

    def encode(self, samples: np.ndarray, rate: int) -> dict[str, Any]:
        """Encode a sound.

        Args:
            samples: float32 [channels, N], full scale 1.
            rate: Samples a second; resampled to the VAE's own.

        Returns:
            `latents`: tensor [C, L, bins], normalised, float32, on the CPU; L is 25 a second, rounded.
        """
        from training.codec import encode_audio

        return {"latents": encode_audio(self._vae, samples, rate)}
