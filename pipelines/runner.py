"""Running work on Ray: the pool, the watchdog, the workers. The only place that knows Ray.

Ray's own actors, not Ray Data: docs/design/0005-ray-actors.md has why, and what it measured.

Only URIs, IDs and rows travel between stages, never frames. A Ray actor is a thin shell around a worker process
that may crash, hang or eat memory without harm (:mod:`pipelines.process`): what goes wrong in a unit comes back as
a reject of that unit. An actor that is killed from outside is restarted and its
units are run again; what they had already made is found in the root's memo.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalogs import errors
from catalogs.errors import AvcontrolError, ConfigError, SourceError, WorkerError
from pipelines.estimators import shared
from pipelines.process import WorkerProcess, python_path
from pipelines.scan import source_row

log = logging.getLogger("avcontrol")

BUSY = 0.8
"""Part of their time that actors beside a network compute; for the rest they wait for it. On 16 CPUs 20 actors kept an
H100 at 0.92 of what it can do, 16 at 0.85 (``benchmarks/depth.py``)."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a stage may use.

    Attributes:
        workers: Actors; 0 means as many as Ray has CPUs and GPUs for.
        cpus, gpus: Per actor, as Ray counts them; inf GPUs for one each where Ray has any.
        network_gpus: Of each process that holds the estimators' networks for the actors of its node; inf for as much
            as Ray has, 0 for networks on the CPU in every actor, None where there are no networks.
        memory_gb: Cap on a worker process's address space; 0 for none.
        timeout_s: Seconds one clip may take before its worker is killed.
        stall_s: Seconds without any result before the watchdog speaks up.
    """

    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    network_gpus: float | None = None
    memory_gb: float = 6.0
    timeout_s: float = 600.0
    stall_s: float = 300.0


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names (as a submitted job does), or start Ray in this process's name."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's own log files keep the rest
    import ray

    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", module="ray")
    address = os.environ.get("RAY_ADDRESS")
    if not address:  # a Ray of our own starts only the workers we ask for
        os.environ.setdefault("RAY_enable_worker_prestart", "0")
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    local: dict[str, Any] = {} if address else {"num_cpus": os.cpu_count(), "include_dashboard": False}
    runtime_env = {} if address else {"env_vars": {"PYTHONPATH": python_path()}}
    with _hushed():
        ray.init(
            address=address or "local",
            logging_level="ERROR",
            log_to_driver=False,
            runtime_env=runtime_env,
            **local,
        )


def run(
    rows: Sequence[Mapping[str, Any]], stage: type, arguments: Mapping[str, Any], resources: Resources
) -> Iterator[dict[str, Any]]:
    """Map rows through a pool of actors, yielding results as they come.

    Args:
        rows: Small JSON-able dicts.
        stage: A class whose instances map one row to a list of result dicts.
        arguments: For its constructor.
        resources: What each actor may use, and when the watchdog speaks.

    Raises:
        AvcontrolError: A stage raised it; nothing more is made.
    """
    if not rows:
        return
    start_ray()
    import ray

    hosts = _network_hosts(resources.network_gpus)
    cpus, gpus = resources.cpus * (BUSY if hosts else 1), _share(resources.gpus)
    there = ray.cluster_resources()
    room = min(
        there.get(name, 1.0) / share for name, share in (("CPU", max(cpus, 0.01)), ("GPU", gpus)) if share
    )
    workers = resources.workers or max(1, int(room + 1e-6))
    actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(_Shell)
    pool = [
        actor.options(**options).remote(stage, dict(arguments), environment)
        for options, environment in itertools.islice(_places(hosts, resources), min(workers, len(rows)))
    ]
    waiting, finished = iter(rows), 0
    # An actor gets its first row when it has started, so none waits on a node that may never come.
    busy = {shell.ready.remote(): shell for shell in pool}
    try:
        while finished < len(rows):
            done, _ = ray.wait(list(busy), timeout=resources.stall_s)
            if not done:
                log.warning(
                    "no result for %.0f s: a worker may be stuck, or Ray may lack the CPUs, GPUs or memory that "
                    "the stage asks for (`ray status` tells)",
                    resources.stall_s,
                )
                continue
            shell, results = busy.pop(done[0]), ray.get(done[0])
            # Two rows in flight: the next one lies ready when an actor has finished one.
            for row in itertools.islice(waiting, 2 if results is None else 1):
                busy[shell.results.remote(row)] = shell
            if results is not None:
                finished += 1
                for result in results:
                    raise_fatal(result)
                    yield result
    finally:
        for shell in [*pool, *hosts]:
            ray.kill(shell)


class _Shell:
    """What Ray sees of a stage."""

    def __init__(self, stage: type, arguments: dict[str, Any], environment: dict[str, str]) -> None:
        self.stage, self.arguments = stage, arguments
        self.made: Any = None
        os.environ.update(environment)

    def ready(self) -> None:
        """Done once the actor runs."""

    def results(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """What the stage makes of a row."""
        try:
            # Made at the first row, not by Ray: an error of ours comes back as such, not as a dead actor.
            self.made = self.made or self.stage(**self.arguments)
            return list(self.made(row))
        except AvcontrolError as error:
            return [
                {
                    "event": "error",
                    "fatal": True,
                    "kind": type(error).__name__,
                    "message": error.message,
                    "hint": error.hint,
                }
            ]


class _NetworkHost:
    """What Ray sees of a process that holds networks; the GPU is its."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="avcontrol-")  # Unix sockets want short paths
        self.address = f"{self.folder.name}/networks"
        threading.Thread(target=shared.keep, args=(self.address,), daemon=True).start()

    def place(self) -> tuple[str, str]:
        """The node's ID, and where on it the process listens."""
        import ray

        return ray.get_runtime_context().get_node_id(), self.address


