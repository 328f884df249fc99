"""Building a catalog of rendered scenes: motions, plan, render, commit. Reads as those four steps."""

from __future__ import annotations

from dataclasses import asdict, replace

import click
import pyarrow as pa

from catalogs.console import positive
from catalogs.errors import ConfigError
from catalogs.root import Root
from pipelines import blender
from pipelines.commit import Output, Report, Work, make_and_commit, run_metadata
from pipelines.config import BuildConfig
from pipelines.identity import canonical, digest
from pipelines.modality import parse_params
from pipelines.motions import folder_of, publish
from pipelines.plan import Recipe, Unit
from pipelines.sources import Source
from pipelines.takes import TakeParams
from pipelines.timeline import TICKS_PER_SECOND, check_period, parse_rate, parse_size

VERSION = 1
"""Raise it when the same recipe gives other pictures or signals."""

NAME = "multicam"

_SCENE_S = 3600.0
"""Seconds that a scene of many takes may well need before the watchdog speaks up."""

_PATIENCE = 3
"""Blender gives a sign of life with every frame; it is given up, and tried again, before the worker around it is."""

_matrix = pa.list_(pa.float64())
COLUMNS = pa.schema(
    [
        ("scene_id", pa.string()),
        ("scene_index", pa.int64()),
        ("camera", pa.string()),
        ("twin", pa.string()),
        ("twin_of", pa.string()),
        ("edit", pa.string()),
        ("edited", pa.string()),
        ("time", pa.string()),
        ("seconds", pa.list_(pa.float64())),
        ("people", pa.int32()),
        ("objects", pa.int32()),
        ("moves", pa.string()),
        ("subject_share", pa.float64()),
        ("nearest_m", pa.float64()),
        ("camera_path_m", pa.float64()),
        ("camera_turn_deg", pa.float64()),
        ("zoom", pa.float64()),
        ("fov", _matrix),
        ("intrinsics", pa.list_(_matrix)),
        ("extrinsics", pa.list_(_matrix)),
        ("bodies", pa.list_(pa.struct([("name", pa.string()), ("index", pa.int32())]))),
    ]
)
"""Own columns of a take: per frame ``seconds`` (which moment of the action),
``fov`` (horizontal, degrees), ``intrinsics`` (fx, fy, cx, cy in pixels) and
``extrinsics`` (world to camera, 4 x 4 by rows, OpenCV axes, metres)."""

# Measured at 256x144 (benchmarks/blender.py): core-seconds a pixel of ground truth and of a sample of the picture,
# bytes a pixel of everything that is kept.
_TRUTH, _SAMPLE, _BYTES = 0.045 / 36864, 0.09 / 36864, 0.5


def build_scenes(config: BuildConfig) -> Report | None:
    """Render scenes and commit a row for each camera; see :func:`pipelines.build.build`."""
    positive(config.scenes, "--scenes")
    positive(config.cameras, "--cameras")
    width, height, frames = parse_size(config.resolution or "256x144x81")
    if width % 2 or height % 2 or min(width, height) < 16:
        raise ConfigError(
            f"takes of {width}x{height} cannot be encoded", "Width and height must be even, 16 at least."
        )
    positive(frames, "the frame count")
    fps = parse_rate(config.fps)
    check_period(fps)
    settings = dict(config.settings)
    motions = folder_of(settings.pop("motions", "auto"))
    params = parse_params(NAME, TakeParams, settings)
    version = blender.version()

    # 1. The motions that people perform.
    if config.dry_run:
        _dry_run(config, params, version, (width, height, frames))
        return None
    root = Root.open(config.root, create=True)
    root.sweep()
    performances = publish(root, motions)
    recipe = Recipe(
        modality=NAME,
        params=canonical(
            {
                "params": asdict(params),
                "cameras": config.cameras,
                "performances": [sha256 for _, sha256, _ in performances],
            }
        ),
        timeline=f"{width}x{height}x{frames}@{fps.numerator}/{fps.denominator}+0",
        estimator=f"blender {version}",
        weights="",
        code_version=str(VERSION),
        seed=config.seed,
        selection="{}",
        captioner="",
        shots="off",
    )

    # 2. Plan: one unit a scene.
    ticks = int(frames * TICKS_PER_SECOND / fps)
    units = [
        _unit(recipe, index, ticks) for index in range(min(config.scenes, config.limit or config.scenes))
    ]
    name = config.catalog or "scenes"
    resources = config.resources()
    resources = replace(resources, stall_s=max(resources.stall_s, _SCENE_S))

    # 3. Render what the ledger does not have, and 4. commit it.
    scene = {
        "cameras": config.cameras,
        "width": width,
        "height": height,
        "frames": frames,
        "fps": str(fps),
        "performances": performances,
    }
    request = {
        "op": "scene",
        "root": root.uri,
        "scene": scene,
        "blender": str(blender.find_blender()),
        "threads": max(2, round(resources.cpus)),  # with 1, Blender 4.5 leaves a thread spinning
        "timeout_s": resources.timeout_s / _PATIENCE,
        "memory_gb": resources.memory_gb,
    }
    work = Work(
        label=NAME,
        outputs=[Output(catalog=name, columns=COLUMNS, recipe=recipe, units=units)],
        request=request,
        resources=resources,
        commit_s=config.commit_s,
    )
    return make_and_commit(root, work, run_metadata("build", config), retry_rejects=config.retry_rejects)[0]


def _unit(recipe: Recipe, index: int, ticks: int) -> Unit:
    source = Source(uri=f"scene:{recipe.seed}/{index}", size=0, mtime_ns=0)
    return Unit(id=digest(recipe=recipe.id, index=index), source=source, sha256="", segment=(0, ticks))


def _dry_run(config: BuildConfig, params: TakeParams, version: str, size: tuple[int, int, int]) -> None:
    """Print the graph, the work and its cost. Nothing is written."""
    width, height, frames = size
    name, scenes = config.catalog or "scenes", min(config.scenes, config.limit or config.scenes)
    twins = params.static_twins * config.cameras + params.retime + params.edit
    takes = scenes * (config.cameras + twins)
    seconds = takes * frames * width * height * (_TRUTH + _SAMPLE * params.samples)
    megabytes = takes * frames * width * height * _BYTES / 1e6
    click.echo(f"""graph
  draw      {scenes} scenes from seed {config.seed}: world, ground, objects, people, {config.cameras} cameras and twins
  check     geometry, then tiny pictures; a camera that shows nothing useful is drawn again
  render    Blender {version}, {width}x{height}x{frames}: Cycles at {params.samples} samples, then ground truth
  store     H.264, depth and masks as FFV1, tracks and joints as npz, cameras as columns
  commit    to {name} under {config.root}
to build    {scenes} scenes, about {takes:.0f} takes; scenes rendered before are skipped
estimate    {seconds / 3600:.3g} CPU hours, 0 GPU hours, {megabytes:.0f} MB""")
