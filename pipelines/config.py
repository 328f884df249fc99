"""Options of builds and canvases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from catalogs.options import setting
from pipelines.runner import Resources
from pipelines.selection import Selection


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Options of ``avcontrol build`` and ``python -m pipelines``; ``--help`` explains each."""

    modality: str = setting(
        "The kind of control, or several with commas.", argument=True, completes="modality"
    )
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    input: str | None = setting(
        "Folder of clips, glob, one file, Parquet table with a column video, or URI.", None
    )
    from_catalog: str | None = setting(
        "Make pairs out of the takes of a catalog that `build multicam` rendered, e.g. 'scenes@3'.",
        None,
        flag="from",
        completes="catalog",
    )
    scenes: int = setting("multicam: how many scenes to render.", 8)
    cameras: int = setting("multicam: cameras that watch each scene, twins not counted.", 4)
    catalog: str | None = setting("Name of the catalog; the modality's by default.", None)
    resolution: str | None = setting(
        "WIDTHxHEIGHTxFRAMES of the clips: 768x448x89, or with --from the takes' own, cut to what fits.", None
    )
    fps: str = setting("Frame rate of the clips: 24, 29.97, 30000/1001, …; with --from the takes' own.", "24")
    limit: int | None = setting("Use only the first so many sources, or scenes.", None)
    settings: dict[str, str] = setting(
        "An option of the modality, or MODALITY.KEY=VALUE of one of several; may be given many times.",
        {},
        flag="set",
    )
    estimator_path: dict[str, str] = setting(
        "Folder with the code of an estimator that is a git repository, NAME=FOLDER; may be given many times.",
        {},
    )
    seed: int = setting("Base of every random draw.", 0)
    decoder: Literal["auto", "pyav", "decord", "torchcodec"] = setting("What decodes the sources.", "auto")
    shots: Literal["content", "transnet", "off"] = setting(
        "How cuts are found; transnet is learned and slower, off takes sources as single shots.", "content"
    )
    captioner: str = setting(
        "transformers vision-language model (name or folder) that writes missing captions.", ""
    )
    min_motion: float = setting("Clips with less motion are rejected as static.", Selection().min_motion)
    min_brightness: float = setting(
        "Clips darker than this are rejected as black.", Selection().min_brightness
    )
    media_root: str | None = setting(
        "Folder that paths in a Parquet input may lie in, besides the table's own.", None
    )
    dry_run: bool = setting(
        "Show the graph, what would be built and what it would cost; build nothing.", False
    )
    retry_rejects: bool = setting("Make again what was rejected before.", False)
    workers: int = setting("Workers; 0 takes one for every --cpus that Ray has.", 0)
    cpus: float = setting("CPUs of a worker; 0 takes 1, and for multicam 2.", 0.0)
    gpus: float | None = setting(
        "GPUs of each process that holds an estimator's network for all workers of its node: what Ray has; 0 keeps "
        "networks on the CPU. For multicam and --captioner: of a worker, none by default.",
        None,
    )
    memory_gb: float = setting(
        "Cap on a worker process's memory; 0 for none (networks, captioner and transnet run without).", 6.0
    )
    timeout_s: float = setting("Seconds a clip may take before its worker is killed.", 600.0)
    stall_s: float = setting("Seconds without any result before the watchdog speaks up.", 300.0)
    commit_s: float = setting("Seconds between commits; each one is a version.", 10.0)

    def resources(self, *, networks: bool = False) -> Resources:
        """What a worker may use; ``networks`` says that its estimators are."""
        # Models need more address space than decoders, and CUDA reserves far more than it uses.
        capped = not self.captioner and self.shots != "transnet" and not networks
        share = math.inf if self.gpus is None else self.gpus
        return Resources(
            workers=self.workers,
            cpus=self.cpus or (2.0 if self.modality == "multicam" else 1.0),
            gpus=0.0 if networks else self.gpus or 0.0,
            network_gpus=share if networks else None,
            stall_s=self.stall_s,
            timeout_s=self.timeout_s,
            memory_gb=self.memory_gb if capped else 0,
        )


@dataclass(frozen=True, kw_only=True)
class CanvasConfig:
    """Options of ``avcontrol canvas``."""

    modality: str = setting("The kind of control.", argument=True, completes="modality")
    input: Path = setting("A clip, or a picture.")
    out: Path = setting("The reference, an MP4.")
    resolution: str = setting("WIDTHxHEIGHTxFRAMES of the reference's target.", "768x448x89")
    fps: str = setting("Frame rate: 24, 29.97, 30000/1001, …", "24")
    start: float = setting("Seconds into the clip.", 0.0)
    settings: dict[str, str] = setting("An option of the modality; may be given many times.", {}, flag="set")
    estimator_path: dict[str, str] = setting(
        "Folder with the code of an estimator that is a git repository, NAME=FOLDER; may be given many times.",
        {},
    )
    seed: int = setting("Base of every random draw.", 0)