def _network_hosts(share: float | None) -> list[Any]:
    """An actor for each share of Ray's GPUs; see :class:`Resources`.

    Raises:
        ConfigError: Ray has fewer GPUs than one share.
    """
    import ray

    share = _share(share or 0.0)
    if not share:
        return []
    actor = ray.remote(num_cpus=0, num_gpus=share, max_restarts=-1, max_task_retries=-1)(_NetworkHost)
    nodes = [node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]]
    return [actor.remote() for _ in range(sum(_room(gpus, share) for gpus in nodes))]


def _room(gpus: float, share: float) -> int:
    """How many shares a node's GPUs hold: none straddles two GPUs, unless it takes whole ones, or two nodes."""
    return int(gpus) * int(1 / share + 1e-6) if share < 1 else int(gpus / share + 1e-6)


def _share(gpus: float) -> float:
    """GPUs of one process; inf is one where Ray has any.

    Raises:
        ConfigError: Ray has fewer.
    """
    import ray

    there: float = ray.cluster_resources().get("GPU", 0.0)
    share = min(1.0, there) if gpus == math.inf else gpus
    if there < share:
        raise ConfigError(f"--gpus {share:g}: Ray has {there:g}", "Leave --gpus out to take what there is.")
    return share


def _places(hosts: Sequence[Any], resources: Resources) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Where each actor goes and what its environment is: beside a host, each in turn, or anywhere."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    blind = {} if resources.network_gpus is None else {"CUDA_VISIBLE_DEVICES": ""}
    if not hosts:
        return itertools.repeat(({}, blind))
    places = [host.place.remote() for host in hosts]
    while late := ray.wait(places, num_returns=len(places), timeout=resources.stall_s)[1]:
        log.warning(
            "waiting for %d GPUs or shares of one: another job may hold them (`ray status`)", len(late)
        )
    return itertools.cycle(
        (
            {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)},
            {**blind, shared.VARIABLE: address},
        )
        for node, address in ray.get(places)
    )


class MediaWorker:
    """Feeds one media worker process; its crashes, time-outs and errors become results, never exceptions.

    Args:
        request: What every request has in common (recipe, root, …).
        timeout_s, memory_gb: Limits of the process.
    """

    def __init__(self, request: dict[str, Any], timeout_s: float, memory_gb: float) -> None:
        self.request = request
        self.process = WorkerProcess(
            [sys.executable, "-m", "pipelines.worker"],
            timeout=timeout_s,
            memory=int(memory_gb * 2**30) or None,
            environment={"PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer one request: what the worker said, and what became of it."""
        request = {**self.request, **row}
        return self._scan(request) if request["op"] == "scan" else self._make(request)

    def _scan(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            (answer, *_) = self.process.call(request)
            if answer["event"] == "source":
                return [answer]
            reason, message = answer["kind"], answer["message"]
        except WorkerError as error:
            reason, message = error.reason, str(error)
        return [source_row(request["source"]) | {"reason": reason, "message": message}]

    def _make(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Make the parts of a unit; what breaks the worker is rejected, and it goes on behind that."""
        parts: list[dict[str, Any]] = request["parts"]
        start, end = parts[0]["unit"]["segment"]
        results: list[dict[str, Any]] = []
        while True:
            # Until a clip is announced, all that is asked for is in hand.
            span = (request.get("from_tick", start), end)
            hand = range(request.get("from_part", 0), len(parts))
            broken = None
            try:
                for answer in self.process.call(request):
                    if answer["event"] == "clip":
                        span, part = tuple(answer["span"]), answer.get("part", 0)
                        hand = range(part, part + 1)
                    elif answer["event"] in ("sample", "reject"):
                        results.append(answer)
                    elif answer["event"] == "error" and answer["fatal"]:
                        return [answer]
                    elif answer["event"] == "error":
                        broken = answer["kind"], answer["message"]
            except WorkerError as error:
                broken = error.reason, str(error)
            if broken is None:
                break
            results += [self._rejected({**request, **parts[part]}, span, *broken) for part in hand]
            if hand.stop < len(parts):
                request = {**request, "from_tick": span[0], "from_part": hand.stop}
            elif span[1] < end:
                request = {**request, "from_tick": span[1], "from_part": 0}
            else:
                break
        return results + [_done(part["unit"], results) for part in parts]

    def _rejected(
        self, request: dict[str, Any], span: Sequence[int], reason: str, message: str
    ) -> dict[str, Any]:
        from pipelines.make import common_columns, reject  # with PyAV and OpenCV: only when something broke

        return reject(common_columns(request), (span[0], span[1]), "worker", reason, message)


def _done(unit: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """That a unit is finished, and what came of it."""
    events = [result["event"] for result in results if result["row"]["unit_id"] == unit["id"]]
    return {
        "event": "unit",
        "unit_id": unit["id"],
        "source_uri": unit["source"]["uri"],
        "samples": events.count("sample"),
        "rejects": events.count("reject"),
    }


def raise_fatal(result: Mapping[str, Any]) -> None:
    """Raise what a worker met that holds for every unit: the root cannot be written, a model is missing, …

    Raises:
        AvcontrolError: Of the kind it was over there, unless the result is an ordinary one.
    """
    if result.get("fatal"):
        kind = getattr(errors, str(result["kind"]), AvcontrolError)
        kind = AvcontrolError if issubclass(kind, SourceError) else kind
        raise kind(str(result["message"]), str(result["hint"]))


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep the C++ side's greeting off stderr; failures to start are raised as Python exceptions all the same."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
