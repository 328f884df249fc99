"""Frozen matrices in 8 bits: float8 (e4m3) with a scale per row.

Either for speed (`products=True`): activations are rounded row by row too, so that y = x W^T and dx = dy W run on the
fp8 tensor cores; each has a copy of W rounded along its own sum, together as large as bf16. Or for room: one copy,
brought back to the activations' dtype where it is used, which any GPU and a CPU can. Adapters stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear as matmul

EIGHT = torch.float8_e4m3fn
_LARGEST = 448.0  # of e4m3


def rounded(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of [N, K] in 8 bits, and their scales [N, 1] float32: x is rounded * scale, up to 2^-4 of each value."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / _LARGEST
    return (x.float() / scale).to(EIGHT), scale


class Linear8(torch.nn.Module):
    """A frozen linear layer of 8 bits.

    Args:
        layer: The layer it replaces.
        products: Multiply in fp8 (in both directions), for speed.
    """

    bias: torch.Tensor | None

    def __init__(self, layer: torch.nn.Linear, *, products: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight, bias = layer.weight.detach(), layer.bias
        tensors = dict(zip(("forth", "forth_scale"), rounded(weight), strict=True))
        if products:
            tensors |= zip(("back", "back_scale"), rounded(weight.T), strict=True)
        for name, value in tensors.items():
            self.register_buffer(name, value.contiguous(), persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach(), persistent=False)
        self.products = products

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out] in x's dtype, the product in that dtype too."""
        y: torch.Tensor = _Product.apply(x, self.forth, self.forth_scale)
        return y if self.bias is None else y + self.bias


def adapted(
    x: torch.Tensor, layer: Linear8, down: torch.Tensor, up: torch.Tensor, scale: float
) -> torch.Tensor:
    """`layer` multiplying in fp8, and an adapter's scale (x down^T) up^T beside it in x's dtype."""
    y: torch.Tensor = _Adapted.apply(
        x, layer.forth, layer.forth_scale, layer.back, layer.back_scale, layer.bias, scale, down, up
    )
    return y


class _Product(torch.autograd.Function):
    """x W^T of the activations' dtype, with W made from 8 bits in either direction."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(weight, scale)
        return matmul(x, _wide(weight, scale, x.dtype))

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:  # type: ignore[override]
        weight, scale = ctx.saved_tensors
        return dy @ _wide(weight, scale, dy.dtype), None, None


def _wide(weight: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (weight.float() * scale).to(dtype)


@torch.library.custom_op("avcontrol::product8", mutates_args=())
def _product8(
    x: torch.Tensor, x_scale: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None,
    inner: torch.Tensor, up: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """A product of 8 bits, x [T, K] weight [N, K]^T + bias, plus inner [T, R] up [R, N]; the sum in inner's dtype."""
    y = torch._scaled_mm(
        x, weight.T, scale_a=x_scale, scale_b=scale.T, bias=bias, out_dtype=inner.dtype, use_fast_accum=True
    )
    return y.addmm_(inner, up)


@_product8.register_fake
def _(x: Any, x_scale: Any, weight: Any, scale: Any, bias: Any, inner: Any, up: Any) -> Any:
    return inner.new_empty(x.shape[0], weight.shape[0])


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: torch.Tensor, forth: Any, forth_scale: Any, back: Any, back_scale: Any, bias: Any, scale: float,
        down: torch.Tensor, up: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        rows, down, up = x.flatten(0, -2), down.to(x.dtype), (up * scale).to(x.dtype)
        inner = rows @ down.T
        y = _product8(*rounded(rows), forth, forth_scale, bias, inner, up.T)
        ctx.save_for_backward(rows, inner, back, back_scale, down, up)
        ctx.scale = scale
        result: torch.Tensor = y.unflatten(0, x.shape[:-1])
        return result

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:  # type: ignore[override]
        rows, inner, back, back_scale, down, up = ctx.saved_tensors
        columns, dx = dy.flatten(0, -2), None
        outer = columns @ up
        if ctx.needs_input_grad[0]:
            dx = _product8(*rounded(columns), back, back_scale, None, outer, down).unflatten(0, dy.shape[:-1])
        grads = (outer.T @ rows).float(), (columns.T @ inner).float() * ctx.scale
        return dx, None, None, None, None, None, None, *grads
