"""The saved file as other programs read it, each by its own published rule, onto the original checkpoint's names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import LTX2InContextPipeline, LTX2Pipeline
from diffusers.loaders.single_file_utils import convert_ltx2_transformer_to_diffusers
from safetensors.torch import load_file, save_file

from tests.training.helpers import fresh, random
from tests.training.test_adapter import run, trained
from training import adapter

State = dict[str, torch.Tensor]

# Original name by diffusers' name, where they differ: the published converter's table, read backwards.
RENAMED = {
    "audio_proj_in.": "audio_patchify_proj.",
    "proj_in.": "patchify_proj.",
    "audio_time_embed.": "audio_adaln_single.",
    "time_embed.": "adaln_single.",
    "av_cross_attn_video_scale_shift.": "av_ca_video_scale_shift_adaln_single.",
    "av_cross_attn_video_a2v_gate.": "av_ca_a2v_gate_adaln_single.",
    "av_cross_attn_audio_scale_shift.": "av_ca_audio_scale_shift_adaln_single.",
    "av_cross_attn_audio_v2a_gate.": "av_ca_v2a_gate_adaln_single.",
    "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}


def original(path: Path) -> State:
    """The raw weights under the original checkpoint's names; diffusers' converter brings them back."""
    ours = fresh(path).state_dict()
    found = {}
    for key, value in ours.items():
        head = next((name for name in RENAMED if key.startswith(name)), None)
        if head is not None:
            key = RENAMED[head] + key.removeprefix(head)
        for name in list(RENAMED)[-4:]:
            key = key.replace(name, RENAMED[name])
        found[key] = value.clone()
    assert "patchify_proj.weight" in found and "transformer_blocks.0.attn1.q_norm.weight" in found
    assert convert_ltx2_transformer_to_diffusers(dict(found)).keys() == ours.keys()
    return found


def comfyui(weights: State, file: State) -> State:
    """`diffusion_model.<module>` + .lora_B/.lora_A or .lora_up/.lora_down; scale <module>.alpha / rank, else 1."""
    used = set()
    for key in [key for key in weights if key.endswith(".weight")]:
        module = "diffusion_model." + key.removesuffix(".weight")
        for up, down in (("lora_B.weight", "lora_A.weight"), ("lora_up.weight", "lora_down.weight")):
            if f"{module}.{up}" in file:
                b, a, alpha = (file.get(f"{module}.{name}") for name in (up, down, "alpha"))
                scale = 1.0 if alpha is None else float(alpha) / a.shape[0]
                weights[key] = weights[key] + scale * (b.float() @ a.float())
                used |= {f"{module}.{name}" for name in (up, down, "alpha")}
    assert set(file) <= used  # "lora key not loaded" otherwise
    return weights


def ltx_core(weights: State, file: State) -> State:
    """`diffusion_model.` is cut off; only .lora_A.weight and .lora_B.weight count, and no alpha."""
    short = {key.removeprefix("diffusion_model."): value for key, value in file.items()}
    for key in [key for key in weights if key.endswith(".weight")]:
        module = key.removesuffix(".weight")
        if f"{module}.lora_A.weight" in short and f"{module}.lora_B.weight" in short:
            weights[key] = weights[key] + short.pop(f"{module}.lora_B.weight") @ short.pop(
                f"{module}.lora_A.weight"
            )
    assert not short
    return weights


def merged(path: Path, weights: State) -> torch.Tensor:
    """What the transformer gives with these raw weights."""
    transformer = fresh(path)
    transformer.load_state_dict(convert_ltx2_transformer_to_diffusers(dict(weights)), strict=True)
    return run(transformer)


@pytest.mark.parametrize("reader", [comfyui, ltx_core])
@pytest.mark.parametrize(("streams", "alpha"), [("video", 8), ("audio", 1), ("joint", 3)])
def test_raw_weights_plus_the_file_are_the_model_that_was_saved(
    path: Path, tmp_path: Path, reader: Callable[[State, State], State], streams: str, alpha: int
) -> None:
    transformer, parameters = trained(path, streams, alpha)
    adapter.save(tmp_path / "a.safetensors", parameters, scale=alpha / 4, metadata={})
    made = merged(path, reader(original(path), load_file(tmp_path / "a.safetensors")))
    torch.testing.assert_close(made, run(transformer), rtol=1e-4, atol=2e-5)
    assert (made - merged(path, original(path))).abs().max() > 1e-3


@pytest.mark.parametrize("pipeline", [LTX2Pipeline, LTX2InContextPipeline])
@pytest.mark.parametrize("alpha", [1, 8])
def test_diffusers_takes_the_scale_too(path: Path, tmp_path: Path, pipeline: type, alpha: int) -> None:
    transformer, parameters = trained(path, "joint", alpha)
    adapter.save(
        tmp_path / "a.safetensors", parameters, scale=alpha / 4, metadata={"rank": "4", "alpha": "4"}
    )
    pipe = pipeline.from_pretrained(str(path))
    pipe.load_lora_weights(str(tmp_path / "a.safetensors"))
    torch.testing.assert_close(run(pipe.transformer.eval()), run(transformer), rtol=1e-5, atol=1e-6)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    torch.testing.assert_close(run(pipe.transformer), run(transformer), rtol=1e-4, atol=2e-5)


def foreign(rank: int, prefix: str, down: str, up: str, alpha: float | None, dtype: torch.dtype) -> State:
    """Another trainer's file: a layer of a block, and one that is named otherwise in diffusers."""
    shapes = {"transformer_blocks.1.attn1.to_q": (16, 16), "patchify_proj": (16, 16)}
    tensors: State = {}
    for seed, (module, (out, into)) in enumerate(shapes.items()):
        tensors[f"{prefix}{module}.{down}"] = random(rank, into, seed=seed).to(dtype)
        tensors[f"{prefix}{module}.{up}"] = random(out, rank, seed=seed + 9).to(dtype)
        if alpha is not None:
            tensors[f"{prefix}{module}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "names", [("lora_A.weight", "lora_B.weight"), ("lora_down.weight", "lora_up.weight")]
)
@pytest.mark.parametrize("alpha", [None, 3.0])
def test_other_trainers_files_mean_here_what_they_mean_in_comfyui(
    path: Path, tmp_path: Path, names: tuple[str, str], alpha: float | None, dtype: torch.dtype
) -> None:
    tensors = foreign(2, "diffusion_model.", *names, alpha, dtype)
    save_file(tensors, tmp_path / "a.safetensors")
    transformer = fresh(path)
    adapter.load(transformer, tmp_path / "a.safetensors")
    torch.testing.assert_close(
        run(transformer), merged(path, comfyui(original(path), tensors)), rtol=1e-4, atol=2e-5
    )


