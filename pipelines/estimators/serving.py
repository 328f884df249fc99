"""A model of its own process: the loop that its worker program runs, and what the other end says to it.

A worker program loads its model, then calls :func:`serve`. It needs no more than numpy and what the model needs, so it
may run in an environment of its own: ``.venv`` inside a checkout, or one that ``make`` sets up.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip, WorkerError
from pipelines.estimators.card import Card
from pipelines.process import WorkerProcess, python_path

Arrays = Mapping[str, NDArray[Any]]

TIMEOUT_S = 1800.0
"""Seconds for one clip, or to start."""


def python_of(checkout: Path | None) -> Path:
    """The Python that runs a checkout's code: its own ``.venv`` where it has one, else this one, as for no checkout."""
    own = checkout / ".venv" / "bin" / "python" if checkout else None
    return own if own and own.is_file() else Path(sys.executable)


def checkout_of(card: Card, checkout: str, package: str = "") -> Path | None:
    """The folder of a card's code; None where ``package``, the same code, is installed.

    Raises:
        EstimatorUnavailable: Neither is here; the hint says how to get it.
    """
    home = Path(checkout).expanduser().resolve()
    if checkout and home.is_dir():
        return home
    if not checkout and package and importlib.util.find_spec(package) is not None:
        return None
    where, folder = (
        f"{checkout} is no folder" if checkout else "none is given",
        card.checkout.rpartition("/")[2],
    )
    raise EstimatorUnavailable(
        f"{card.name} runs from a checkout, and {where}",
        f"Get it with `git clone {card.checkout}`, and say checkout={folder}.",
    )


class HostedModel:
    """A model in a process of its own; the process is started at once, and again after it died.

    Args:
        module: The worker program, e.g. ``pipelines.estimators.alltracker_worker``.
        arguments: For the program.
        python: What runs it; see :func:`python_of`.
        hint: How to get what the model needs.

    Raises:
        EstimatorUnavailable: It does not start.
    """

    def __init__(
        self, module: str, arguments: Sequence[str] = (), *, python: Path | None = None, hint: str = ""
    ) -> None:
        self._name = module.rpartition(".")[2].removesuffix("_worker")
        self._process = WorkerProcess(
            [str(python or sys.executable), "-m", module, *arguments],
            timeout=TIMEOUT_S,
            environment={"PYTHONPATH": python_path()},
            name="its process",
        )
        try:
            self._call({"op": "hello"})
        except (WorkerError, UnusableClip) as error:
            raise EstimatorUnavailable(f"{self._name} does not start: {error.message}", hint) from None

    def __call__(self, **arrays: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run the model on named arrays; returns what it gives.

        Raises:
            UnusableClip: The model refuses these arrays, failed, ran out of memory, died or hung on them; the next are
                not affected.
        """
        with tempfile.TemporaryDirectory(prefix="avcontrol-") as folder:
            for name, array in arrays.items():
                np.save(Path(folder, f"{name}.npy"), array)
            self._call({"op": "run", "folder": folder, "names": list(arrays)})
            results = Path(folder, "out").glob("*.npy")
            return {result.stem: np.load(result, allow_pickle=False) for result in results}

    def _call(self, request: Mapping[str, Any]) -> None:
        try:
            *_, answer = self._process.call(request)
        except WorkerError as error:
            if request["op"] == "hello":
                raise
            raise UnusableClip(error.reason, f"{self._name}: {error.message}") from None
        if answer["event"] == "error":
            raise UnusableClip(answer["reason"], f"{self._name}: {answer['message']}")


def serve(run: Callable[[Arrays], Arrays]) -> None:
    """Answer requests until stdin closes.

    Args:
        run: The model, from named arrays to named arrays. It refuses arrays by an ``UnusableClip``; its MemoryError and
            the accelerator's OutOfMemoryError become the reason ``out_of_memory``, other errors ``estimator_failed``.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {"event": "done"}
        try:
            if request["op"] == "run":
                folder = Path(request["folder"])
                results = run({name: np.load(folder / f"{name}.npy") for name in request["names"]})
                (folder / "out").mkdir()
                for name, array in results.items():
                    np.save(folder / "out" / f"{name}.npy", array)
        except UnusableClip as error:
            answer = {"event": "error", "reason": error.reason, "message": error.message}
        except Exception as error:
            traceback.print_exc()
            refused = refusal(error)
            answer = {"event": "error", "reason": refused.reason, "message": refused.message}
        answers.write(json.dumps(answer) + "\n")


def placed(device: str) -> str:
    """Where a model runs: the first GPU, if there is one, for ``auto``."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def refusal(error: Exception, name: str = "") -> UnusableClip:
    """An error of a model, of the one called ``name``, as what becomes of the clip in hand."""
    reason = "out_of_memory" if out_of_memory(error) else "estimator_failed"
    said = (str(error).strip() or "no message").splitlines()[0][:200]
    return UnusableClip(reason, f"{name}: " * bool(name) + f"{type(error).__name__}: {said}")


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the machine or of the accelerator."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
