"""Strength in attention against the softmax written out, with its bias, in float64."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from tests.training.helpers import random
from training.attention import attend, heed

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def written_out(qkv: Three, strength: torch.Tensor, targets: int | None = None) -> torch.Tensor:
    query, key, value = (part.double().transpose(1, 2) for part in qkv)
    own = key.shape[2] - strength.shape[1]
    bias = torch.zeros(len(strength), 1, query.shape[2], key.shape[2], dtype=torch.float64)
    bias[:, 0, : own if targets is None else targets, own:] = strength.double().log()[:, None]
    logits = query @ key.mT / query.shape[3] ** 0.5 + bias
    return (logits.softmax(dim=3) @ value).transpose(1, 2)


def heeding(qkv: Three, strength: torch.Tensor, targets: int | None = None) -> torch.Tensor:
    """As the blocks do; by default of a canvas to itself."""
    own = qkv[1].shape[1] - strength.shape[1]
    made = heed(strength, own, qkv[0].dtype)
    return attend(*qkv, heed=made, targets=own if targets is None else targets)


def canvas(
    own: int, beside: int, batch: int = 1, heads: int = 2, wide: int = 8, seed: int = 0, scale: float = 2.0
) -> Three:
    """Queries, keys and values; with a scale of 2, logits of a few units, as a trained model has."""
    shape = (batch, own + beside, heads, wide)
    query, key, value = (random(*shape, seed=3 * seed + index) for index in range(3))
    return query * scale, key, value


@st.composite
def cases(draw: st.DrawFn) -> tuple[Three, torch.Tensor]:
    """Strengths of one row or one a sample: masks of 0 and 1, any values, all the same."""
    own, beside, batch = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    heads, wide = draw(st.integers(1, 3)), draw(st.sampled_from([4, 8, 12]))
    qkv = canvas(own, beside, batch, heads, wide, draw(st.integers(0, 99)))
    some = st.one_of(st.sampled_from([0.0, 1.0, 1e-6]), st.floats(0, 4, width=32))
    value = draw(st.sampled_from([some, st.sampled_from([0.0, 1.0]), st.just(draw(some))]))
    rows = draw(st.sampled_from([1, batch]))
    given = draw(st.lists(st.lists(value, min_size=beside, max_size=beside), min_size=rows, max_size=rows))
    return qkv, torch.tensor(given)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_strength_is_a_logarithm_on_the_logits(case: tuple[Three, torch.Tensor]) -> None:
    qkv, strength = case
    out = heeding(qkv, strength).double()
    torch.testing.assert_close(out, written_out(qkv, strength), rtol=2e-5, atol=2e-6)


@settings(deadline=None, max_examples=40)
@given(cases())
def test_gradients_are_those_of_the_softmax_written_out(case: tuple[Three, torch.Tensor]) -> None:
    qkv, strength = case
    weights = random(*qkv[0].shape, seed=9)
    found = []
    for function in (heeding, written_out):
        leaves = tuple(part.detach().clone().requires_grad_() for part in qkv)
        gradients = torch.autograd.grad((function(leaves, strength) * weights).sum(), leaves)
        found.append(torch.cat([gradient.flatten().double() for gradient in gradients]))
    assert (found[0] - found[1]).norm() < 1e-5 * (1 + found[1].norm())


@settings(deadline=None, max_examples=60)
@given(cases())
def test_what_is_heeded_is_as_small_as_can_be(case: tuple[Three, torch.Tensor]) -> None:
    """No bias where what is left has strength 1 in all samples, no key that no sample hears, nothing at all for 1."""
    qkv, strength = case
    own = qkv[1].shape[1] - strength.shape[1]
    made = heed(strength, own, torch.bfloat16)
    heard = [*range(own), *(own + j for j in range(strength.shape[1]) if strength[:, j].max() > 0)]
    kept = strength[:, [j - own for j in heard[own:]]]
    if (strength == 1).all():
        assert made is None
        return
    assert made is not None
    keys = range(own + strength.shape[1]) if made.keys is None else made.keys.tolist()
    assert list(keys) == heard and (made.keys is None) == bool((strength.amax(dim=0) > 0).all())
    assert (made.bias is None) == bool((kept == 1).all())
    if made.bias is not None:
        assert made.bias.shape == (len(strength), 1, 1, len(heard)) and made.bias.dtype == torch.bfloat16


def test_a_strength_of_one_is_the_plain_path_bit_for_bit() -> None:
    qkv = canvas(6, 5)
    assert heed(torch.ones(2, 5), 6, torch.float32) is None and heed(None, 6, torch.float32) is None
    query, key, value = (part.transpose(1, 2) for part in qkv)
    plain = scaled_dot_product_attention(query, key, value).transpose(1, 2)
    assert torch.equal(heeding(qkv, torch.ones(1, 5)), plain) and torch.equal(attend(*qkv), plain)
    near = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.999]])
    assert 0 < (heeding(qkv, near)[:, :6] - plain[:, :6]).abs().max() < 1e-3


def test_a_strength_of_zero_is_no_reference() -> None:
    qkv = canvas(6, 5)
    alone, plain = attend(*(part[:, :6] for part in qkv)), attend(*qkv)
    with_it = heeding(qkv, torch.zeros(1, 5))
    torch.testing.assert_close(with_it[:, :6], alone, rtol=1e-6, atol=1e-7)
    # the reference's queries see what they always saw
    torch.testing.assert_close(with_it[:, 6:], plain[:, 6:], rtol=1e-6, atol=1e-7)
    assert (plain[:, :6] - alone).abs().max() > 0.1


def test_samples_that_leave_out_others() -> None:
    """Each as if it were alone, with the tokens that it hears."""
    qkv = canvas(6, 5, batch=2)
    keep = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0]])
    out = heeding(qkv, keep)
    for sample, row in enumerate(keep):
        rows = torch.cat([torch.ones(6), row]).bool()
        one = [part[sample : sample + 1] for part in qkv]
        fewer = attend(one[0][:, :6], one[1][:, rows], one[2][:, rows])
        torch.testing.assert_close(out[sample : sample + 1, :6], fewer, rtol=1e-5, atol=1e-6)


def test_the_output_moves_continuously_with_strength() -> None:
    qkv, plain = canvas(8, 8), attend(*canvas(8, 8))

    def away(strength: float) -> float:
        return float((heeding(qkv, torch.full((1, 8), strength)) - plain).norm())

    near, far = away(0.99), away(0.0)
    assert 0 < near < 0.02 * far and away(1.0) == 0
    steps = [away(float(value)) for value in torch.linspace(1, 0, 51)]
    assert all(later > earlier for earlier, later in pairwise(steps))
    assert max(b - a for a, b in pairwise(steps)) < 0.15 * far  # log is steep only near 0
    assert away(1.5) > 0 and away(1.01) < 0.02 * far


def test_a_reference_that_drowns_the_target_and_is_switched_off() -> None:
    """Its logits are 150 above the target's: exp of the difference is no float32, and must not come up."""
    query, key, value = canvas(4, 3)
    query[..., :] = 1.0
    key[:, :4], key[:, 4:] = -30.0, 30.0
    for strength, heard in (([0.0, 0.0, 0.0], value[:, :4]), ([0.0, 1e-3, 1e-3], value[:, 5:])):
        out = heeding((query, key, value), torch.tensor([strength]))[:, :4]
        want = heard.mean(dim=1, keepdim=True).expand_as(out)
        torch.testing.assert_close(out, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "strength", [[0.5] * 6, [0.0, 1.0, 0.0, 0.0, 1.0, 1.0], [0.0, 0.2, 0.4, 0.6, 1.0, 2.0]]
)
def test_attention_from_another_stream(strength: list[float]) -> None:
    """Queries of a canvas of its own, target first: audio's to video's keys, say."""
    query = canvas(5, 3, seed=1)[0]
    _, key, value = canvas(4, 6, seed=2)
    given = torch.tensor([strength])
    out = heeding((query, key, value), given, 5)
    want = written_out((query, key, value), given, 5)
    torch.testing.assert_close(out.double(), want, rtol=1e-5, atol=1e-6)
    alone = heeding((query[:, :5], key, value), given, 5)  # in the last block
    torch.testing.assert_close(alone, out[:, :5], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_as_one_graph(training: bool) -> None:
    """Whatever is heard, and however much."""
    compiled = torch.compile(attend, fullgraph=True)
    for strength in (
        [0.0, 0.3, 1.0, 0.5, 2.0],
        [0.0, 0.0, 0.5, 2.0, 1.0],
        [0.0, 1.0, 1.0, 0.0, 0.0],
        [0.5] * 5,
    ):
        made = heed(torch.tensor([strength]), 6, torch.float32)
        found = []
        for function in (compiled, attend):
            leaves = [part.requires_grad_(training) for part in canvas(6, 5)]
            out = function(*leaves, heed=made, targets=6)
            gradients = torch.autograd.grad(out.square().sum(), leaves) if training else ()
            found.append(torch.cat([part.flatten() for part in (out.detach(), *gradients)]))
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_near_as_plain_attention(dtype: torch.dtype) -> None:
    qkv = tuple(part.to(dtype) for part in canvas(40, 40, heads=4, wide=64, scale=1.0))
    plain = attend(*qkv).double()
    usual = (plain - written_out(qkv, torch.ones(1, 40))).norm() / plain.norm()
    for strength in (torch.linspace(0, 1, 40)[None], (torch.arange(40) % 2)[None].float()):
        want = written_out(qkv, strength)
        error = (heeding(qkv, strength).double() - want).norm() / want.norm()
        assert error < 2 * usual < 0.02
