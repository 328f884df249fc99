"""The forward pass: noised targets beside their references in, the targets' velocity out.

Every module and weight is diffusers' `LTX2VideoTransformer3DModel`'s, in its 2.0, 2.3 and 2.5 configurations; the
order of work is ours (`training/block.py`). A stream that is not asked for is not run; `keep` takes its weights out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import layer_norm
from torch.utils.checkpoint import checkpoint

from training.attention import heed
from training.block import Block, Rope, Stream
from training.linear import refresh
from training.tokens import Canvas, Prompt, Streams

_PARTS = {"video": ("attn1", "attn2", "ff"), "audio": ("audio_attn1", "audio_attn2", "audio_ff")}
_BETWEEN = ("audio_to_video_attn", "video_to_audio_attn")


def adopt(transformer: Any) -> list[Block]:
    """Give the transformer's blocks our forward; its names, weights and adapters stay. Idempotent."""
    blocks = list(transformer.transformer_blocks)
    for block in blocks:
        if not isinstance(block, Block):
            if not (block.ff.net[0].approximate == block.audio_ff.net[0].approximate == "tanh"):
                raise NotImplementedError("a backbone whose feed-forward is not GELU (tanh)")
            block.__class__ = Block
    return blocks


def keep(transformer: Any, streams: str) -> None:
    """Take what the other stream's blocks hold out of the transformer, for good.

    An audio adapter's step then has no video weights (13 of LTX-2's 19 billion), a video adapter's no audio ones.

    Args:
        transformer: `LTX2VideoTransformer3DModel`, with or without adapters.
        streams: `video`, `audio` or `joint` (which needs everything).
    """
    blocks = adopt(transformer)
    if streams == "joint":
        return
    idle = "audio" if streams == "video" else "video"
    for block in blocks:
        for name in (*_PARTS[idle], *_BETWEEN):
            delattr(block, name)


def predict(
    transformer: Any, canvases: Streams, noised: Streams, sigma: torch.Tensor, prompt: Prompt
) -> Streams:
    """One forward pass.

    Args:
        transformer: `LTX2VideoTransformer3DModel`.
        canvases: A `Canvas` for each used stream.
        noised: The noised target [B, T, C] of each.
        sigma: [B], noise level in [0, 1].
        prompt: What to attend to.

    Returns:
        The velocity [B, T, C] of each used stream's target; rows of the reference are dropped.
    """
    used = {kind: canvas for kind in ("video", "audio") if (canvas := getattr(canvases, kind)) is not None}
    states: dict[str, Any] = dict.fromkeys(("video", "audio"))
    streams: dict[str, Any] = dict.fromkeys(("video", "audio"))
    embedded = {}
    for kind, canvas in used.items():
        project = _part(transformer, kind, "proj_in")
        states[kind] = project(canvas.tokens(getattr(noised, kind)).to(project.weight.dtype))
        streams[kind], embedded[kind] = _stream(transformer, kind, canvas, sigma, prompt, both=len(used) == 2)
    blocks = adopt(transformer)
    refresh([group for block in blocks for group in block.groups])
    for block in blocks:
        run = _recomputed if block.recompute and torch.is_grad_enabled() else _run
        states["video"], states["audio"] = run(
            block, states["video"], states["audio"], streams, block is blocks[-1]
        )
    return Streams(
        **{
            kind: _project(transformer, kind, states[kind], canvas, embedded[kind])
            for kind, canvas in used.items()
        }
    )


def _run(block: Block, x: Any, y: Any, streams: dict[str, Any], last: bool) -> Any:
    return block(x, y, streams["video"], streams["audio"], last)


def _recomputed(block: Block, x: Any, y: Any, streams: dict[str, Any], last: bool) -> Any:
    return checkpoint(_run, block, x, y, streams, last, use_reentrant=False, preserve_rng_state=False)


