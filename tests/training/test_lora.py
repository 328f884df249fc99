"""LoRA tensors by module: numbers against dense matrices, names as trainers write them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.helpers import random
from training import lora
from training.lora import Update, split


@settings(max_examples=40, deadline=None)
@given(
    out=st.integers(1, 20),
    into=st.integers(1, 20),
    rank=st.integers(1, 8),
    alpha=st.none() | st.floats(0.1, 64),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_the_norm_is_that_of_the_dense_update(
    out: int, into: int, rank: int, alpha: float | None, dtype: torch.dtype
) -> None:
    update = Update(a=random(rank, into).to(dtype), b=random(out, rank, seed=1).to(dtype), alpha=alpha)
    assert update.a is not None and update.b is not None
    scale = 1.0 if alpha is None else alpha / rank
    dense = scale * (update.b.double() @ update.a.double())
    assert math.isclose(update.norm(), float(torch.linalg.matrix_norm(dense)), rel_tol=1e-9)
    pair = lora.folded({"m": update})
    ours = pair["diffusion_model.m.lora_B.weight"] @ pair["diffusion_model.m.lora_A.weight"]
    torch.testing.assert_close(ours.double(), dense, rtol=1e-5, atol=1e-5)
    assert update.misfit((out, into)) == "" and update.misfit((out + 1, into)).startswith("an update of")


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", ""])
@pytest.mark.parametrize(
    ("down", "up"),
    [("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora_A.default", "lora_B.default")],
)
def test_names_of_trainers(prefix: str, down: str, up: str) -> None:
    module = "transformer_blocks.3.attn1.to_out.0"
    tensors = {
        f"{prefix}{module}.{down}.weight": torch.ones(2, 4),
        f"{prefix}{module}.{up}.weight": torch.ones(6, 2),
        f"{prefix}{module}.alpha": torch.tensor(1.0),
    }
    updates, unread = split(tensors, {})
    assert list(updates) == [module] and not unread
    assert updates[module].rank == 2 and updates[module].scale == 0.5
    assert updates[module].misfit((6, 4)) == ""


def test_what_is_no_lora_is_left_over_and_blocks_are_in_order() -> None:
    one = torch.ones(1)
    blocks = [f"diffusion_model.transformer_blocks.{n}.ff.net.2.lora_A.weight" for n in (10, 9, 0)]
    others = ["diffusion_model.patchify_proj.lora_A.weight", "lora_unet_x.lora_up.weight", "vae.weight",
              "diffusion_model.x.dora_scale", "text_embedding_projection.aggregate_embed.lora_A.weight"]  # fmt: skip
    updates, unread = split({key: one for key in (*blocks, *others)}, {})
    assert [lora.block_of(module) for module in updates] == [
        (None, "patchify_proj"), (0, "ff"), (9, "ff"), (10, "ff"),
    ]  # fmt: skip
    assert unread == sorted(others[1:])
    assert split({"diffusion_model.m.alpha": torch.ones(2)}, {})[1] == ["diffusion_model.m.alpha"]


def test_alpha_in_the_header_yields_to_alpha_in_tensors() -> None:
    header = {"lora_adapter_metadata": '{"transformer.lora_alpha": 8, "transformer.r": 2}'}
    key = "transformer.transformer_blocks.0.attn1.to_q"
    pair = {f"{key}.lora_A.weight": torch.ones(2, 4), f"{key}.lora_B.weight": torch.ones(4, 2)}
    assert next(iter(split(pair, header)[0].values())).scale == 4
    assert next(iter(split({**pair, f"{key}.alpha": torch.tensor(2.0)}, header)[0].values())).scale == 1
    for broken in ("{", "[]", "{}", '{"transformer.lora_alpha": null}'):
        assert lora.alpha_of_header({"lora_adapter_metadata": broken}) is None
