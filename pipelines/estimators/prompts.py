"""Captions to what the backbone's transformer attends to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training import backbone


class PromptEncoder:
    """The backbone's text encoder, tokenizer and connectors.

    Args:
        backbone_path: A located backbone.
        device: Torch device.
        dtype: Of the weights; None keeps the file's.

    Attributes:
        hash: Identifies the three together.
    """

    kind = "text"

    def __init__(self, backbone_path: Path, device: str = "cpu", dtype: Any = None) -> None:
        self.hash = backbone.encoder_hash(backbone_path, self.kind)
        self._text_encoder = backbone.component(backbone_path, "text_encoder", dtype).to(device)
        self._tokenizer = backbone.component(backbone_path, "tokenizer")
        self._connectors = backbone.component(backbone_path, "connectors", dtype).to(device)

    def encode(self, caption: str) -> dict[str, Any]:
        """Encode a caption (which may be empty).

        Returns:
            `video` [L, Dv], `audio` [L, Da] and `mask` [L]: the connectors' outputs (`training.codec` says
            why those), on the CPU.
        """
        from training.codec import encode_prompt

        return encode_prompt(self._text_encoder, self._tokenizer, self._connectors, caption)
