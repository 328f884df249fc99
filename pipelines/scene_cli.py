"""The commands ``avcontrol scene …``: synthetic scenes as files, to look at before hundreds are rendered."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from catalogs.errors import InputError
from catalogs.options import complete_catalog, options, setting


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Options of ``scene draw``."""

    seed: int = setting("Base of every random draw.", 0)
    index: int = setting("Number of the scene.", 0)
    cameras: int = setting("Cameras, twins not counted.", 4)
    resolution: str = setting("WIDTHxHEIGHTxFRAMES of the takes.", "256x144x81")
    fps: str = setting("Frame rate.", "24")
    settings: dict[str, str] = setting("An option of multicam; may be given many times.", {}, flag="set")


@click.group("scene")
def scene() -> None:
    """Synthetic scenes: draw one by lot, look at it, take its cameras elsewhere."""


@scene.command("draw")
@options(DrawOptions)
def draw(config: DrawOptions) -> None:
    """Print the scene that `build multicam` draws for a seed and an index, as JSON to edit and show.

    Cameras are as first drawn: a build tries them out and may draw some of them again.
    """
    from catalogs.root import Root
    from pipelines.modality import parse_params
    from pipelines.motions import folder_of, motion_files, publish
    from pipelines.takes import TakeParams
    from pipelines.timeline import parse_rate, parse_size
    from renderers.scenes.random_scene import random_scene
    from renderers.scenes.spec import to_json

    settings = dict(config.settings)
    folder = folder_of(settings.pop("motions", "auto"))
    width, height, frames = parse_size(config.resolution)
    with tempfile.TemporaryDirectory() as root:
        performances = publish(Root.open(root), folder)
    spec = random_scene(
        config.seed,
        config.index,
        cameras=config.cameras,
        width=width,
        height=height,
        frames=frames,
        fps=parse_rate(config.fps),
        settings=parse_params("multicam", TakeParams, settings),
        performances=motion_files(performances),
    )
    click.echo(json.dumps(json.loads(to_json(spec)), indent=1))


@scene.command("show")
@click.argument("spec", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to."
)
@click.option("--finished", is_flag=True, help="Render as a build does, not a quick preview.")
@click.option(
    "--motions", default="auto", show_default=True, help="Folder of recorded motions, auto or none."
)
def show(spec: Path, out: Path, finished: bool, motions: str) -> None:
    """Draw SPEC, a JSON file: a contact sheet of all cameras, and a plot of the rig with fields of view over time."""
    from catalogs.root import Root, storage_errors
    from pipelines.motions import folder_of, publish
    from pipelines.scene_show import contact_sheet, motion_errors, read_spec, rig_plot

    drawn = read_spec(spec)
    with tempfile.TemporaryDirectory() as root:
        publish(Root.open(root), folder_of(motions))
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with motion_errors():
        rig_plot(drawn, out / "rig.png")
        click.echo(f"{out / 'rig.png'}: {len(drawn.cameras)} takes")
        contact_sheet(drawn, out / "cameras.png", finished=finished)
    click.echo(
        f"{out / 'cameras.png'}: {drawn.width}x{drawn.height}, {drawn.frames} frames at {float(drawn.fps):g} fps"
    )


@scene.command("export")
@click.argument("catalog", shell_complete=complete_catalog)
@click.option(
    "--root",
    required=True,
    envvar="AVCONTROL_ROOT",
    show_envvar=True,
    help="Folder or URI with the catalogs.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to."
)
def export(catalog: str, root: str, out: Path) -> None:
    """Write the cameras of CATALOG's takes in ReCamMaster's layout: SCENE/cameras/camera_extrinsics.json."""
    import numpy as np

    from catalogs.query import select
    from catalogs.root import Root, storage_errors
    from renderers.scenes import recammaster

    rows = select(Root.open(root), catalog).to_pylist()
    if not rows or "extrinsics" not in rows[0]:
        raise InputError(
            f"{catalog} holds no rendered takes", "Render some: avcontrol build multicam --root …"
        )
    scenes: dict[str, dict[str, Any]] = {}
    for row in rows:
        takes = scenes.setdefault(row["scene_id"], {})
        takes[row["camera"]] = np.array(row["extrinsics"], float).reshape(-1, 4, 4)
    for scene_id, takes in scenes.items():
        folder = out / scene_id[:12] / "cameras"
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            recammaster.write(folder / "camera_extrinsics.json", takes)
    click.echo(f"{out}: cameras of {len(scenes)} scenes, {len(rows)} takes")
