"""The smallest Depth Anything 2 there is, with random weights: the real classes, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np


def network(seed: int = 0) -> Any:
    """A network whose outputs vary over the picture, as a fresh one's hardly do."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        image_size=56,
        patch_size=14,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    tiny = DepthAnythingForDepthEstimation(config)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in tiny.parameters():
            if weights.dim() > 1:
                weights.normal_(0, weights[0].numel() ** -0.5, generator=random)
        tiny.head.conv3.weight.abs_()
        tiny.head.conv3.bias.fill_(1.0)  # away from the last ReLU's zero
    return tiny.eval()


def save(folder: Path, seed: int = 0) -> Path:
    """Write the network as the hub has it; returns the folder."""
    network(seed).save_pretrained(folder)
    return folder


def panned(
    count: int = 9, width: int = 128, height: int = 72, seed: int = 0, still: bool = False
) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a window that slides over a picture, and the inverse depth that slides along, [F, H, W]."""
    rng = np.random.default_rng(seed)
    size = width + 2 * count, height + count
    colours = rng.integers(0, 256, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8)
    picture = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
    inverse = cv2.resize(rng.uniform(1, 5, (5, 9)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    corners = [(0, 0) if still else (n // 2, 2 * n) for n in range(count)]
    cut = [(slice(y, y + height), slice(x, x + width)) for y, x in corners]
    return [np.ascontiguousarray(picture[at]) for at in cut], np.stack([inverse[at] for at in cut])
