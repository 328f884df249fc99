"""`adapter verify`: each thing that can be wrong with a file is one line, and nothing else is called wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from diffusers import LTX2VideoTransformer3DModel
from safetensors.torch import load_file, save_file

import avcontrol
from catalogs.query import manifest_hash, pin, select
from catalogs.root import Root
from tests.training.helpers import fresh
from tests.training.test_adapter import trained
from training import adapter, backbone, model_card
from training.adapter_check import check, shapes
from training.config import TrainConfig
from training.header import Header, Pairs, strings
from training.loop import train

State = dict[str, torch.Tensor]
KEY = "diffusion_model.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def header(root: Root, path: Path) -> Header:
    pinned = pin(root, "canny")
    return Header(
        catalog=str(pinned),
        manifest_sha256=manifest_hash(select(root, pinned, ["sample_id"])["sample_id"].to_pylist()),
        modality="canny",
        streams="video",
        references=("video",),
        reference_downscale_factor=1,
        base_model="test",
        base_model_sha256=backbone.weights_hash(path, "transformer"),
        rank=4,
        alpha=4,
        steps=10,
        pairs=Pairs(samples=3, timelines=("64x96x9@24",)),
        header_version="1",
    )


@pytest.fixture(scope="module")
def good(path: Path, header: Header, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("adapters") / "good.safetensors"
    adapter.save(file, trained(path, "video")[1], scale=2.0, metadata=strings(header))
    return file


def wrong(file: Path, **more: object) -> dict[str, str]:
    """Complaints by check; each is one line."""
    found = {one.name: one.wrong for one in check(file, **more) if one.wrong}  # type: ignore[arg-type]
    assert not any("\n" in text for text in found.values())
    return found


def verify(*words: str) -> Result:
    return CliRunner().invoke(avcontrol.cli, ["adapter", "verify", *words], env={"AVCONTROL_ROOT": None})


def test_a_good_file_passes_everything(good: Path, root: Root) -> None:
    assert [one.state for one in check(good, backbone="test", root=root)] == ["ok"] * 9
    done = verify(str(good), "--backbone", "test", "--root", root.uri)
    assert done.exit_code == 0, done.output
    assert done.output.count("  ok ") == 9 and "fit test" in done.output and "same samples" in done.output


def test_what_a_run_leaves_passes_and_has_a_card(root: Root, path: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        catalog="canny", root=root.uri, out=tmp_path / "out", steps=2, rank=4, alpha=8, lr=1e-2, warmup=0,
        validate_every=2, validate_count=1, validate_steps=2, checkpoint_every=2, device="cpu",
    )  # fmt: skip
    file = train(config)
    for each in (file, tmp_path / "out" / "checkpoints" / "step-000002" / "adapter.safetensors"):
        assert [one.state for one in check(each, backbone="test", root=root)] == ["ok"] * 9
        assert adapter.read(each)[1]["steps"] == "2"
    text = model_card.write(config.out, adapter.read(file)[1]).read_text()
    assert "](samples/step-000002-0.png)" in text and "| alpha | 8 |" in text and root.uri not in text


def change(good: Path, tmp_path: Path, how: Callable[[State], State | None]) -> Path:
    tensors = load_file(good)
    tensors = how(tensors) or tensors
    save_file(tensors, tmp_path / "changed.safetensors", adapter.read_safetensors(good)[1])
    return tmp_path / "changed.safetensors"


def put(key: str, value: object) -> Callable[[State], None]:
    return lambda tensors: tensors.__setitem__(key, value)  # type: ignore[arg-type]


def drop(key: str) -> Callable[[State], None]:
    return lambda tensors: tensors.__delitem__(key)


@pytest.mark.parametrize(
    ("how", "name", "says"),
    [
        (drop(f"{KEY}.lora_B.weight"), "pairs", "lora_A without lora_B at transformer_blocks.0.attn1.to_q"),
        (drop(f"{KEY}.lora_A.weight"), "pairs", "lora_B without lora_A at"),
        (put(f"{KEY}.lora_A.weight", torch.ones(3, 16)), "pairs", "lora_A of rank 3 with lora_B of rank 4"),
        (put(f"{KEY}.lora_B.weight", torch.full((16, 4), float("nan"))), "values", "1 tensors hold NaN"),
        (put(f"{KEY}.lora_A.weight", torch.eye(4, 16) * -float("inf")), "values", "1 tensors hold NaN"),
        (
            put("model.x", torch.ones(1)),
            "names",
            "1 tensors are no LoRA of LTX-2's transformer, e.g. model.x",
        ),
        (
            lambda t: {k: v * 0 if "lora_B" in k else v for k, v in t.items()},
            "values",
            "every update is zero",
        ),
        (
            lambda t: {k.replace("diffusion_model.", "transformer."): v for k, v in t.items()},
            "names",
            "ltx-core does not find 40 tensors",
        ),
        (put(f"{KEY}.alpha", torch.tensor(2.0)), "scale", "alpha in tensors.*its scale is 0.5, e.g. at"),
        (put(f"{KEY}.alpha", torch.tensor(4.0)), "scale", "alpha in tensors.*its scale is 1:"),
    ],
)
def test_what_is_wrong_and_nothing_else(
    good: Path, tmp_path: Path, how: Callable[[State], State | None], name: str, says: str
) -> None:
    found = wrong(change(good, tmp_path, how))
    assert list(found) == [name]
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(found[name])


def test_zero_rank(good: Path, tmp_path: Path) -> None:
    empty = {f"{KEY}.lora_A.weight": torch.zeros(0, 16), f"{KEY}.lora_B.weight": torch.zeros(16, 0)}
    found = wrong(change(good, tmp_path, lambda _: empty))
    assert found["pairs"].startswith("rank 0 at") and set(found) == {"pairs", "values"}


def test_alpha_in_diffusers_header(good: Path, tmp_path: Path) -> None:
    said = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8, "transformer.r": 4})}
    save_file(load_file(good), tmp_path / "a.safetensors", said)
    assert "its scale is 2, e.g. at" in wrong(tmp_path / "a.safetensors")["scale"]
    said = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 4, "transformer.r": 4})}
    save_file(load_file(good), tmp_path / "a.safetensors", said)
    assert wrong(tmp_path / "a.safetensors") == {}


def test_files_that_cannot_be_read_say_one_thing(good: Path, tmp_path: Path) -> None:
    cut, pickled = tmp_path / "cut.safetensors", tmp_path / "pickled.safetensors"
    cut.write_bytes(good.read_bytes()[:-1000])
    pickled.write_bytes(pickle.dumps({"a": [1] * 100}))
    assert set(wrong(cut)) == set(wrong(pickled)) == set(wrong(tmp_path / "none")) == {"file"}
    assert "pickle, which is never opened" in wrong(pickled)["file"]
    done = verify(str(good), str(cut), str(pickled))
    assert done.exit_code == 1 and done.output.count("  wrong  file") == 2 and done.output.count("  ok ") == 6
    told = json.loads(verify(str(cut), "--json").output)
    assert "not a whole safetensors file" in told[str(cut)][0]["wrong"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_dtypes_are_sound(good: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    file = change(good, tmp_path, lambda tensors: {key: value.to(dtype) for key, value in tensors.items()})
    assert wrong(file, backbone="test") == {}


def test_without_a_header_it_is_not_known_where_it_comes_from(good: Path, tmp_path: Path, root: Root) -> None:
    save_file(load_file(good), tmp_path / "bare.safetensors")
    found = check(tmp_path / "bare.safetensors", backbone="test", root=root)
    assert {one.name: one.state for one in found if one.state != "ok"} == {
        "header": "?", "base model": "?", "catalog": "?",
    }  # fmt: skip
    assert verify(str(tmp_path / "bare.safetensors"), "--root", root.uri).exit_code == 0


def test_a_broken_header(good: Path, header: Header, tmp_path: Path) -> None:
    save_file(load_file(good), tmp_path / "a.safetensors", {**strings(header), "config": "{"})
    assert "header is broken at config" in wrong(tmp_path / "a.safetensors")["header"]


def test_a_backbone_of_another_size(good: Path, path: Path, tmp_path: Path) -> None:
    parts = {"num_attention_heads": 4, "cross_attention_dim": 32, "num_layers": 1}
    config = dict(fresh(path).config) | parts
    other = LTX2VideoTransformer3DModel.from_config(config)
    other.save_pretrained(str(tmp_path / "transformer"))
    (tmp_path / "model_index.json").write_text("{}")
    found = wrong(good, backbone=str(tmp_path))
    assert set(found) == {"shapes", "base model"}
    assert "an update of [16, 16] to weights of [32, 32] at transformer_blocks.0." in found["shapes"]
    assert found["shapes"].endswith(
        ", and 19 more"
    )  # the ten layers of block 0, and block 1 that is not there
    assert "but those of" in found["base model"]


def test_shapes_are_those_of_the_weights(path: Path) -> None:
    loaded = {
        name: tuple(module.weight.shape)
        for name, module in fresh(path).named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert shapes(path) == loaded and len(loaded) > 50


def test_a_catalog_that_changed_or_went(good: Path, header: Header, root: Root, tmp_path: Path) -> None:
    def said(**more: str) -> str:
        save_file(load_file(good), tmp_path / "a.safetensors", strings(replace(header, **more)))
        return wrong(tmp_path / "a.safetensors", root=root).get("catalog", "")

    assert said() == ""
    assert "has other samples (manifest" in said(manifest_sha256="0" * 64)
    assert "other samples" in said(catalog=f"{header.catalog}?sample_id > 'a'")
    assert "no catalog 'gone'" in said(catalog="gone@1")
    assert "has no version 99" in said(catalog="canny@99")