def test_diffusers_own_trainers_keep_alpha_in_the_header(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    tensors = foreign(2, "transformer.", "lora_A.weight", "lora_B.weight", None, torch.float32)
    tensors = {key.replace("patchify_proj", "proj_in"): value for key, value in tensors.items()}
    said = {"r": 2, "lora_alpha": 5, "target_modules": ["attn1.to_q", "proj_in"]}
    said = {f"transformer.{key}": value for key, value in said.items()}
    save_file(tensors, file, {"format": "pt", "lora_adapter_metadata": json.dumps(said)})
    pipe = LTX2Pipeline.from_pretrained(str(path))
    pipe.load_lora_weights(str(file))
    ours = fresh(path)
    adapter.load(ours, file)
    torch.testing.assert_close(run(ours), run(pipe.transformer.eval()), rtol=1e-5, atol=1e-6)
    assert (run(ours) - run(fresh(path))).abs().max() > 1e-3


def test_diffusers_refuses_alpha_in_tensors(path: Path) -> None:
    """Why alpha is folded in: a file that is right in ComfyUI with it is none for diffusers."""
    pipe = LTX2Pipeline.from_pretrained(str(path))
    with pytest.raises(ValueError, match="Invalid LoRA checkpoint"):
        pipe.load_lora_weights(
            foreign(2, "diffusion_model.", "lora_A.weight", "lora_B.weight", 2.0, torch.float32)
        )
