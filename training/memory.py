"""How many blocks keep their activations: as many as the GPU has room for.

A block that keeps them costs memory, one that does not is run again in the backward pass. Both are measured: one step
with every block run again, one with a single block that keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

_SPARE = 0.02  # of the GPU's memory


class Fits:
    """Which blocks are run again, for each shape of a batch; decided when a shape first comes up.

    Args:
        blocks: The transformer's.
        device: A CUDA device.
        optimizer: Whose state, once there, takes room too.
    """

    def __init__(self, blocks: Sequence[Any], device: torch.device, optimizer: torch.optim.Optimizer) -> None:
        self._blocks, self._device, self._optimizer = blocks, device, optimizer
        self._kept: dict[Hashable, int] = {}

    def __call__(self, batch: Any, step: Callable[[], None]) -> None:
        """Set the blocks' `recompute` for a batch.

        Args:
            batch: What `data.read_batch` gave.
            step: A forward and backward pass of it that leaves nothing behind.
        """
        canvases = (batch.canvases.video, batch.canvases.audio)
        shape = tuple(c and (c.target.shape, c.reference.shape) for c in canvases), batch.prompt.video.shape
        if shape not in self._kept:
            trained = [p for group in self._optimizer.param_groups for p in group["params"]]
            coming = 0 if self._optimizer.state else sum(2 * p.numel() * p.element_size() for p in trained)
            self._kept[shape] = fit(self._blocks, step, self._device, reserve=coming)
        _set(self._blocks, self._kept[shape])


def fit(blocks: Sequence[Any], step: Callable[[], None], device: torch.device, *, reserve: int = 0) -> int:
    """Measure how many blocks can keep their activations, and let them.

    Args:
        blocks: The transformer's.
        step: One forward and backward pass of the shape in question that leaves nothing behind.
        device: A CUDA device.
        reserve: Bytes that will be wanted later.

    Returns:
        How many blocks, the first ones, keep them.

    Raises:
        torch.OutOfMemoryError: A step does not fit even with every block run again.
    """
    _set(blocks, 0)
    _peak(step, device)  # compiles, too
    floor = _peak(step, device)
    _set(blocks, 1)
    each = max(1, _peak(step, device) - floor)
    free, total = torch.cuda.mem_get_info(device)
    room = free + torch.cuda.memory_reserved(device) - reserve - int(_SPARE * total)
    kept = int(min(len(blocks), max(0, (room - floor) // each)))
    while True:
        _set(blocks, kept)
        try:
            _peak(step, device)
            return kept
        except torch.OutOfMemoryError:
            if kept == 0:
                raise
        kept -= 1 + kept // 16


def _set(blocks: Sequence[Any], kept: int) -> None:
    for index, block in enumerate(blocks):
        block.recompute = index >= kept


def _peak(step: Callable[[], None], device: torch.device) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
