"""How much noise a training step adds, and what the model has to say about it.

Flow matching on a straight line: x_sigma = (1 - sigma) x0 + sigma noise, and the target is the velocity
noise - x0. Sigma is a shifted logit-normal: sigmoid(z + shift) with z normal, where the shift grows with the
number of target tokens exactly as the scheduler's does in generation (FlowMatchEulerDiscreteScheduler,
exponential time shift), so training looks at the levels that generation passes through.
"""

from __future__ import annotations

import torch

_FEW, _MANY = 1024, 4096  # target tokens
_LOW, _HIGH = 0.95, 2.05  # the shift at either
_UNIFORM = 0.1  # share of samples drawn evenly, so that no level is ever starved


def shift(tokens: int) -> float:
    """The shift for this many target tokens: linear from 0.95 at 1024 to 2.05 at 4096, clamped beyond."""
    share = (tokens - _FEW) / (_MANY - _FEW)
    return _LOW + (_HIGH - _LOW) * min(1.0, max(0.0, share))


def sample_sigma(count: int, tokens: int, generator: torch.Generator) -> torch.Tensor:
    """Draw noise levels.

    Args:
        count: How many.
        tokens: Target tokens of one sample.
        generator: CPU generator; the same state gives the same levels on any machine.

    Returns:
        [count] float32 in (0, 1).
    """
    normal = torch.sigmoid(torch.randn(count, generator=generator) + shift(tokens))
    even = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < _UNIFORM, even, normal)


def add_noise(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """x_sigma = (1 - sigma) clean + sigma noise; sigma is [B], the rest [B, …]."""
    level = sigma.view(-1, *[1] * (clean.ndim - 1))
    return (1 - level) * clean + level * noise


def velocity(clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """What the model predicts: d x_sigma / d sigma = noise - clean."""
    return noise - clean
