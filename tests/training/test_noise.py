import math

import numpy as np
import pytest
import torch

from training.noise import add_noise, sample_sigma, shift, velocity


def test_shift_is_linear_between_its_ends_and_clamped() -> None:
    assert shift(1024) == pytest.approx(0.95)
    assert shift(4096) == pytest.approx(2.05)
    assert shift(2560) == pytest.approx(1.5)
    assert shift(16) == pytest.approx(0.95)
    assert shift(100_000) == pytest.approx(2.05)


@pytest.mark.parametrize("tokens", [64, 2560, 8064])
def test_sigma_has_the_distribution_it_says(tokens: int) -> None:
    """Kolmogorov-Smirnov against 0.9 Phi(logit(s) - shift) + 0.1 s."""
    count = 40_000
    sigma = np.sort(sample_sigma(count, tokens, torch.Generator().manual_seed(1)).double().numpy())
    assert sigma[0] > 0 and sigma[-1] < 1
    phi = np.array(
        [0.5 * (1 + math.erf((math.log(s / (1 - s)) - shift(tokens)) / math.sqrt(2))) for s in sigma]
    )
    exact = 0.9 * phi + 0.1 * sigma
    distance = np.abs(exact - np.arange(1, count + 1) / count).max()
    assert distance < 1.95 / math.sqrt(count)  # fails by chance once in a thousand; the seed is fixed


def test_the_median_is_where_the_scheduler_puts_it() -> None:
    """The scheduler's exponential time shift sends 1/2 to sigmoid(mu), the median of the logit-normal."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="exponential")
    middle = scheduler.time_shift(shift(2560), 1.0, torch.tensor(0.5))
    assert float(middle) == pytest.approx(1 / (1 + math.exp(-shift(2560))), rel=1e-6)


def test_the_line_from_data_to_noise() -> None:
    clean, noise = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    assert torch.equal(add_noise(clean, noise, torch.zeros(3)), clean)
    assert torch.equal(add_noise(clean, noise, torch.ones(3)), noise)
    sigma = torch.tensor([0.1, 0.5, 0.9])
    x = add_noise(clean, noise, sigma)
    back = x - sigma[:, None, None] * velocity(clean, noise)  # one Euler step to sigma 0
    torch.testing.assert_close(back, clean)
