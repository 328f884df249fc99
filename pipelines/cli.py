"""The commands ``build``, ``canvas`` and ``encode``."""

# ruff: noqa: D301 (click marks a paragraph it must not rewrap with a bare \b)

from __future__ import annotations

import click

from catalogs.errors import BrokenCatalog
from catalogs.options import options
from pipelines.build import build as run_build
from pipelines.config import BuildConfig, CanvasConfig
from pipelines.encoding import EncodeConfig
from pipelines.encoding import encode as run_encode


@click.command("build")
@options(BuildConfig)
def build(config: BuildConfig) -> None:
    """Build a catalog of MODALITY from sources: aligned pairs of reference and target.

    Several with commas (depth,pose,canny) share one decoding and one encoding of the target; each has its catalog.
    Run the same command again to go on after an interruption, to add sources, or to see that nothing is to do.
    """
    for report in run_build(config):
        click.echo(
            f"{report.catalog}: {report.samples} new samples, {report.rejects} new rejects, "
            f"{report.units} units done, {report.skipped} done before"
            + (f", {report.replaced} rows replaced" if report.replaced else "")
            + f" ({report.seconds:.0f} s)"
        )


@click.command("canvas")
@options(CanvasConfig)
def canvas(config: CanvasConfig) -> None:
    """Draw the canvas of MODALITY from a clip or a picture of your own: a reference for `generate`.

    \b
    avcontrol canvas depth --input clip.mp4 --out depth.mp4
    avcontrol canvas camera-video --input clip.mp4 --set trajectory=orbit=20,dolly=0.5 --out path.mp4
    """
    from pipelines.canvas import canvas as run

    file = run(config)
    click.echo(f"{file}: use it with `avcontrol generate --reference-video {file} …`")


@click.command("encode")
@options(EncodeConfig)
def encode(config: EncodeConfig) -> None:
    """Encode the media and captions of CATALOG for a backbone: latents and prompt embeddings, made once.

    An encoding is keyed by its input and the encoder's weights, so catalogs share what they have in common.
    """
    report = run_encode(config)
    click.echo(
        f"{config.catalog}: {report.encoded} encodings made, {report.failed} failed, {report.known} there before"
    )
    if report.failed:
        raise BrokenCatalog(f"{report.failed} encodings failed; the first: {report.reason}")
