"""A step of one stream: what of the transformer it does not need is taken out.

diffusers' forward always runs both streams. A stream that is not used gets one placeholder token of zeros
(`tokens.predict`), and none of the blocks' parts for it is left: an audio adapter's step has no video tokens,
runs no video attention or feed-forward, and keeps none of their weights (13 of LTX-2's 19 billion).
"""

from __future__ import annotations

from typing import Any

import torch

_PARTS = {"video": ("attn1", "attn2", "ff"), "audio": ("audio_attn1", "audio_attn2", "audio_ff")}
_BETWEEN = ("audio_to_video_attn", "video_to_audio_attn")


class _Off(torch.nn.Module):
    """Stands for a part that does not run: it adds nothing to the placeholder."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.zeros_like(hidden_states)


def drop(transformer: Any, streams: str) -> None:
    """Take the idle stream's attention and feed-forward out of every block, for good.

    Args:
        transformer: `LTX2VideoTransformer3DModel`, with or without adapters.
        streams: `video`, `audio` or `joint` (which needs everything).
    """
    if streams == "joint":
        return
    idle = "audio" if streams == "video" else "video"
    for block in transformer.transformer_blocks:
        for name in (*_PARTS[idle], *_BETWEEN):
            setattr(block, name, _Off())
