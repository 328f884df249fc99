"""Two processes with torch.distributed over gloo, as Ray Train starts them, and one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from safetensors.torch import load_file

from catalogs.errors import TrainingError
from catalogs.root import Root
from tests.training.test_loop import SIX, run
from training import checkpoint, loop, parallel
from training.config import TrainConfig


def rank(number: int, folder: Path, config: TrainConfig) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=number, world_size=2)
    loop.work(config)
    loop.work(replace(config, shard="always", out=folder / "spread", validate_every=6))
    said = [text for text in parallel.everyones(broken(config, folder / "broken")) if text]
    (folder / f"said-{number}").write_text("\n".join(said))
    (folder / f"apart-{number}").mkdir()
    with pytest.raises(TrainingError, match=f"apart-{number} is not the same folder on every node"):
        parallel.check_shared(folder / f"apart-{number}")
    dist.destroy_process_group()


def broken(config: TrainConfig, out: Path) -> str:
    """What a run says whose second process gets a loss that is not finite in step 4."""
    real, seen = loop.batch_loss, []

    def spoiled(*args):
        seen.append(1)
        loss, sigma = real(*args)
        return (loss * float("nan") if len(seen) == 4 and dist.get_rank() == 1 else loss), sigma

    loop.batch_loss = spoiled
    try:
        loop.work(replace(config, out=out))
    except TrainingError as error:
        return str(error)
    finally:
        loop.batch_loss = real
    return ""


@pytest.fixture(scope="module")
def folder(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("whole", "spread", "broken"):
        (folder / name).mkdir()
    two = {**SIX, "grad_accum": 1, "gpus": 2, "validate_steps": 2, "validate_count": 1}
    config = loop.settled(TrainConfig(**two, root=root.uri, out=folder / "whole"))
    processes.spawn(rank, (folder, config), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def alone(root: Root, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The adapter of one process with two batches a step."""
    return load_file(run(root, tmp_path_factory.mktemp("alone"))[0])


@pytest.mark.parametrize("how", ["whole", "spread"])
def test_two_processes_are_one_with_twice_the_batches(folder: Path, alone, how: str) -> None:
    torch.testing.assert_close(load_file(folder / how / "adapter.safetensors"), alone, rtol=1e-5, atol=1e-7)


def test_files_are_written_once(folder: Path) -> None:
    assert [entry.name for entry in (folder / "spread" / "samples").glob("*.png")] == ["step-000006-0.png"]
    assert len(list((folder / "spread" / "logs").iterdir())) == 1
    assert not list((folder / "whole").glob(".shared-*"))


def test_one_process_goes_on_where_two_stopped(root: Root, folder: Path, alone) -> None:
    """Their batches are the same ones: 2 GPUs x 1 pass and 1 x 2."""
    newest = checkpoint.everyone(folder / "whole")[-1]
    assert newest.name == "step-000006"
    shutil.rmtree(newest)
    file, losses = run(root, folder / "whole", resume=True)
    assert len(losses) == 3
    torch.testing.assert_close(load_file(file), alone, rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_stops_both_with_one_message(folder: Path) -> None:
    said = (folder / "said-0").read_text().splitlines()
    assert len(said) == 2 and said[0] == said[1]
    assert said[0].startswith("the loss of step 4 is not finite (samples ")
    assert (
        "step-000003" in said[0] and said[0].count(",") == 0
    )  # one sample: the other process's is not blamed


def test_auto_spreads_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, device = torch.nn.Linear(1000, 1000, bias=False), torch.device("cuda")  # 4 MB
    assert not parallel.spreads("always", weights, device)  # one process
    monkeypatch.setattr(parallel, "ranks", lambda: (0, 2))
    monkeypatch.setattr(parallel, "everyones", lambda value: [value, value + 1])
    for total, wanted in ((5e6, True), (6e6, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, total=total: (0, total))
        assert parallel.spreads("auto", weights, device) == wanted
        assert not parallel.spreads("never", weights, device)
