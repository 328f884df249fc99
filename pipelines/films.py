"""A video file whose frames sit at a constant rate from 0, as the media of a sample do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError, UnreadableSource, UnusableClip
from pipelines import decoders
from pipelines.probe import Probe, probe
from pipelines.timeline import Timeline

FIT = "With --fit it is laid on a timeline that does."
RATE = 48_000


@dataclass(frozen=True, kw_only=True)
class Film:
    """Pictures at a constant rate: frame n is shown at n / fps."""

    probe: Probe
    width: int
    height: int
    frames: int
    fps: Fraction

    @property
    def timeline(self) -> Timeline:
        """Where its frames sit.

        Raises:
            UnusableClip: reason ``off_grid``.
        """
        try:
            return Timeline(
                width=self.width, height=self.height, frames=self.frames, fps=self.fps, sample_rate=RATE
            )
        except ConfigError as error:
            raise UnusableClip("off_grid", f"{self.probe.path.name}: {error}", FIT) from None


def film(path: Path) -> Film:
    """What a video holds, with every frame's time looked at.

    Raises:
        UnreadableSource: It is none, or damaged.
        UnusableClip: reason ``rotated``, ``not_square`` (pixels) or ``uneven_times``.
    """
    import av

    found = probe(path)
    assert found.video is not None
    if found.video.rotation:
        raise UnusableClip(
            "rotated", f"{path.name} is turned by {found.video.rotation} degrees on display", FIT
        )
    if found.video.sample_aspect != 1:
        raise UnusableClip("not_square", f"{path.name} has pixels of {found.video.sample_aspect}", FIT)
    with av.open(str(path)) as container:
        packets = container.demux(container.streams[found.video.index])
        times = sorted(packet.pts * packet.time_base for packet in packets if packet.pts is not None)
    fps = (
        (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else Fraction(0)
    )
    wrong = next((n for n, time in enumerate(times) if not fps or time != n / fps), None)
    if wrong is not None or not times:
        what = f"frame {wrong} is at {float(times[wrong or 0]):.6f} s" if times else "no frame has a time"
        raise UnusableClip("uneven_times", f"{path.name}: {what}, not at a constant rate from 0", FIT)
    return Film(probe=found, width=found.video.width, height=found.video.height, frames=len(times), fps=fps)


def each_frame(found: Probe) -> Iterator[decoders.Frame]:
    """Its frames, to the end.

    Raises:
        UnreadableSource: reason ``damaged``.
    """
    problems: list[str] = []
    yield from decoders.frames(found, "pyav", problems=problems)
    if problems:
        raise UnreadableSource("damaged", f"{found.path.name}: {problems[0]}")


def decoded(held: Film) -> list[NDArray[np.uint8]]:
    """All its pictures, RGB.

    Raises:
        UnreadableSource: reason ``damaged``.
    """
    pictures = [frame.pixels for frame in each_frame(held.probe)]
    if len(pictures) != held.frames:
        raise UnreadableSource(
            "damaged", f"{held.probe.path.name}: {len(pictures)} of {held.frames} frames decode"
        )
    return pictures
