"""A training run on several GPUs: Ray Train starts a worker for each, and again when one has died.

The run's state is our own checkpoints in OUT, which is on storage that all nodes share: workers that are started again
go on from the newest one. All read the catalog version that was pinned before they started. The one place in training
that knows Ray.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catalogs.errors import AvcontrolError, ConfigError, TrainingError
from catalogs.root import Root
from training import checkpoint
from training.config import TrainConfig
from training.loop import Progress

log = logging.getLogger("avcontrol")
_PATIENCE_S = 6 * 3600  # the others wait while the first makes validation samples; Ray itself sees the dead
_RAY = ".ray"  # in OUT: where Ray Train checks that all nodes share it


def train(config: TrainConfig, report: Callable[[Progress], None] | None = None) -> Path:
    """Train on `config.gpus` workers.

    Args:
        config: What `loop.settled` gave.
        report: Called after every step, in this process.

    Returns:
        The adapter file.

    Raises:
        AvcontrolError: What a worker raised, as it was raised there.
        TrainingError: Workers failed more than `config.max_failures` times without a new checkpoint in between.
        ConfigError: This machine has fewer GPUs.
    """
    local = Path(config.backbone).expanduser()
    config = dataclasses.replace(  # workers run in a folder of their own
        config,
        root=Root.open(config.root).uri,
        out=config.out.resolve(),
        backbone=str(local.resolve()) if local.is_dir() else config.backbone,
    )
    _join(config)
    from ray.util.queue import Empty, Queue

    log.info("training: starting %d workers", config.gpus)
    news = Queue(actor_options={"num_cpus": 0})
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            _fit(config, news)
        except BaseException as error:
            errors.append(error)

    # Beside the main thread, which reports and which Ctrl-C reaches.
    fitting = threading.Thread(target=fit, daemon=True)
    fitting.start()
    try:
        while fitting.is_alive() or not news.empty():
            try:
                done = Progress(**news.get(timeout=0.5))
            except Empty:
                continue
            if report is not None:
                report(done)
    except BaseException:  # Ctrl-C above all
        import ray

        ray.shutdown()  # ends the workers
        raise
    finally:
        shutil.rmtree(config.out / _RAY, ignore_errors=True)
    if errors:
        raise errors[0]
    return config.out / "adapter.safetensors"


def _fit(config: TrainConfig, news: Any) -> None:
    """Start the workers until they have finished, or it is no use."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import LoggingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    on_gpus = config.device != "cpu"
    failures, reached = 0, checkpoint.everyone(config.out)[-1:]
    while True:
        # Ray Train itself starts workers again only where they die late enough, and counts over the whole run.
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config, "news": news},
            torch_config=TorchConfig(timeout_s=_PATIENCE_S),
            scaling_config=ScalingConfig(num_workers=config.gpus, use_gpu=on_gpus),
            run_config=RunConfig(
                name=_RAY,
                storage_path=str(config.out),
                failure_config=FailureConfig(max_failures=0),
                logging_config=LoggingConfig(log_level="CRITICAL"),
            ),
        )
        try:
            trainer.fit()
            return
        except TrainingFailedError as error:
            causes = getattr(error, "worker_failures", {}) or {
                -1: getattr(error, "controller_failure", error)
            }
            for cause in causes.values():
                if isinstance(cause, AvcontrolError):
                    raise cause from None
            newest = checkpoint.everyone(config.out)[-1:]
            failures, reached = (failures + 1 if newest == reached else 1), newest
            said, place = _said(causes), newest[0].name if newest else "the beginning"
            if failures > config.max_failures:
                raise TrainingError(
                    f"the workers failed after {place}, {failures} in a row ({said})",
                    "Ray's logs have more; --resume goes on from there",
                ) from error
            log.warning("training: %s; starting again from %s", said, place)


def _said(causes: Mapping[int, Exception]) -> str:
    """What went wrong, by rank: the workers that are gone, or else the first error."""
    gone = [str(rank) for rank, cause in causes.items() if hasattr(cause, "health_check_failure")]
    if gone:
        return f"worker {', '.join(gone)} of the run is gone"
    cause = next(iter(causes.values()))
    return (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]


def _work(given: Mapping[str, Any]) -> None:
    """What a worker does; Ray Train has set torch.distributed up."""
    from ray.train.torch import get_device

    from training import loop

    config = dataclasses.replace(given["config"], device=str(get_device()))
    loop.work(config, lambda done: given["news"].put(dataclasses.asdict(done)))


def _join(config: TrainConfig) -> None:
    """Join the cluster that RAY_ADDRESS names (as a submitted job does), or start Ray on this machine."""
    import ray

    warnings.filterwarnings("ignore", module="ray")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        here: dict[str, Any] = {}
        if not address:
            home = str(Path(__file__).parents[1])
            paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
            cpus = max(os.cpu_count() or 1, config.gpus)  # a worker waits for one, and only waits
            here = {
                "num_cpus": cpus,
                "include_dashboard": False,
                "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
            }
        try:
            ray.init(address=address or "local", logging_level="CRITICAL", log_to_driver=False, **here)
        except ConnectionError as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"cannot join Ray at {address} ({first})", "is RAY_ADDRESS right?") from error
    there = int(ray.cluster_resources().get("GPU", 0))
    if config.device != "cpu" and there < config.gpus:
        if not address:
            raise ConfigError(f"--gpus {config.gpus}: this machine has {there}", "give as many as there are")
        log.warning("training: waiting for %d GPUs, the cluster has %d", config.gpus, there)
