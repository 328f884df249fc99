"""The commands ``train`` and ``generate``."""

# ruff: noqa: D301 (click marks a paragraph it must not rewrap with a bare \b)

from __future__ import annotations

import click

from catalogs.options import options
from training.config import GenerateConfig, TrainConfig


@click.command("train")
@options(TrainConfig)
def train(config: TrainConfig) -> None:
    """Train an adapter from CATALOG, a catalog ID such as 'canny@3?quality>0.5'.

    Its media and captions must have been encoded for the backbone: avcontrol encode CATALOG. A catalog of sounds
    trains the audio stream alone, one of talking clips both streams (--streams says otherwise). The default
    backbone, "test", has the classes of LTX-2 at a tiny size and random weights: it checks the path, not pictures.
    """
    from training import progress
    from training.loop import train as run

    with progress.training() as report:
        file = run(config, report)
    click.echo(f"adapter: {file}\nlogs, checkpoints and validation samples: {config.out}")


@click.command("generate")
@options(GenerateConfig)
def generate(config: GenerateConfig) -> None:
    """Generate a clip: references from catalogs or files, a prompt, adapters.

    \b
    avcontrol generate --adapter depth.safetensors --sample depth@7 --out clip.mp4
    avcontrol generate --adapter pose.safetensors --adapter intensity.safetensors@0.8 \\
        --reference-video dancer.mp4 --reference-loudness curve.csv --prompt '…' --out clip.mp4

    A video adapter and an audio adapter make a clip with sound, an audio adapter alone a .flac. --strength says how
    closely the references are followed, a mask and fades say where and when (docs/generate.md).
    """
    from training import progress
    from training.generate import generate as run

    with progress.counting("generating", config.steps * config.count) as count:
        files = run(config, count)
    for file in files:
        click.echo(f"clip: {file}")
