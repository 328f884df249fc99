"""Several adapters in one transformer."""

from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline

from catalogs.errors import ConfigError, TrainingError
from tests.training.helpers import fresh, prompt, random
from training import adapter, stack
from training.forward import predict
from training.tokens import Streams, audio_canvas, video_canvas


def run(transformer) -> tuple[torch.Tensor, torch.Tensor]:
    video, audio = (
        video_canvas(random(1, 16, 2, 2, 2), random(1, 16, 2, 2, 2, seed=1), fps=24.0),
        audio_canvas(random(1, 1, 6, 16), random(1, 1, 6, 16, seed=2)),
    )
    noised = Streams(video=video.target, audio=audio.target)
    with torch.no_grad():
        out = predict(transformer, Streams(video=video, audio=audio), noised, torch.tensor([0.6]), prompt())
    return out.video, out.audio


@pytest.fixture(scope="module")
def files(path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters whose lora_B are not zero: of video, of audio, of both (rank 2)."""
    folder, found = tmp_path_factory.mktemp("adapters"), {}
    for streams, rank in (("video", 4), ("audio", 4), ("joint", 2)):
        parameters = adapter.add(fresh(path), streams=streams, rank=rank, alpha=rank, seed=3)
        for index, (name, parameter) in enumerate(parameters.items()):
            if "lora_B" in name:
                parameter.data = random(*parameter.shape, seed=index) * 0.3
        header = {"streams": streams, "base_model": "test", "base_model_sha256": "ab"}
        found[streams] = folder / f"{streams}.safetensors"
        adapter.save(found[streams], parameters, scale=1.0, metadata=header)
    return found


def loaded(path: Path, *given: object):
    transformer = fresh(path)
    stack.load(transformer, stack.read([str(one) for one in given]))
    return transformer


def test_each_adapts_its_own_stream_and_both_together_both(path: Path, files: dict[str, Path]) -> None:
    bare, video, audio = (
        run(loaded(path)),
        run(loaded(path, files["video"])),
        run(loaded(path, files["audio"])),
    )
    both = run(loaded(path, files["video"], files["audio"]))
    outs = [bare, video, audio, both]
    for one, first in enumerate(outs):
        for other in outs[one + 1 :]:
            assert any((a - b).abs().max() > 1e-3 for a, b in zip(first, other, strict=True))
    for swapped in (
        run(loaded(path, files["audio"], files["video"])),
        run(loaded(path, files["video"], files["audio"])),
    ):
        assert all(torch.equal(a, b) for a, b in zip(swapped, both, strict=True))


def test_a_weight_of_zero_is_no_adapter(path: Path, files: dict[str, Path]) -> None:
    for given, same in (
        ([f"{files['joint']}@0"], []),
        ([files["video"], f"{files['audio']}@0"], [files["video"]]),
        ([f"{files['joint']}@0.0", files["audio"]], [files["audio"]]),
    ):
        assert all(
            torch.equal(a, b)
            for a, b in zip(run(loaded(path, *given)), run(loaded(path, *same)), strict=True)
        )


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # of diffusers' own loader
def test_updates_add_up_as_in_diffusers(path: Path, files: dict[str, Path]) -> None:
    """Overlapping adapters of different ranks and weights: W + 0.5 B1 A1 - 2 B2 A2, and diffusers' own answer."""
    ours = loaded(path, f"{files['video']}@0.5", f"{files['joint']}@-2")
    merged = fresh(path)
    for file, weight in ((files["video"], 0.5), (files["joint"], -2.0)):
        tensors = adapter.read(file)[0]
        for key in tensors:
            if key.endswith("lora_A.weight"):
                module = merged.get_submodule(
                    key.removeprefix("diffusion_model.").removesuffix(".lora_A.weight")
                )
                module.weight.data += weight * tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
    pipe = LTX2Pipeline.from_pretrained(str(path))
    pipe.load_lora_weights(str(files["video"]), adapter_name="one")
    pipe.load_lora_weights(str(files["joint"]), adapter_name="two")
    pipe.set_adapters(["one", "two"], [0.5, -2.0])
    for theirs in (merged, pipe.transformer.eval()):
        for a, b in zip(run(ours), run(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_what_the_headers_say(files: dict[str, Path], path: Path, tmp_path: Path) -> None:
    video, audio, joint = stack.read([str(files["video"]), f"{files['audio']}@0.8", f"{files['joint']}@1e-1"])
    assert (video.weight, audio.weight, joint.weight) == (1.0, 0.8, 0.1)
    assert (video.reads, audio.reads, joint.reads) == (("video",), ("audio",), ("video",))
    at = tmp_path / "a.safetensors@0.5"  # an odd name, but a file's
    tensors, header = adapter.read(files["audio"])
    parameters = {
        key.removeprefix(adapter.PREFIX): torch.nn.Parameter(value) for key, value in tensors.items()
    }
    more = {**header, "references": "video,audio", "reference_downscale_factor": "2"}
    adapter.save(at, parameters, scale=1.0, metadata=more)
    (odd,) = stack.read([str(at)])
    assert (odd.weight, odd.reads, odd.downscale) == (1.0, ("video", "audio"), 2)
    for said, scale in (("2.0", 2), ("4", 4), ("1.0", 1), ("", 1)):  # as other trainers write it
        adapter.save(at, parameters, scale=1.0, metadata={**more, "reference_downscale_factor": said})
        assert stack.read([str(at)])[0].downscale == scale
    for said in ("1/2", "2.5", "0", "-1", "nan", "inf", "half"):
        adapter.save(at, parameters, scale=1.0, metadata={**more, "reference_downscale_factor": said})
        with pytest.raises(TrainingError, match=f"broken header: reference_downscale_factor is '{said}'"):
            stack.read([str(at)])
    for text in (f"{files['video']}@much", f"{files['video']}@nan", f"{files['video']}@"):
        with pytest.raises(ConfigError, match="is not an adapter's weight"):
            stack.read([text])
    with pytest.raises(TrainingError, match="no file"):
        stack.read([str(tmp_path / "none.safetensors@0.5")])
    other = tmp_path / "other.safetensors"
    adapter.save(other, parameters, scale=1.0, metadata={**header, "base_model_sha256": "cd"})
    with pytest.raises(
        ConfigError, match=r"video.safetensors and other.safetensors were trained on different"
    ):
        stack.read([str(files["video"]), str(other)])
