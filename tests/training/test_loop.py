import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from catalogs.errors import ConfigError, TrainingError
from catalogs.query import pin
from catalogs.root import Root
from tests.training.helpers import add_sample, encode, fresh, make_catalog, prompt, random
from training import adapter, checkpoint, forward, loop, parallel
from training.config import TrainConfig
from training.data import Batch
from training.tokens import Streams, audio_canvas, video_canvas

SIX = dict(
    catalog="canny",
    steps=6,
    rank=4,
    alpha=8,
    lr=1e-2,
    warmup=2,
    grad_accum=2,
    checkpoint_every=3,
    validate_every=0,
    device="cpu",
)


def run(root: Root, out: Path, report=None, **changes) -> tuple[Path, list[float]]:
    losses = []

    def both(done: loop.Progress) -> None:
        losses.append(done.loss)
        if report:
            report(done)

    return loop.train(TrainConfig(**{**SIX, "root": root.uri, "out": out, **changes}), both), losses


@pytest.fixture(scope="module")
def straight(root: Root, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    return run(root, tmp_path_factory.mktemp("straight"))


def test_killed_and_resumed_it_is_the_same_run_bit_for_bit(root: Root, straight, tmp_path: Path) -> None:
    """A real SIGKILL in step 5; the run goes on from the checkpoint of step 3."""
    code = f"""
import os, signal, torch; torch.set_num_threads(2)
from pathlib import Path
from training.loop import train
from training.config import TrainConfig
kill = lambda done: done.step == 5 and os.kill(os.getpid(), signal.SIGKILL)
train(TrainConfig(root={root.uri!r}, out=Path({str(tmp_path)!r}), **{SIX!r}), kill)
"""
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert killed.returncode == -signal.SIGKILL
    assert [folder.name for folder in checkpoint.everyone(tmp_path)] == ["step-000003"]
    file, losses = run(root, tmp_path, resume=True)
    assert losses == straight[1][3:]
    ours, theirs = load_file(file), load_file(straight[0])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    state = [
        load_file(checkpoint.everyone(out)[-1] / "state.safetensors")
        for out in (tmp_path, straight[0].parent)
    ]
    assert all(torch.equal(state[0][key], state[1][key]) for key in state[0])


def test_what_the_file_says_and_how_it_is_scaled(root: Root, straight, path: Path) -> None:
    tensors, header = adapter.read(straight[0])
    assert header["catalog"] == str(pin(root, "canny"))
    assert header["reference_downscale_factor"] == "1"
    assert header["modality"] == "canny" and header["streams"] == "video" and header["base_model"] == "test"
    assert len(header["manifest_sha256"]) == len(header["base_model_sha256"]) == 64
    assert json.loads(header["config"])["lr"] == 1e-2
    state = load_file(checkpoint.everyone(straight[0].parent)[-1] / "state.safetensors")
    name = "transformer_blocks.0.attn1.to_q.lora_B.weight"
    assert torch.equal(tensors["diffusion_model." + name], state["param." + name] * 2)  # alpha 8 / rank 4
    assert tensors["diffusion_model." + name].abs().max() > 0


def test_what_tensorboard_shows(straight) -> None:
    events = EventAccumulator(str(straight[0].parent / "logs"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss", "grad_norm", "lr", "seconds_per_step"} <= tags
    assert any(tag.startswith("loss_by_sigma/") for tag in tags)
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(straight[1])
    assert [event.value for event in events.Scalars("lr")] == pytest.approx([5e-3] + [1e-2] * 5)


def test_a_run_in_the_way_and_another_run(root: Root, straight) -> None:
    out = straight[0].parent
    with pytest.raises(TrainingError, match="holds a run already"):
        run(root, out)
    with pytest.raises(TrainingError, match=r"other settings \(lr=0.01\)"):
        run(root, out, resume=True, lr=1e-3)
    with pytest.raises(TrainingError, match=r"other settings \(grad_accum\*gpus=2\)"):
        run(root, out, resume=True, grad_accum=4)
    file, losses = run(root, out, resume=True)  # finished: nothing to do
    assert losses == [] and file == straight[0]


def test_it_learns_one_sample(root: Root, tmp_path: Path, path: Path) -> None:
    """Overfitted on one sample, the loss at fixed noise falls well below where it began."""
    name = pin(root, "canny")
    one = f"{name}?caption='a square, number 0'"
    file, _ = run(
        root,
        tmp_path,
        catalog=one,
        steps=60,
        rank=16,
        alpha=16,
        batch_size=1,
        grad_accum=1,
        warmup=5,
        checkpoint_every=60,
    )
    from training import data

    dataset = data.load(root, one, path, backbone="test")
    batch = data.read_batch(dataset, dataset.examples)

    def loss(transformer) -> float:
        with torch.no_grad():
            found = [
                loop.batch_loss(
                    transformer,
                    batch,
                    torch.Generator().manual_seed(seed),
                    torch.device("cpu"),
                    torch.float32,
                )[0]
                for seed in range(20)
            ]
        return float(torch.stack(found).mean())

    after = fresh(path)
    adapter.load(after, file)
    assert loss(after) < 0.7 * loss(fresh(path))


@pytest.mark.parametrize(("catalog", "streams"), [("sound", "audio"), ("talking", "joint")])
def test_audio_and_joint_runs_train_their_streams(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: str, streams: str
) -> None:
    real, video_weights = loop.batch_loss, []

    def watched(transformer, *rest):
        named = transformer.transformer_blocks.named_parameters()
        video_weights.append(sum(".attn1." in name for name, _ in named))
        return real(transformer, *rest)

    monkeypatch.setattr(loop, "batch_loss", watched)
    file, losses = run(root, tmp_path, catalog=catalog, steps=2, validate_every=2, validate_steps=2)
    assert len(losses) == 2
    tensors, header = adapter.read(file)
    assert header["streams"] == streams
    assert all(bool(count) == (streams == "joint") for count in video_weights)
    assert header["references"] == ("video" if streams == "joint" else "audio")
    assert streams == "joint" or all(".audio_" in key for key in tensors)
    moved = {key.split(".")[3] for key, value in tensors.items() if "lora_B" in key and value.abs().max() > 0}
    assert {"audio_attn1", "audio_attn2", "audio_ff"} <= moved
    assert ("attn1" in moved) == ("audio_to_video_attn" in moved) == (streams == "joint")
    sample = tmp_path / "samples" / "step-000002-0"
    assert Image.open(sample.with_suffix(".png")).size[0] > 0
    with av.open(str(sample.with_suffix(".mp4" if streams == "joint" else ".flac"))) as made:
        assert len(made.streams.audio) == 1


def test_validation_samples_lie_beside_their_reference(root: Root, tmp_path: Path) -> None:
    run(root, tmp_path, steps=2, validate_every=1, validate_steps=2, validate_count=2)
    names = sorted(entry.name for entry in (tmp_path / "samples").iterdir())
    assert names == [
        f"step-00000{step}-{index}.{kind}" for step in (1, 2) for index in (0, 1) for kind in ("mp4", "png")
    ]
    picture = Image.open(tmp_path / "samples" / "step-000002-0.png").convert("L")
    left = picture.crop((0, 0, 64, 96))
    assert picture.size == (2 * 64, 4 * 96)
    assert left.getextrema() == pytest.approx((0, 255), abs=12)  # the reference: white edges on black
    with av.open(str(tmp_path / "samples" / "step-000002-0.mp4")) as made:
        assert (made.streams.video[0].width, made.streams.video[0].frames) == (128, 9)


def test_samples_lost_between_a_checkpoint_and_its_validation_are_made_on_resuming(
    root: Root, tmp_path: Path, monkeypatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    many = {"steps": 3, "validate_every": 3, "validate_steps": 2, "validate_count": 1}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "validate", killed)
        run(root, tmp_path, **many)
    assert [folder.name for folder in checkpoint.everyone(tmp_path)] == ["step-000003"]
    assert not (tmp_path / "samples").exists()
    run(root, tmp_path, resume=True, **many)
    assert (tmp_path / "samples/step-000003-0.png").exists()
    before = (tmp_path / "samples/step-000003-0.png").stat().st_mtime_ns
    run(root, tmp_path, resume=True, **many)  # and once is enough
    assert (tmp_path / "samples/step-000003-0.png").stat().st_mtime_ns == before


def test_a_run_that_is_further_is_not_called_shorter(root: Root, straight, tmp_path: Path) -> None:
    out = shutil.copytree(straight[0].parent, tmp_path / "out")
    with pytest.raises(TrainingError, match="is at step 6 already, beyond --steps 3"):
        run(root, out, steps=3, resume=True)


def test_a_trial_that_runs_out_of_memory_leaves_no_gradient(root: Root, path: Path, monkeypatch) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    gradients = parallel.Gradients([weight])
    gradients.flat[:3] = torch.tensor([1.0, 2.0, 3.0])

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def loss(*_: object) -> tuple[torch.Tensor, None]:
        return weight * 5 + Full.apply(weight * 2), None  # the first term's gradient comes before

    monkeypatch.setattr(loop, "batch_loss", loss)
    with pytest.raises(torch.OutOfMemoryError):
        loop._trial(None, None, torch.device("cpu"), torch.float32, gradients)
    assert gradients.flat[:3].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("recompute", ["all", "auto"])
def test_blocks_that_are_run_again_change_nothing(
    root: Root, straight, tmp_path: Path, monkeypatch, recompute
) -> None:
    calls = []
    real = forward.checkpoint
    monkeypatch.setattr(
        forward, "checkpoint", lambda *args, **more: (calls.append(1), real(*args, **more))[1]
    )
    _, losses = run(root, tmp_path, steps=2, recompute=recompute)
    assert len(calls) == (2 * 2 * 2 if recompute == "all" else 0)  # blocks, batches a step, steps
    assert losses == pytest.approx(straight[1][:2], rel=1e-6)


def test_bf16_is_near_fp32(root: Root, straight, tmp_path: Path) -> None:
    _, losses = run(root, tmp_path, steps=2, dtype="bf16")
    assert losses == pytest.approx(straight[1][:2], rel=0.05)
    state = load_file(checkpoint.everyone(tmp_path)[-1] / "state.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    root: Root, tmp_path: Path, monkeypatch
) -> None:
    real, seen = loop.batch_loss, []

    def broken(*args):
        seen.append(1)
        loss, sigma = real(*args)
        return (loss * float("nan") if len(seen) > 8 else loss), sigma  # two batches a step: in step 5

    monkeypatch.setattr(loop, "batch_loss", broken)
    with pytest.raises(TrainingError, match="the loss of step 5 is not finite") as error:
        run(root, tmp_path)
    assert str(tmp_path / "checkpoints" / "step-000003") in error.value.hint
    monkeypatch.undo()
    assert len(run(root, tmp_path, resume=True)[1]) == 3


def test_a_full_disk_during_a_checkpoint_keeps_the_one_before(root: Root, tmp_path: Path) -> None:
    """The kernel refuses to let the checkpoint of step 6 grow: it says that a file is too large."""
    code = f"""
import resource, torch; torch.set_num_threads(1)
from pathlib import Path
from catalogs.errors import TrainingError
from training.loop import train
from training.config import TrainConfig
def limit(done):
    if done.step == 5:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
try:
    train(TrainConfig(root={root.uri!r}, out=Path({str(tmp_path)!r}), **{SIX!r}), limit)
except TrainingError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"cannot write .*step-000006.*: File too large. free some space.*\n", ended.stdout)
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-000003"]
    assert len(run(root, tmp_path, resume=True)[1]) == 3


def test_a_full_gpu_says_what_to_change(root: Root, tmp_path: Path, monkeypatch) -> None:
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "batch_loss", full)
    with pytest.raises(
        TrainingError, match=r"out of memory .* with 24 tokens a sample .* and 2 samples"
    ) as error:
        run(root, tmp_path, batch_size=2)
    assert "--batch-size 1" in error.value.hint and "--low-memory" in error.value.hint


def test_weights_that_do_not_fit_say_what_to_change(root: Root, tmp_path: Path, monkeypatch) -> None:
    def full(*args, **more):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("training.prepare.place", full)
    with pytest.raises(TrainingError, match="out of memory on the GPU with the weights alone") as error:
        run(root, tmp_path)
    assert "--low-memory" in error.value.hint


def test_old_checkpoints_go(root: Root, tmp_path: Path) -> None:
    run(root, tmp_path, checkpoint_every=1, keep_checkpoints=2)
    assert [folder.name for folder in checkpoint.everyone(tmp_path)] == ["step-000005", "step-000006"]


def test_steps_come_from_the_catalog(root: Root, tmp_path: Path) -> None:
    assert len(run(root, tmp_path, steps=None)[1]) == 5


def test_a_resumed_run_stays_on_its_version(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    video = ("video", "reference_video")
    make_catalog(root, "canny", [add_sample(root, 0, columns=video)])
    encode(root, "canny")
    run(root, tmp_path / "out", steps=3)
    make_catalog(root, "canny", [add_sample(root, 1, columns=video)])
    encode(root, "canny")
    before = adapter.read(tmp_path / "out" / "adapter.safetensors")[1]["catalog"]
    file, losses = run(root, tmp_path / "out", resume=True)
    assert len(losses) == 3 and adapter.read(file)[1]["catalog"] == before


def test_the_loss_is_the_mean_over_target_tokens_alone(path: Path) -> None:
    """With a transformer that answers zero, the loss is the mean square of noise - x0 over the target."""
    batch = Batch(
        sample_ids=["a", "b"],
        prompt=prompt(2),
        canvases=Streams(
            video=video_canvas(random(2, 16, 2, 2, 2), random(2, 16, 2, 2, 2, seed=1) * 100, fps=24.0),
            audio=audio_canvas(random(2, 1, 6, 16), random(2, 1, 6, 16, seed=3) * 100),
        ),
    )
    silent = fresh(path)
    for part in (silent.proj_out, silent.audio_proj_out):
        part.weight.data.zero_()
        part.bias.data.zero_()
    loss, sigma = loop.batch_loss(
        silent, batch, torch.Generator().manual_seed(2), torch.device("cpu"), torch.float32
    )
    generator = torch.Generator().manual_seed(2)
    from training.noise import sample_sigma

    assert torch.equal(sigma, sample_sigma(2, 8, generator))
    video, audio = batch.canvases.video.target, batch.canvases.audio.target
    wanted = (torch.randn(video.shape, generator=generator) - video).square().mean(dim=(1, 2))
    wanted = wanted + (torch.randn(audio.shape, generator=generator) - audio).square().mean(dim=(1, 2))
    torch.testing.assert_close(loss, wanted)


def test_bad_options() -> None:
    good = TrainConfig(catalog="canny", root="r", out=Path("o"))
    for name, value in (
        ("rank", 0),
        ("streams", "sound"),
        ("dtype", "fp16"),
        ("lr", 0.0),
        ("steps", 0),
        ("gpus", 0),
        ("shard", "some"),
        ("seed", -1),
        ("lr", float("inf")),
    ):
        with pytest.raises(ConfigError, match=name):
            dataclasses.replace(good, **{name: value})
    assert all(field.metadata["help"] for field in dataclasses.fields(TrainConfig))
