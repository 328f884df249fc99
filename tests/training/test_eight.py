"""Frozen matrices in 8 bits against exact products."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.helpers import random
from training.eight import Linear8, adapted, rounded


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 6), columns=st.integers(1, 40), size=st.floats(-6, 6), seed=st.integers(0, 999))
def test_rounding_is_within_a_sixteenth(rows: int, columns: int, size: float, seed: int) -> None:
    x = random(rows, columns, seed=seed) * 10**size
    x[0] = 0  # a row of zeros stays one
    values, scale = rounded(x)
    back = values.float() * scale
    least = scale * 2**-9 / 2  # half of the smallest step above zero
    assert ((back - x).abs() <= torch.maximum(x.abs() / 16, least) * (1 + 1e-6)).all()
    assert (back[0] == 0).all() and values.dtype == torch.float8_e4m3fn


def layer(out: int = 48, width: int = 64, bias: bool = True) -> torch.nn.Linear:
    made = torch.nn.Linear(width, out, bias=bias).requires_grad_(False)
    made.weight.copy_(random(out, width, seed=1) * 0.1)
    if bias:
        made.bias.copy_(random(out, seed=2))
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_for_room_the_product_is_that_of_the_rounded_weights(bias: bool) -> None:
    plain = layer(bias=bias)
    eight = Linear8(plain, products=False)
    values, scale = rounded(plain.weight)
    plain.weight.copy_(values.float() * scale)
    results = []
    for one in (plain, eight):
        x = random(3, 5, 64).requires_grad_()
        y = one(x)
        results.append((y, *torch.autograd.grad((y * random(3, 5, 48, seed=3)).sum(), x)))
    for ours, exact in zip(*results, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-5)
    held = sum(value.numel() * value.element_size() for value in eight.buffers())
    assert held < 0.5 * (plain.weight.numel() * 4)


def test_for_speed_both_directions_are_near_and_the_adapter_is_exact() -> None:
    plain = layer(width=128)
    down, up = random(16, 128, seed=4) * 0.1, random(48, 16, seed=5) * 0.1
    results = []
    for eight in (False, True):
        x, a, b = (t.clone().requires_grad_() for t in (random(2, 32, 128), down, up))
        layers = Linear8(plain, products=True)
        y = adapted(x, layers, a, b, 2.0) if eight else plain(x) + x @ a.T @ b.T * 2
        results.append((y, *torch.autograd.grad((y * random(2, 32, 48, seed=6)).sum(), (x, a, b))))
    (exact_y, exact_dx, *exact), (y, dx, *ours) = results
    for one, other in ((y, exact_y), (dx, exact_dx)):
        assert 1e-4 < (one - other).norm() / other.norm() < 0.05  # rounded, but only that
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
