import pickle
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from safetensors.torch import load_file, save_file

from catalogs.errors import TrainingError
from tests.training.helpers import fresh, prompt, random
from training import adapter
from training.forward import predict
from training.tokens import Streams, audio_canvas, video_canvas


def trained(path: Path, streams: str = "joint", alpha: int = 8):
    """A transformer with an adapter of rank 4 whose lora_B are not zero."""
    transformer = fresh(path)
    parameters = adapter.add(transformer, streams=streams, rank=4, alpha=alpha, seed=3)
    for index, (name, parameter) in enumerate(parameters.items()):
        if "lora_B" in name:
            parameter.data = random(*parameter.shape, seed=index) * 0.3
    return transformer, parameters


def run(transformer) -> torch.Tensor:
    video, audio = (
        video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0),
        audio_canvas(random(1, 1, 6, 16), random(1, 1, 6, 16, seed=2)),
    )
    with torch.no_grad():
        out = predict(
            transformer,
            Streams(video=video, audio=audio),
            Streams(video=video.target, audio=audio.target),
            torch.tensor([0.6]),
            prompt(),
        )
    return torch.cat([out.video.flatten(), out.audio.flatten()])


def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_it(path: Path) -> None:
    transformer = fresh(path)
    before = run(transformer)
    first = adapter.add(transformer, streams="joint", rank=4, alpha=4, seed=3)
    assert torch.equal(run(transformer), before)
    again = adapter.add(fresh(path), streams="joint", rank=4, alpha=4, seed=3)
    other = adapter.add(fresh(path), streams="joint", rank=4, alpha=4, seed=4)
    name = next(name for name in first if "lora_A" in name)
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("streams", "parts"),
    [
        ("video", {"attn1", "attn2", "ff"}),
        ("audio", {"audio_attn1", "audio_attn2", "audio_ff"}),
        (
            "joint",
            {
                "attn1",
                "attn2",
                "ff",
                "audio_attn1",
                "audio_attn2",
                "audio_ff",
                "audio_to_video_attn",
                "video_to_audio_attn",
            },
        ),
    ],
)
def test_which_modules_are_trained(path: Path, streams: str, parts: set[str]) -> None:
    transformer = fresh(path)
    parameters = adapter.add(transformer, streams=streams, rank=2, alpha=2, seed=0)
    modules = {name.split(".lora_")[0] for name in parameters}
    assert {module.split(".")[2] for module in modules} == parts
    attention = sum("attn" in part for part in parts)
    assert len(modules) == 2 * (
        attention * 4 + (len(parts) - attention) * 2
    )  # 2 blocks; q k v out; two layers
    assert {name for name, p in transformer.named_parameters() if p.requires_grad} == {
        name.replace(".weight", f".{adapter.NAME}.weight") for name in parameters
    }


@pytest.mark.parametrize("streams", ["video", "audio", "joint"])
def test_saved_and_loaded_back_by_us_and_by_diffusers(path: Path, tmp_path: Path, streams: str) -> None:
    transformer, parameters = trained(path, streams)
    file = tmp_path / "a.safetensors"
    adapter.save(file, parameters, scale=8 / 4, metadata={"modality": "canny"})
    wanted = run(transformer)
    assert (wanted - run(fresh(path))).abs().max() > 1e-3

    ours = fresh(path)
    assert adapter.load(ours, file)["modality"] == "canny"
    torch.testing.assert_close(run(ours), wanted, rtol=1e-5, atol=1e-6)

    pipe = LTX2Pipeline.from_pretrained(str(path))
    pipe.load_lora_weights(str(file))
    torch.testing.assert_close(run(pipe.transformer.eval()), wanted, rtol=1e-5, atol=1e-6)


def test_names_are_those_comfyui_reads_and_no_alpha_is_left(path: Path, tmp_path: Path) -> None:
    _, parameters = trained(path, "video")
    adapter.save(tmp_path / "a.safetensors", parameters, scale=2.0, metadata={})
    names = set(load_file(tmp_path / "a.safetensors"))
    assert "diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight" in names
    assert "diffusion_model.transformer_blocks.1.ff.net.0.proj.lora_B.weight" in names
    assert not any("alpha" in name for name in names)


def test_foreign_and_broken_files_get_one_clear_line(path: Path, tmp_path: Path) -> None:
    transformer = fresh(path)

    def refuse(file: Path, says: str) -> None:
        with pytest.raises(TrainingError, match=says) as error:
            adapter.load(transformer, file)
        assert "\n" not in str(error.value)

    refuse(tmp_path / "none.safetensors", "no file")
    evil = tmp_path / "evil.safetensors"
    evil.write_bytes(pickle.dumps({"a": 1}))
    refuse(evil, "not a whole safetensors file.*It looks like a pickle, which is never opened")
    torch.save({"a": torch.zeros(1)}, evil)
    refuse(evil, "not a whole safetensors file.*It looks like a pickle")
    _, parameters = trained(path)
    adapter.save(tmp_path / "good.safetensors", parameters, scale=1.0, metadata={})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "good.safetensors").read_bytes()[:-100])
    refuse(cut, r"not a whole safetensors file \([^.]*\)$")
    save_file({"lora_unet.x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    refuse(tmp_path / "foreign.safetensors", "is not an LTX-2 adapter.*but e.g. lora_unet.x")
    save_file({}, tmp_path / "empty.safetensors")
    refuse(tmp_path / "empty.safetensors", "is not an LTX-2 adapter")

    def pair(a: tuple[int, ...], b: tuple[int, ...], block: int = 0) -> Path:
        key = f"diffusion_model.transformer_blocks.{block}.attn1.to_q.lora_"
        tensors = {f"{key}A.weight": torch.zeros(a), f"{key}B.weight": torch.zeros(b)}
        save_file(
            {name: value for name, value in tensors.items() if value.ndim}, tmp_path / "pair.safetensors"
        )
        return tmp_path / "pair.safetensors"

    refuse(
        pair((4, 4096), (4096, 4)), r"does not fit this backbone .*\[4096, 4096\] to weights of \[16, 16\]"
    )
    refuse(pair((4, 16), (16, 4), block=40), "does not fit this backbone .*no such module at .*blocks.40")
    refuse(
        pair((4, 16), (16, 3)), "is broken: lora_A of rank 4 with lora_B of rank 3 at transformer_blocks.0"
    )
    refuse(pair((0, 16), (16, 0)), "is broken: rank 0 at")
    refuse(pair((4, 16), ()), "is broken: lora_A without lora_B at")
    refuse(pair((), (16, 4)), "is broken: lora_B without lora_A at")
    refuse(pair((4, 16), (16, 4, 1)), r"is broken: matrices of shape \[4, 16\] and \[16, 4, 1\]")
    assert "." + adapter.NAME not in str(dict(transformer.named_modules()).keys())


def test_a_failed_write_leaves_the_old_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parameters = trained(path, "video")
    file = tmp_path / "a.safetensors"
    adapter.save(file, parameters, scale=1.0, metadata={})
    before = file.read_bytes()

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match="No space left"):
        adapter.save(file, parameters, scale=2.0, metadata={})
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
