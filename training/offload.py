"""The blocks' frozen weights in the host's memory, each on the GPU only while it is its turn.

Two blocks have room on the GPU. While one computes, the next one's weights are copied beside it by a second stream:
forward in the blocks' order, and in the backward pass, where each block is run again (`recompute`), in the reverse.
"""

from __future__ import annotations

from typing import Any

import torch

_ALIGN = 256  # bytes


class Offload:
    """Moves the frozen tensors of blocks that are added to it.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._homes: list[torch.Tensor] = []
        self._rooms: list[torch.Tensor] = []
        self._stream = torch.cuda.Stream(device)
        self._held: list[int | None] = [None, None]
        self._copied = [torch.cuda.Event() for _ in range(2)]
        self._last = -1

    def add(self, block: Any) -> None:
        """Take the next block, like those before it; from now on it is run again in the backward pass."""
        index = len(self._homes)
        self._homes.append(_pack(block))
        if index < 2:
            self._rooms.append(torch.empty_like(self._homes[0], device=self._device))
        _point(block, self._rooms[index % 2])
        block.register_forward_pre_hook(lambda *_: self._ensure(index))
        block.recompute = True

    def _ensure(self, index: int) -> None:
        """The block's weights are there before its work; the next one's are on their way."""
        forward = index > self._last or index == 0
        self._fetch(index)
        torch.cuda.current_stream(self._device).wait_event(self._copied[index % 2])
        following = index + 1 if forward else index - 1
        if 0 <= following < len(self._homes):
            self._fetch(following)
        self._last = index

    def _fetch(self, index: int) -> None:
        room = index % 2
        if self._held[room] == index:
            return
        # What reads the room's former weights has been queued already: wait for that, then overwrite.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream), torch.no_grad():
            self._rooms[room].copy_(self._homes[index], non_blocking=True)
            self._copied[room].record()
        self._held[room] = index


def _layout(block: Any) -> tuple[list[tuple[Any, str, torch.Tensor, slice]], int]:
    """What is frozen and large enough to be worth moving: module, name, value and place; and the bytes of all."""
    found, size = [], 0
    for module in block.modules():
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and not value.requires_grad and value.ndim == 2 and value.numel() > 0:
                found.append((module, name, value, slice(size, size + value.nbytes)))
                size += -(-value.nbytes // _ALIGN) * _ALIGN
    return found, size


def _pack(block: Any) -> torch.Tensor:
    """All of them in one page-locked buffer, from where a copy runs beside computation."""
    found, size = _layout(block)
    home = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    for _, _, value, place in found:
        home[place].view(value.dtype).copy_(value.detach().reshape(-1))
    return home


def _point(block: Any, room: torch.Tensor) -> None:
    """Let the block's tensors be views of a room on the GPU."""
    for module, name, value, place in _layout(block)[0]:
        view = room[place].view(value.dtype).view(value.shape)
        if name in module._parameters:
            module._parameters[name] = torch.nn.Parameter(view, requires_grad=False)
        else:
            module._buffers[name] = view
