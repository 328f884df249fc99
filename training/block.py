"""One transformer block of LTX-2: diffusers' modules and weights, a forward of our own.

What differs from diffusers' forward is what a control's step wants (docs/design/0009): a stream that is not used does
not exist, the modulation has two rows (the noised tokens' and the clean ones') in place of one per token, adapters run
in the activations' dtype, and strength reaches the attention. The result is the same; a test compares the two.

Shapes: B samples, N tokens of a stream (target, then reference), L of the prompt, D channels, H heads, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from diffusers.models.transformers.transformer_ltx2 import (
    LTX2VideoTransformerBlock,
    apply_interleaved_rotary_emb,
)
from torch.nn.functional import gelu, rms_norm
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from training.attention import Heed, attend
from training.linear import linear, linears

Rope = tuple[torch.Tensor, torch.Tensor]

_PRODUCTS = {
    torch.ops.avcontrol.bordered.default,
    torch.ops.avcontrol.product8.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}


class Stream(NamedTuple):
    """What all blocks read of one stream.

    Attributes:
        clean: bool [1 or B, N, 1], tokens without noise.
        rows: [2, B, P, D] modulation of the noised tokens and of the clean ones; P is 6, or 9 where the attention to
            the prompt is modulated too.
        rope: cos and sin of the tokens' positions.
        text: [B, L, D], the prompt.
        text_bias: [B, 1, 1, L], 0 or a large negative number; None where every prompt token counts.
        text_rows: [B, 2, D] modulation of the prompt; None where the table alone modulates it.
        heed: What target queries, of this stream and of the other, attend to in this one; None for everything.
        targets: How many tokens are the target's.
        cross_rows: [2, B, 4, D], scale and shift before audio-to-video, then before video-to-audio attention.
        cross_gate: [2, B, 1, D], gate of what this stream takes from the other.
        cross_rope: cos and sin of the times alone.
    """

    clean: torch.Tensor
    rows: torch.Tensor
    rope: Rope
    text: torch.Tensor
    text_bias: torch.Tensor | None = None
    text_rows: torch.Tensor | None = None
    heed: Heed | None = None
    targets: int = 0
    cross_rows: torch.Tensor | None = None
    cross_gate: torch.Tensor | None = None
    cross_rope: Rope | None = None


class Block(LTX2VideoTransformerBlock):  # type: ignore[misc]
    """diffusers' block, run on one stream or on both."""

    recompute = False  # its activations are made again in the backward pass
    lean = False  # of its activations only the results of products and attention are kept (for the compiler)
    groups: Sequence[tuple[Any, ...]] = ()  # layers whose adapters lie in one matrix with their weights

    def forward(  # type: ignore[override]
        self,
        x: torch.Tensor | None,
        y: torch.Tensor | None,
        video: Stream | None,
        audio: Stream | None,
        last: bool = False,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Run the block.

        Args:
            x: [B, N, D] video tokens; None where there are none.
            y: Audio tokens, likewise.
            video: What goes with x.
            audio: What goes with y.
            last: No block follows, so of one stream alone the target's tokens are enough.
        """
        if self.lean and torch.is_grad_enabled():
            outputs: tuple[torch.Tensor | None, torch.Tensor | None] = checkpoint(
                lambda x, y: self._run(x, y, video, audio, last), x, y,
                use_reentrant=False, preserve_rng_state=False, context_fn=_keep_products,
            )  # fmt: skip
            return outputs
        return self._run(x, y, video, audio, last)

    def _run(
        self,
        x: torch.Tensor | None,
        y: torch.Tensor | None,
        video: Stream | None,
        audio: Stream | None,
        last: bool,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if x is not None and video is not None:
            x, x_parameters = self._attend(x, video, "", last and y is None)
        if y is not None and audio is not None:
            y, y_parameters = self._attend(y, audio, "audio_", last and x is None)
        if x is not None and y is not None and video is not None and audio is not None:
            x, y = self._exchange(x, y, video, audio)
        if x is not None:
            x = self._feed(x, x_parameters, "")
        if y is not None:
            y = self._feed(y, y_parameters, "audio_")
        return x, y

    def _attend(
        self, x: torch.Tensor, stream: Stream, kind: str, last: bool
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Attention within the stream and to the prompt; also the feed-forward's shift, scale and gate."""
        table = getattr(self, f"{kind}scale_shift_table")
        shift, scale, *_ = _modulation(table, stream, x.shape[1])
        normed = _norm(getattr(self, f"{kind}norm1"), x) * (1 + scale) + shift
        count = stream.targets if last else x.shape[1]
        _, _, gate, *rest = _modulation(table, stream, count)
        x = x[:, :count] + gate * _attention(
            getattr(self, f"{kind}attn1"), normed, normed, stream.rope, stream.rope, heed=stream.heed,
            targets=stream.targets, count=count,
        )  # fmt: skip
        normed, text = _norm(getattr(self, f"{kind}norm2"), x), stream.text
        if rest[3:]:  # LTX-2.3 on
            normed = normed * (1 + rest[4]) + rest[3]
        if self.cross_attn_adaln:
            table = getattr(self, f"{kind}prompt_scale_shift_table").to(text.dtype)[None]
            rows = table if stream.text_rows is None else table + stream.text_rows
            text = text * (1 + rows[:, 1:]) + rows[:, :1]
        out = _attention(getattr(self, f"{kind}attn2"), normed, text, bias=stream.text_bias)
        return x + (out * rest[5] if rest[3:] else out), rest[:3]

    def _exchange(
        self, x: torch.Tensor, y: torch.Tensor, video: Stream, audio: Stream
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention between the streams; both read what the other was before."""
        tables = self.video_a2v_cross_attn_scale_shift_table, self.audio_a2v_cross_attn_scale_shift_table
        to_x, to_y = (_cross(table, stream) for table, stream in zip(tables, (video, audio), strict=True))
        normed_x, normed_y = _norm(self.audio_to_video_norm, x), _norm(self.video_to_audio_norm, y)
        x = x + to_x[4] * _attention(
            self.audio_to_video_attn,
            normed_x * (1 + to_x[0]) + to_x[1], normed_y * (1 + to_y[0]) + to_y[1],
            video.cross_rope, audio.cross_rope, heed=audio.heed, targets=video.targets,
        )  # fmt: skip
        y = y + to_y[4] * _attention(
            self.video_to_audio_attn,
            normed_y * (1 + to_y[2]) + to_y[3], normed_x * (1 + to_x[2]) + to_x[3],
            audio.cross_rope, video.cross_rope, heed=video.heed, targets=audio.targets,
        )  # fmt: skip
        return x, y

    def _feed(self, x: torch.Tensor, parameters: list[torch.Tensor], kind: str) -> torch.Tensor:
        shift, scale, gate = parameters
        net = getattr(self, f"{kind}ff").net
        inner = linear(_norm(getattr(self, f"{kind}norm3"), x) * (1 + scale) + shift, net[0].proj)
        return x + gate * linear(gelu(inner, approximate="tanh"), net[2])


def _keep_products() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(_: Any, operator: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


def _attention(
    attn: Any,
    x: torch.Tensor,
    context: torch.Tensor,
    rope: Rope | None = None,
    context_rope: Rope | None = None,
    *,
    bias: torch.Tensor | None = None,
    heed: Heed | None = None,
    targets: int = 0,
    count: int | None = None,
) -> torch.Tensor:
    """One attention module of the block: [B, N, D] queries (the first `count` of them) to [B, M, D'] keys."""
    if context is x:
        query, key, value = linears(x, attn.to_q, attn.to_k, attn.to_v)
    else:
        query = linear(x, attn.to_q)
        key, value = linears(context, attn.to_k, attn.to_v)
    out = attend(
        _rotate(attn, attn.norm_q(query), rope)[:, :count],
        _rotate(attn, attn.norm_k(key), context_rope),
        value.unflatten(2, (attn.heads, -1)),
        bias=bias,
        heed=heed,
        targets=targets,
    )
    if attn.to_gate_logits is not None:  # LTX-2.3 on: a gate per head, 1 where its logit is 0
        out = out * (2 * torch.sigmoid(linear(x[:, :count], attn.to_gate_logits)))[..., None]
    return linear(out.flatten(2), attn.to_out[0], made=attn.to_gate_logits is not None)


def _rotate(attn: Any, x: torch.Tensor, rope: Rope | None) -> torch.Tensor:
    """Rotary embedding of [B, N, H * D], as [B, N, H, D]."""
    heads: int = attn.heads
    if rope is None or attn.rope_type == "interleaved":
        turned: torch.Tensor = x if rope is None else apply_interleaved_rotary_emb(x, rope)
        return turned.view(*x.shape[:2], heads, -1)
    cos, sin = rope  # [B, N, H, D / 2]
    first, second = x.unflatten(2, (heads, 2, -1)).float().unbind(3)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=3)
    return turned.to(x.dtype)


def _norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return rms_norm(x, x.shape[-1:], norm.weight, norm.eps)


def _modulation(table: torch.Tensor, stream: Stream, count: int) -> list[torch.Tensor]:
    """Each parameter of the block's table [P, D] plus the stream's rows, for the first tokens: P times [B, N, D]."""
    return _per_token(table.to(stream.rows.dtype) + stream.rows, stream.clean[:, :count])


def _cross(table: torch.Tensor, stream: Stream) -> list[torch.Tensor]:
    assert stream.cross_rows is not None and stream.cross_gate is not None  # both streams run
    rows = torch.cat([stream.cross_rows, stream.cross_gate], dim=2)
    return _per_token(table.to(rows.dtype) + rows, stream.clean)


def _per_token(rows: torch.Tensor, clean: torch.Tensor) -> list[torch.Tensor]:
    noised, without = rows[:, :, :, None].unbind(0)  # [B, P, 1, D] each
    return [torch.where(clean, b, a) for a, b in zip(noised.unbind(1), without.unbind(1), strict=True)]
