"""Networks that all workers of a machine share: ``python -m pipelines.estimators.shared SOCKET``.

Sixteen workers that decode, draw and encode want one GPU, and its memory holds one network better than sixteen. So one
process holds the networks, batches and half precision included, and the workers ask it: small messages over a Unix
socket, frames and results as files in memory. A worker finds it by the environment variable :data:`VARIABLE`; without
that it runs its networks itself, by the same code.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import AvcontrolError, ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators.serving import refusal
from pipelines.process import memory_folder, python_path

log = logging.getLogger("avcontrol")

Network = Callable[..., Mapping[str, NDArray[Any]]]
"""From named arrays to named arrays. An attribute ``turns`` says how many threads may call it at a time; 1 without."""

VARIABLE = "AVCONTROL_NETWORKS"
_TIMES = 50
"""Room in memory that a worker wants, in clips: of others beside it, and of what comes back."""

PATIENCE_S = 120.0
"""Seconds that a process may take to start, again after it died."""


def network(family: str, name: str, **options: str) -> Network:
    """A network of an estimator family: the shared one if there is one, else one of this process.

    Args:
        family: Module in this package with a function ``open_network(name, **options)``.
        name: Of one of its estimators.
        options: Its weights, checkout, ….

    Raises:
        EstimatorUnavailable: Something is missing.
    """
    address = os.environ.get(VARIABLE)
    if address:
        return Shared(address, family, name, options)
    return _local(family, name, options)


def _local(family: str, name: str, options: Mapping[str, str]) -> Network:
    made: Network = importlib.import_module(f"pipelines.estimators.{family}").open_network(name, **options)
    return made


class Shared:
    """A network of the process at ``address``; see :func:`network` for the other arguments."""

    def __init__(self, address: str, family: str, name: str, options: Mapping[str, str]) -> None:
        self._address, self._which = address, {"family": family, "name": name, "options": dict(options)}
        self._link: Connection | None = None
        self._ask({"op": "load"})
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __call__(self, **arrays: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run it.

        Raises:
            UnusableClip: It refuses these arrays, failed or ran out of memory on them, or its process died.
            EstimatorUnavailable: The process does not come back.
        """
        if self._folder is None:  # kept from call to call, and its files written over
            size = _TIMES * sum(array.nbytes for array in arrays.values())
            self._folder = tempfile.TemporaryDirectory(prefix="avcontrol-", dir=memory_folder(size))
        folder = Path(self._folder.name)
        _write(folder, arrays)
        made = self._ask({"op": "run", "folder": str(folder), "arrays": list(arrays)})
        return {name: np.load(folder / f"out-{name}.npy", allow_pickle=False) for name in made}

    def _ask(self, request: Mapping[str, Any]) -> list[str]:
        """Ask, and once more where the process died: it may have been another worker's clip that did it."""
        for attempt in range(2):
            try:
                self._link = self._link or _connected(self._address)
                self._link.send({**self._which, **request})
                answer = self._link.recv()
            except (EOFError, OSError):
                self._link = None
                if attempt:
                    raise UnusableClip(
                        "crashed", f"the process of {self._which['name']} died twice"
                    ) from None
                continue
            break
        if isinstance(answer, AvcontrolError):
            raise answer
        made: list[str] = answer
        return made


def _connected(address: str) -> Connection:
    """A link that has been answered on: a process that is dying still lets others connect."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            link = Client(address, family="AF_UNIX")
            link.send({"op": "hello"})
            link.recv()
            return link
        except (EOFError, OSError):
            if time.monotonic() > deadline:
                raise EstimatorUnavailable(
                    f"the process of the networks does not answer at {address}", "Its node's log may say why."
                ) from None
            time.sleep(0.2)


def keep(address: str) -> None:
    """Keep a process at ``address``: started, and again whenever it died. It ends with this one, and not before."""
    command = [sys.executable, "-m", "pipelines.estimators.shared", address]
    while True:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": python_path()}
        ) as one:
            one.wait()
        time.sleep(1)


def serve(address: str) -> None:
    """Answer whoever connects, each in a thread of its own, until stdin closes."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    Path(address).unlink(missing_ok=True)
    holder = _Holder()
    with Listener(address, family="AF_UNIX", backlog=256) as listener:
        while True:
            threading.Thread(target=holder.answer, args=(listener.accept(),), daemon=True).start()


class _Holder:
    """The networks of the process, each loaded when first asked for."""

    def __init__(self) -> None:
        self._networks: dict[str, tuple[Network, threading.Semaphore]] = {}
        self._loading = threading.Lock()

    def answer(self, link: Connection) -> None:
        """Answer one worker until it is gone."""
        with suppress(EOFError, OSError):
            while True:
                request = link.recv()
                answer: Any
                try:
                    answer = self._answer(request)
                except AvcontrolError as error:
                    answer = error
                except Exception as error:
                    log.exception("%s failed", request["name"])
                    answer = refusal(error, request["name"])
                link.send(answer)

    def _answer(self, request: Mapping[str, Any]) -> list[str]:
        if request["op"] == "hello":
            return []
        called, turns = self._loaded(request)
        if request["op"] == "load":
            return []
        folder = Path(request["folder"])
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in request["arrays"]}
        with turns:
            made = called(**arrays)
        _write(folder, {f"out-{name}": array for name, array in made.items()})
        return list(made)

    def _loaded(self, request: Mapping[str, Any]) -> tuple[Network, threading.Semaphore]:
        which = repr((request["family"], request["name"], sorted(request["options"].items())))
        with self._loading:
            if which not in self._networks:
                made = _local(request["family"], request["name"], request["options"])
                self._networks[which] = made, threading.Semaphore(getattr(made, "turns", 1))
            return self._networks[which]


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def _write(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Over what is there: pages that are in memory already cost no more than the copy."""
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        with path.open("r+b" if path.exists() else "wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
            file.truncate()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python -m pipelines.estimators.shared SOCKET")
    serve(sys.argv[1])
