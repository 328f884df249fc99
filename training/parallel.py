"""Several processes training one adapter: torch.distributed, however they were started.

Data parallel: each process takes its own batches, and one exchange a step averages the adapter's gradients; nothing
else is trained. The frozen weights are on every GPU, or spread over them block by block where one does not hold them.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from catalogs.errors import TrainingError
from catalogs.root import storage_errors

_FITS = 0.7  # of a GPU's memory; the rest is for activations


def ranks() -> tuple[int, int]:
    """This process's number and how many there are; 0 of 1 where there is one alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def everyones(value: Any) -> list[Any]:
    """What each process gave, in the order of their numbers. Waits for all of them."""
    _, world = ranks()
    values = [value] * world
    if world > 1:
        dist.all_gather_object(values, value)
    return values


class Gradients:
    """The parameters' gradients in one buffer, so that averaging them is one exchange.

    Args:
        parameters: Trained ones, of one dtype and device; their `grad` is a view of the buffer from now on.

    Attributes:
        flat: [all gradients, then two figures]: what `count` has added up.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        every = list(parameters)
        sizes = [parameter.numel() for parameter in every]
        self.flat = torch.zeros(sum(sizes) + 2, dtype=every[0].dtype, device=every[0].device)
        for parameter, part in zip(every, self.flat[:-2].split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def count(self, losses: torch.Tensor) -> None:
        """Note a batch's losses [B], for the mean."""
        self.flat[-2] += losses.detach().sum()
        self.flat[-1] += len(losses)

    def average(self) -> torch.Tensor:
        """Average over the processes; returns the mean of all their losses, a scalar on the device."""
        _, world = ranks()
        if world > 1:
            dist.all_reduce(self.flat)
            self.flat /= world
        return self.flat[-2] / self.flat[-1]

    def zero(self) -> None:
        """Begin the next step."""
        self.flat.zero_()


def spreads(shard: str, transformer: torch.nn.Module, device: torch.device) -> bool:
    """Whether the frozen weights are to be spread over the GPUs; the same answer in every process.

    Args:
        shard: auto, never or always. Auto is where they take more than 0.7 of the smallest GPU.
        transformer: With the weights that will be used.
        device: This process's.
    """
    if ranks()[1] == 1 or shard == "never":
        return False
    if shard == "always":
        return True
    size = sum(weights.numel() * weights.element_size() for weights in transformer.parameters())
    there = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else float("inf")
    return bool(size > _FITS * min(everyones(there)))


def spread(transformer: Any, trained: Iterable[torch.nn.Parameter], device: torch.device) -> None:
    """Spread the blocks' frozen weights over the processes (FSDP2); a block's are gathered while it runs.

    The rest of the transformer and the adapter are whole on every device.

    Args:
        transformer: On the CPU, with its adapter; on `device` afterwards.
        trained: The adapter's parameters.
        device: This process's.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    mesh = init_device_mesh(device.type, (ranks()[1],))
    blocks, own = list(transformer.transformer_blocks), set(trained)
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=own)
    for block, following in itertools.pairwise(blocks):
        block.set_modules_to_forward_prefetch([following])
    transformer.to(device)
    rest = {weights for weights in transformer.parameters() if not isinstance(weights, DTensor)}
    fully_shard(transformer, mesh=mesh, ignored_params=rest)
    # The blocks share the root's streams once it is set up, which its own forward would do; ours calls the blocks.
    transformer._get_fsdp_state()._lazy_init()


def check_shared(folder: Path) -> None:
    """Make sure that every process sees the same folder.

    Raises:
        TrainingError: It does not lie on storage that all nodes share.
        StorageError: It cannot be written.
    """
    rank, world = ranks()
    if world == 1:
        return
    token = folder / f".shared-{everyones(uuid.uuid4().hex)[0]}"
    if rank == 0:
        with storage_errors(folder):
            token.touch()
    everyones(None)
    seen = everyones(token.exists())
    token.unlink(missing_ok=True)
    if not all(seen):
        raise TrainingError(
            f"{folder} is not the same folder on every node", "give an --out on storage that all nodes share"
        )
