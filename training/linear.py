"""A frozen matrix with adapters beside it: y = x W^T + b + scale (x A^T) B^T.

peft holds the adapters; its own forward casts activations to the adapters' float32 and misses the tensor cores. Here
the masters stay float32 and are cast to the activations' dtype, which is what autocast does to the base matrix.

On a GPU the adapter's products with B forward, and with A backward, cost as much as they move: each reads and writes
the whole result once more. `border` puts them into the frozen product: for several layers of one input

        M = [ W  s B ]     y = [x, h] [W, s B]^T   with h = x A^T
            [ A   0  ]     dx = [dy, g] [W; A]     with g = dy s B

so that both directions are one product each, a hundredth larger, and W is stored once (docs/design/0009).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import linear as matmul
from torch.nn.functional import pad

from training.eight import Linear8, adapted


def linear(x: torch.Tensor, module: Any, *, made: bool = True) -> torch.Tensor:
    """Apply one linear layer of the backbone: [..., in] to [..., out] in x's dtype."""
    return linears(x, module, made=made)[0]


def linears(x: torch.Tensor, *modules: Any, made: bool = True) -> Sequence[torch.Tensor]:
    """Apply several linear layers of the backbone to the same input.

    Args:
        x: [..., in].
        modules: `torch.nn.Linear`, `Linear8`, or peft's LoRA layer over either.
        made: x is made by elementwise work, which then writes it with room for h; else making room is a copy.

    Returns:
        [..., out] of each, in x's dtype.
    """
    results: list[torch.Tensor] = []
    while len(results) < len(modules):
        first = modules[len(results)]
        count = getattr(first, "bordered_layers", 0)
        if count == 0:
            results.append(_plain(x, first))
        else:
            results += _stacked(x, modules[len(results) :][:count], made)
    return results


def _stacked(x: torch.Tensor, modules: Sequence[Any], made: bool) -> Sequence[torch.Tensor]:
    downs, ups, scales = zip(*(_adapter(module) for module in modules), strict=True)
    matrix, bias = modules[0].bordered, modules[0].bordered_bias
    y: torch.Tensor = _Bordered.apply(x, made, matrix, bias, scales, *downs, *ups)
    parts: Sequence[torch.Tensor] = y.split([len(up) for up in ups], dim=-1)
    return parts


def _plain(x: torch.Tensor, module: Any) -> torch.Tensor:
    base = getattr(module, "base_layer", module)
    if isinstance(base, Linear8) and base.products and base is not module:
        return adapted(x, base, *_adapter(module))
    y: torch.Tensor = base(x)
    if base is not module and not module.disable_adapters and not module.merged:
        for name in module.active_adapters:
            if name in module.lora_A and (scale := module.scaling[name]):
                inner = matmul(x, module.lora_A[name].weight.to(x.dtype))
                y = y + matmul(inner * scale, module.lora_B[name].weight.to(x.dtype))
    return y


def border(*modules: Any) -> None:
    """Put the adapters of layers that share their input into one matrix with their frozen weights.

    Args:
        modules: peft's LoRA layers, each with one adapter. Their weights become views of the one matrix.
    """
    weights = [module.base_layer.weight for module in modules]
    wide, high = weights[0].shape[1], sum(len(weight) for weight in weights)
    ranks = sum(len(_adapter(module)[0]) for module in modules)
    matrix = weights[0].new_zeros(high + ranks, wide + ranks)
    start = 0
    for module, weight in zip(modules, weights, strict=True):
        view = matrix[start : start + len(weight), :wide]
        view.copy_(weight.detach())
        module.base_layer.weight = torch.nn.Parameter(view, requires_grad=False)
        start += len(weight)
    biases = [module.base_layer.bias for module in modules]
    bias = None if biases[0] is None else torch.cat([one.detach() for one in biases])
    modules[0].register_buffer("bordered", matrix, persistent=False)
    modules[0].register_buffer("bordered_bias", bias, persistent=False)
    modules[0].bordered_layers = len(modules)


@torch.no_grad()
def refresh(groups: Sequence[tuple[Any, ...]]) -> None:
    """Copy the adapters' masters, as they are now, into the matrices of `border`.

    Args:
        groups: The layers of each matrix.
    """
    if not groups:
        return
    views, masters = [], []
    for modules in groups:
        matrix = modules[0]._buffers["bordered"]
        adapters = [_adapter(module) for module in modules]
        ranks = sum(len(down) for down, _, _ in adapters)
        row, column = len(matrix) - ranks, matrix.shape[1] - ranks
        start = 0
        for down, up, scale in adapters:
            views += [
                matrix[row : row + len(down), :-ranks],
                matrix[start : start + len(up), column : column + len(down)],
            ]
            masters += [down, up if scale == 1 else up * scale]
            row, column, start = row + len(down), column + len(down), start + len(up)
    torch._foreach_copy_(views, masters)


