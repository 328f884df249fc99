"""`adapter show`: what it says is what is in the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import avcontrol
from catalogs.errors import TrainingError
from tests.training.helpers import random
from tests.training.test_adapter import trained
from training import adapter
from training.adapter_report import as_json, lines, report, sparkline
from training.header import Header, Pairs, strings

HEADER = Header(
    catalog="canny@3?quality>0.5",
    manifest_sha256="12" * 32,
    modality="canny",
    streams="joint",
    references=("video",),
    reference_downscale_factor=2,
    base_model="Lightricks/LTX-2",
    base_model_sha256="34" * 32,
    rank=4,
    alpha=4,
    steps=250,
    pairs=Pairs(samples=12, timelines=("768x448x89@24",), licenses=("", "CC-BY-4.0")),
    config={"lr": 1e-4, "alpha": 8},
    avcontrol="0.1",
    header_version="1",
)


def show(*words: str) -> str:
    done = CliRunner().invoke(avcontrol.cli, ["adapter", "show", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_numbers_are_those_of_the_saved_model(path: Path, tmp_path: Path) -> None:
    transformer, parameters = trained(path, "joint", alpha=8)
    file = tmp_path / "a.safetensors"
    adapter.save(file, parameters, scale=2.0, metadata=strings(HEADER))
    told = report(file)
    assert told.streams == "joint" and told.ranks == (4,) and told.scales == (1.0,)
    assert told.dtypes == ("float32",) and told.size == file.stat().st_size and not told.unread
    assert told.parameters == sum(value.numel() for value in parameters.values())
    assert {kind.name: kind.modules for kind in told.kinds} == {
        "attn1": 8, "attn2": 8, "ff": 4, "audio_attn1": 8, "audio_attn2": 8, "audio_ff": 4,
        "audio_to_video_attn": 8, "video_to_audio_attn": 8,
    }  # fmt: skip
    # peft's own idea of each layer's update, alpha and all
    dense = {
        name: layer.get_delta_weight(adapter.NAME).norm().item()
        for name, layer in transformer.named_modules()
        if hasattr(layer, "get_delta_weight")
    }
    for block, norm in enumerate(told.blocks):
        wanted = math.hypot(*(value for name, value in dense.items() if f"blocks.{block}." in name))
        assert norm == pytest.approx(wanted, rel=1e-5)
    for kind in told.kinds:
        wanted = math.hypot(*(value for name, value in dense.items() if name.split(".")[2] == kind.name))
        assert kind.norm == pytest.approx(wanted, rel=1e-5)
    assert sum(kind.norm**2 for kind in told.kinds) == pytest.approx(sum(n * n for n in told.blocks))


def test_what_a_person_reads(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    adapter.save(file, trained(path, "joint")[1], scale=2.0, metadata=strings(HEADER))
    said = show(str(file))
    for words in (
        "rank        4, scale 1\n",
        "streams     joint\n",
        "control     canny, reference video at 1/2 of the target's size",
        "catalog     canny@3?quality>0.5, manifest 121212121212",
        "base model  Lightricks/LTX-2, weights 343434343434",
        "pairs       12 (768x448x89@24); licences: not stated, CC-BY-4.0",
        "training    250 steps lr=0.0001 alpha=8",
        "attn1",
        "█",
    ):
        assert words in said, said
    told = json.loads(show(str(file), "--json"))
    assert told["header"]["catalog"] == "canny@3?quality>0.5" and told["header"]["pairs"]["samples"] == 12
    assert told["blocks"] == [pytest.approx(norm) for norm in report(file).blocks]


def test_of_other_trainers_what_can_be_told(tmp_path: Path) -> None:
    tensors = {
        "diffusion_model.transformer_blocks.2.audio_ff.net.2.lora_down.weight": random(3, 8).bfloat16(),
        "diffusion_model.transformer_blocks.2.audio_ff.net.2.lora_up.weight": random(6, 3).bfloat16(),
        "diffusion_model.transformer_blocks.2.audio_ff.net.2.alpha": torch.tensor(6.0),
        "diffusion_model.transformer_blocks.0.audio_attn1.to_q.lora_A.weight": random(2, 8),
        "something.else": torch.ones(2),
    }
    metadata = {"ss_network_dim": "3", "reference_downscale_factor": "2"}
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    told = report(tmp_path / "a.safetensors")
    assert told.streams == "audio" and told.ranks == (2, 3) and told.scales == (1.0, 2.0)
    assert (
        told.unread == ("something.else",) and told.header is None and told.dtypes == ("bfloat16", "float32")
    )
    assert math.isnan(told.blocks[0]) and told.blocks[1] == 0 and told.blocks[2] > 0
    said = "\n".join(lines(told))
    assert "not avcontrol; its header: reference_downscale_factor, ss_network_dim" in said
    assert "video at 1/2" in said and "1 tensors, e.g. something.else" in said and "! █" in said
    assert json.loads(json.dumps(as_json(told), allow_nan=False))["blocks"][0] is None


def test_a_file_without_anything(tmp_path: Path) -> None:
    save_file({}, tmp_path / "a.safetensors")
    said = "\n".join(lines(report(tmp_path / "a.safetensors")))
    assert "no tensors" in said and "0 in 0 modules" in said and "its header: empty" in said


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(TrainingError, match="pickle, which is never opened"):
        report(tmp_path / "a.safetensors")


def test_bars_grow_with_what_they_stand_for() -> None:
    assert sparkline([0, 1, 2, 4, 8, math.nan]) == " ▂▃▅█!"
    assert sparkline([]) == "" and sparkline([0.0, 0.0]) == "  "