def _stream(
    transformer: Any, kind: str, canvas: Canvas, sigma: torch.Tensor, prompt: Prompt, *, both: bool
) -> tuple[Stream, torch.Tensor]:
    """What the blocks read of a stream, and the time embedding [2, B, D] for the output."""
    config, batch, dtype = transformer.config, len(sigma), transformer.proj_in.weight.dtype
    levels = torch.stack([sigma, torch.zeros_like(sigma)]) * config.timestep_scale_multiplier
    rows, embedded = _embed(_part(transformer, kind, "time_embed"), levels, dtype)

    text = getattr(prompt, kind).to(dtype)
    if config.use_prompt_embeddings:
        text = _part(transformer, kind, "caption_projection")(text).view(batch, -1, rows.shape[-1])
    bias = None
    if prompt.mask is not None:
        bias = ((1 - prompt.mask.to(dtype)) * -10_000.0)[:, None, None]
    text_rows = None
    if transformer.prompt_modulation and config.use_prompt_adaln_single:  # LTX-2.3
        text_rows = _embed(_part(transformer, kind, "prompt_adaln"), levels[:1], dtype)[0][0]
    stream = Stream(
        clean=canvas.clean()[:, :, None],
        rows=rows,
        rope=_rope(_part(transformer, kind, "rope"), canvas.positions),
        text=text,
        text_bias=bias,
        text_rows=text_rows,
        heed=heed(canvas.strength, canvas.target.shape[1], dtype),
        targets=canvas.target.shape[1],
    )
    if both:
        stream = _crossing(transformer, kind, stream, canvas, levels, dtype)
    return stream, embedded


def _crossing(
    transformer: Any, kind: str, stream: Stream, canvas: Canvas, levels: torch.Tensor, dtype: torch.dtype
) -> Stream:
    """Add what the attention between the streams needs.

    From LTX-2.3 on (the prompt is modulated) it follows the other stream's sigma, which is this one's too; in 2.0
    each token's own timestep.
    """
    config = transformer.config
    if config.cross_attn_mod or config.audio_cross_attn_mod:
        levels = levels[:1].expand(2, -1)
    gate = config.cross_attn_timestep_scale_multiplier / config.timestep_scale_multiplier
    to_this = "a2v" if kind == "video" else "v2a"
    rope = transformer.cross_attn_rope if kind == "video" else transformer.cross_attn_audio_rope
    return stream._replace(
        cross_rows=_embed(getattr(transformer, f"av_cross_attn_{kind}_scale_shift"), levels, dtype)[0],
        cross_gate=_embed(getattr(transformer, f"av_cross_attn_{kind}_{to_this}_gate"), levels * gate, dtype)[
            0
        ],
        cross_rope=_rope(rope, canvas.positions[:, :1]),
    )


def _embed(module: Any, levels: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Timesteps [K, B] to modulation rows [K, B, P, D] and embeddings [K, B, D]."""
    rows, embedded = module(levels.flatten(), batch_size=levels.numel(), hidden_dtype=dtype)
    shape = (*levels.shape, module.num_mod_params, -1)
    return rows.view(shape), embedded.view(*levels.shape, -1)


def _rope(module: Any, positions: torch.Tensor) -> Rope:
    cos, sin = module(positions)
    if module.rope_type == "split":  # [B, H, N, D / 2], a view of [B, N, H, D / 2]
        cos, sin = cos.transpose(1, 2), sin.transpose(1, 2)
    return cos, sin


def _project(
    transformer: Any, kind: str, x: torch.Tensor, canvas: Canvas, embedded: torch.Tensor
) -> torch.Tensor:
    """The velocity of the target's tokens: normalise, modulate, project."""
    count = canvas.target.shape[1]
    table = _part(transformer, kind, "scale_shift_table").to(embedded.dtype)
    noised, without = (table[None] + embedded[:, :, None])[:, :, :, None].unbind(0)  # [B, 2, 1, D]
    shift, scale = torch.where(canvas.clean()[:, None, :count, None], without, noised).unbind(1)
    eps = _part(transformer, kind, "norm_out").eps
    x = layer_norm(x[:, :count], x.shape[-1:], eps=eps) * (1 + scale) + shift
    velocity: torch.Tensor = _part(transformer, kind, "proj_out")(x)
    return velocity


def _part(transformer: Any, kind: str, name: str) -> Any:
    return getattr(transformer, name if kind == "video" else f"audio_{name}")