def _adapter(module: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    """lora_A [rank, in], lora_B [out, rank] and scale of a layer's one adapter."""
    (name,) = module.active_adapters
    return module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]


@torch.library.custom_op("avcontrol::bordered", mutates_args=())
def _bordered(
    x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, ranks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """[x, h] [W, s B]^T + b, and h = x A^T, for x of [T, in + ranks] whose last columns are room for h.

    Where x has no room the adapter's part is added to the result.
    """
    wide, high = matrix.shape[1] - ranks, len(matrix) - ranks
    inner = x[:, :wide] @ matrix[high:, :wide].T
    if x.shape[1] == wide:
        return matmul(x, matrix[:high, :wide], bias).addmm_(inner, matrix[:high, wide:].T), inner
    x[:, wide:] = inner
    return matmul(x, matrix[:high], bias), inner


@_bordered.register_fake
def _(x: Any, matrix: Any, bias: Any, ranks: int) -> Any:
    # Not len(x), an int: each number of tokens would be compiled anew.
    return x.new_empty(x.shape[0], len(matrix) - ranks), x.new_empty(x.shape[0], ranks)


@torch.library.custom_op("avcontrol::bordered_backward", mutates_args=())
def _bordered_backward(
    dy: torch.Tensor, x: torch.Tensor, matrix: torch.Tensor, inner: torch.Tensor, ranks: int, wants_dx: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of x [T, in], A [ranks, in] and B [out, ranks], for dy of [T, out + ranks] with room for g."""
    wide, high = matrix.shape[1] - ranks, len(matrix) - ranks
    outer = dy[:, :high] @ matrix[:high, wide:]
    dy[:, high:] = outer
    dx = dy @ matrix[:, :wide] if wants_dx else dy.new_empty(0)
    return dx, outer.T @ x[:, :wide], dy[:, :high].T @ inner


@_bordered_backward.register_fake
def _(dy: Any, x: Any, matrix: Any, inner: Any, ranks: int, wants_dx: bool) -> Any:
    wide, high = matrix.shape[1] - ranks, len(matrix) - ranks
    dx = dy.new_empty(dy.shape[0], wide) if wants_dx else dy.new_empty(0)
    return dx, x.new_empty(ranks, wide), x.new_empty(high, ranks)


class _Bordered(torch.autograd.Function):
    """`_bordered` with gradients of x, and of each A and B (whose values are read from the matrix).

    Applied to x, whether it gets room for h, the matrix, the bias, the scales, then every A and every B.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> torch.Tensor:  # type: ignore[override]
        # Where no gradient is asked for the compiler leaves ctx out if that makes the numbers of arguments and of
        # named parameters equal: so none is named.
        x, room, matrix, bias, scales, *adapters = given
        ranks = matrix.shape[1] - x.shape[-1]
        rows = pad(x.flatten(0, -2), (0, ranks if room else 0))
        y, inner = _bordered(rows, matrix, bias, ranks)
        ctx.save_for_backward(rows, matrix, inner)
        ctx.scales, ctx.shapes = scales, [adapter.shape for adapter in adapters]
        result: torch.Tensor = y.unflatten(0, x.shape[:-1])
        return result

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:  # type: ignore[override]
        rows, matrix, inner = ctx.saved_tensors
        ranks, wants_dx = inner.shape[1], ctx.needs_input_grad[0]
        dx, down, up = _bordered_backward(
            pad(dy.flatten(0, -2), (0, ranks)), rows, matrix, inner, ranks, wants_dx
        )
        count = len(ctx.scales)
        downs = down.float().split([shape[0] for shape in ctx.shapes[:count]])
        ups, row, column = [], 0, 0
        for shape, scale in zip(ctx.shapes[count:], ctx.scales, strict=True):
            ups.append(up[row : row + shape[0], column : column + shape[1]].float() * scale)
            row, column = row + shape[0], column + shape[1]
        return dx.unflatten(0, dy.shape[:-1]) if wants_dx else None, None, None, None, None, *downs, *ups
