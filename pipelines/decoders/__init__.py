"""Sequential frames with exact times, from one of three backends behind one call.

PyAV is the default: measured fastest for whole spans, and the only one that places frames right in every file
tried (docs/design/0001-decoders.md). The others are used when asked for, and only where they are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError
from pipelines.probe import Probe

BACKENDS = ("pyav", "decord", "torchcodec")


class Frame(NamedTuple):
    """One decoded frame.

    Attributes:
        time: Presentation time in seconds on the container's clock, edit lists applied.
        pixels: [H, W, 3] RGB uint8, display orientation, square pixels.
        duration: Seconds it is shown; 0 where the file does not say.
    """

    time: Fraction
    pixels: NDArray[np.uint8]
    duration: Fraction = Fraction(0)


def choose(probe: Probe, backend: str = "auto") -> tuple[str, str]:
    """Which backend reads this file, and why, in words for the row.

    Args:
        probe: The file.
        backend: ``auto`` or one of BACKENDS; one that is missing or would be wrong gives way to PyAV.

    Raises:
        ConfigError: An unknown backend.
    """
    if backend == "auto":
        return "pyav", "default: fastest sequential decode measured"
    module = _module(backend)
    if backend == "pyav":
        return backend, "asked"
    if find_spec(backend) is None:
        return "pyav", f"{backend} asked but not installed; pyav used"
    if reason := module.objection(probe):
        return "pyav", f"{backend} asked, but {reason}; pyav used"
    return backend, "asked"


def frames(
    probe: Probe,
    backend: str,
    start: Fraction | None = None,
    end: Fraction | None = None,
    problems: list[str] | None = None,
) -> Iterator[Frame]:
    """Decodes a span in presentation order.

    Args:
        probe: The file.
        backend: What ``choose`` returned.
        start: Seconds on the presentation clock. The first frame is the one on screen at that time (its PTS
            is at most start), or the file's first; the beginning when None.
        end: Frames at or after this time are not given; the end of the file when None. An empty span gives
            nothing.
        problems: What was wrong on the way (bad packets skipped, a broken end) is appended, a line each.

    Yields:
        Frames inside the edit list only, rotated upright, scaled to square pixels.

    Raises:
        ConfigError: An unknown backend.
    """
    module = _module(backend)
    if start is not None and end is not None and end <= start:
        return iter(())
    read: Iterator[Frame] = module.read(probe, start, end, [] if problems is None else problems)
    return read


def _module(backend: str) -> Any:
    if backend not in BACKENDS:
        raise ConfigError(f"decoder {backend!r} is unknown", f"Use auto, {', '.join(BACKENDS)}")
    return import_module(f"pipelines.decoders.{backend}")
