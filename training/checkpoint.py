"""Checkpoints: everything a run needs to go on bit for bit, in safetensors and JSON, never a pickle.

    OUT/checkpoints/step-000250/adapter.safetensors   what other tools load
    OUT/checkpoints/step-000250/state.safetensors     float32 masters and AdamW's moments
    OUT/checkpoints/step-000250/state.json            step, batch, and what the run is

A checkpoint appears whole (written beside, renamed) and the older one goes only after that. There is no
random state to keep: order and noise are functions of the seed and the step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from catalogs.errors import TrainingError
from training import adapter

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save(
    out: Path,
    step: int,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    scale: float,
    run: Mapping[str, Any],
    metadata: dict[str, str],
    keep: int,
) -> Path:
    """Write the checkpoint after `step` finished steps and drop the oldest ones.

    Args:
        out: The run's folder.
        step: Finished optimizer steps.
        parameters: The adapter's, by name.
        optimizer: AdamW over them.
        scale: alpha / rank, for the adapter file.
        run: What identifies the run; a resume compares it.
        metadata: For the adapter file.
        keep: How many checkpoints stay.

    Returns:
        The checkpoint's folder.

    Raises:
        TrainingError: It cannot be written; earlier checkpoints are whole.
    """
    final = out / "checkpoints" / f"step-{step:06d}"
    part = final.with_name(f".{final.name}.part")
    tensors = {}
    for name, parameter in parameters.items():
        tensors[f"param.{name}"] = parameter.detach().cpu()
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment].detach().cpu()
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        adapter.save(part / "adapter.safetensors", parameters, scale=scale, metadata=metadata)
        adapter.write_safetensors(part / "state.safetensors", tensors, {"format": "pt"})
        _write_json(part / "state.json", {"step": step, "run": dict(run)})
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
    except OSError as error:
        raise TrainingError(
            f"cannot write checkpoint {final}: {error.strerror or error}", "free some space, then --resume"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in everyone(out)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def everyone(out: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path for path in (out / "checkpoints").glob("step-*") if (path / "state.json").is_file())


def read(folder: Path) -> dict[str, Any]:
    """A checkpoint's `state.json`: `step` and `run`."""
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"checkpoint {folder.name} is broken ({error})", "remove it, then --resume"
        ) from error
    return state


def restore(
    folder: Path,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    run: Mapping[str, Any],
) -> int:
    """Load a checkpoint into the adapter and the optimizer.

    Returns:
        The number of finished steps.

    Raises:
        TrainingError: It is broken, or of a run with other settings (the message names them).
    """
    state = read(folder)
    other = sorted(key for key in run if state["run"].get(key) != run[key])
    if other:
        was = ", ".join(f"{key}={state['run'].get(key)}" for key in other)
        raise TrainingError(
            f"{folder.name} is of a run with other settings ({was})", "give the same ones, or another --out"
        )
    tensors, _ = adapter.read_safetensors(folder / "state.safetensors")
    if {key.partition(".")[2] for key in tensors} != set(parameters):
        raise TrainingError(f"checkpoint {folder.name} does not hold this adapter")
    moments = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        parameter.data.copy_(tensors[f"param.{name}"])
        moments[index] = {moment: tensors[f"{moment}.{name}"] for moment in _MOMENTS}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})  # puts each on its device
    return int(state["step"])


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with open(path, "w") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
