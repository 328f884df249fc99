"""Attention over the parallel canvas, and how strongly the target heeds its reference.

Strength s of a reference token adds log(s) to the logits from target queries to its key (AVControl, arXiv
2603.24793), so its softmax weight is multiplied by s. Target queries and the reference's are two calls: the bias is
then one row for all queries of a call, never a matrix, and keys of strength 0 can be left out (docs/design/0010).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import pad, scaled_dot_product_attention


class Heed(NamedTuple):
    """What target queries attend to, the same in all blocks.

    Attributes:
        keys: int64 [K], the keys that are heard, in order; None for all.
        bias: [1 or B, 1, 1, K], added to the logits; None for none.
    """

    keys: torch.Tensor | None
    bias: torch.Tensor | None


def heed(strength: torch.Tensor | None, targets: int, dtype: torch.dtype) -> Heed | None:
    """What becomes of the strengths of a canvas.

    Args:
        strength: [1 or B, R] of the reference's tokens, at least 0; None is 1 everywhere.
        targets: T, how many tokens are before them.
        dtype: Of the queries.

    Returns:
        None where the strength is 1 everywhere: the plain path, bit for bit.
    """
    if strength is None or bool((strength == 1).all()):
        return None
    whole = pad(strength, (targets, 0), value=1.0)
    heard = (whole > 0).any(dim=0)  # in any sample: a bias of -inf silences it in the others
    kept = whole[:, heard]
    return Heed(
        keys=None if bool(heard.all()) else heard.nonzero()[:, 0],
        bias=None if bool((kept == 1).all()) else kept.log()[:, None, None].to(dtype),
    )


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    heed: Heed | None = None,
    targets: int = 0,
) -> torch.Tensor:
    """Softmax attention.

    Args:
        query: [B, N, H, D].
        key: [B, M, H, D].
        value: [B, M, H, D].
        bias: [B, 1, 1, M], added to the logits of all queries; None for none. Not together with heed.
        heed: What the first `targets` queries attend to; None for everything, as the others do.
        targets: How many queries are the target's.

    Returns:
        [B, N, H, D].
    """
    if heed is None:
        return _attend(query, key, value, bias)
    assert bias is None  # the prompt has no strength
    rest = query[:, targets:]
    out = [_attend(rest, key, value)] if rest.shape[1] else []
    if heed.keys is not None:
        key, value = key[:, heed.keys], value[:, heed.keys]
    return torch.cat([_attend(query[:, :targets], key, value, heed.bias), *out], dim=1)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    return scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)
