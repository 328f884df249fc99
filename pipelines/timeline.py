"""The clip timeline: a size, a frame count and an exact frame rate, and the two maps onto it.

``resample`` maps source frames onto the timeline by presentation time, never by index, and ``fit`` maps
their pixels onto its size. Reference and target of a sample share one Timeline, so their PTS are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.decoders import Frame

TICKS_PER_SECOND = 705_600_000
"""Flicks: every common frame rate, 1001 ones included, and sample rate has an integer period."""

_NTSC = {"23.976": 24, "23.98": 24, "29.97": 30, "47.952": 48, "59.94": 60, "119.88": 120}


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Where every frame and every audio sample of a clip sits.

    Attributes:
        width: Pixels, a multiple of the backbone's space factor.
        height: Pixels, a multiple of the backbone's space factor.
        frames: Frame count F, with F % time factor == 1.
        fps: Exact frame rate; its period is a whole number of ticks.
        sample_rate: Audio samples a second.

    Raises:
        ConfigError: A value does not fit; the message names the nearest that do.
    """

    width: int
    height: int
    frames: int
    fps: Fraction
    sample_rate: int = 48_000

    def __post_init__(self) -> None:
        # Lazy: the front door parses its options without the training package.
        from training.backbone import FACTORS

        for name, value in (("width", self.width), ("height", self.height)):
            if value < FACTORS.space or value % FACTORS.space:
                near = _nearest(value, FACTORS.space, 0, FACTORS.space)
                raise ConfigError(f"{name} {value} is not a multiple of {FACTORS.space}", f"Nearest: {near}")
        if self.frames < FACTORS.time + 1 or self.frames % FACTORS.time != 1:
            near = _nearest(self.frames, FACTORS.time, 1, FACTORS.time + 1)
            raise ConfigError(
                f"{self.frames} frames is not a multiple of {FACTORS.time}, plus 1", f"Nearest: {near}"
            )
        check_period(self.fps)
        if self.sample_rate <= 0:
            raise ConfigError(f"sample rate {self.sample_rate} is not positive")

    @classmethod
    def parse(cls, resolution: str = "768x448x89", fps: str = "24", sample_rate: int = 48_000) -> Timeline:
        """Reads the command line's form.

        Args:
            resolution: ``WIDTHxHEIGHTxFRAMES``.
            fps: ``24``, ``30000/1001`` or a decimal; 23.976, 29.97 and 59.94 mean the exact 1001 rates.
            sample_rate: Audio samples a second.

        Raises:
            ConfigError: Not of that form, or values that do not fit.
        """
        width, height, frames = parse_size(resolution)
        return cls(width=width, height=height, frames=frames, fps=parse_rate(fps), sample_rate=sample_rate)

    @property
    def frame_ticks(self) -> int:
        """Ticks a frame is shown."""
        return int(TICKS_PER_SECOND / self.fps)

    @property
    def ticks(self) -> int:
        """Ticks of the whole clip."""
        return self.frames * self.frame_ticks

    @property
    def duration(self) -> Fraction:
        """Seconds of the whole clip."""
        return self.frames / self.fps

    @property
    def audio_samples(self) -> int:
        """Audio samples of the whole clip, per channel."""
        return _round(self.duration * self.sample_rate)

    def canonical(self) -> str:
        """One spelling per timeline, for hashing: ``768x448x89@24/1+48000``."""
        rate = f"{self.fps.numerator}/{self.fps.denominator}"
        return f"{self.width}x{self.height}x{self.frames}@{rate}+{self.sample_rate}"


def check_period(fps: Fraction) -> None:
    """Check that a frame lasts a whole number of ticks.

    Raises:
        ConfigError: It does not.
    """
    if fps <= 0 or (TICKS_PER_SECOND / fps).denominator != 1:
        raise ConfigError(
            f"fps {fps} has no exact period in 1/{TICKS_PER_SECOND} s",
            "Use a common rate such as 24, 25, 30, 60 or 30000/1001",
        )


def resample(
    frames: Iterable[Frame], fps: Fraction, origin: Fraction
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Lays frames on a constant rate by presentation time; the rule of ffmpeg's ``fps=...:round=near``.

    A source frame's slot is its time in output frames, rounded half up. Output frame n (at origin + n / fps)
    shows the last source frame whose slot is at most n. The last source frame is held until its own end,
    rounded the same way (one slot where its duration is unknown), and never longer. Streaming: one
    frame is held.

    Args:
        frames: In presentation order.
        fps: Output rate.
        origin: Time of output frame 0, seconds on the frames' clock.

    Yields:
        (n, pixels) for consecutive n. The first n is 0, or later if the source begins after the origin. A
        frame shown more than once is the same array: do not write into it.
    """
    held: Frame | None = None
    n = 0
    for frame in frames:
        slot = _round((frame.time - origin) * fps)
        if held is None:
            n = max(slot, 0)
        else:
            while n < slot:
                yield n, held.pixels
                n += 1
        held = frame
    if held is not None:
        begin = held.time - origin
        end = _round((begin + held.duration) * fps) if held.duration > 0 else _round(begin * fps) + 1
        while n < end:
            yield n, held.pixels
            n += 1


def crop_box(width: int, height: int, timeline: Timeline) -> tuple[int, int, int, int]:
    """The largest centred box of the timeline's aspect ratio inside a width x height picture.

    Returns:
        (x, y, w, h) in pixels, origin at the top left.
    """
    across = min(width, max(1, _round(Fraction(height * timeline.width, timeline.height))))
    down = min(height, max(1, _round(Fraction(width * timeline.height, timeline.width))))
    return (width - across) // 2, (height - down) // 2, across, down


def fit_box(width: int, height: int, timeline: Timeline) -> tuple[int, int, int, int]:
    """The part of a width x height picture that :func:`fit` keeps: (x, y, w, h) in pixels.

    A point at (u, v) in the picture (pixel centres at +0.5) lies at ((u - x) * timeline.width / w,
    (v - y) * timeline.height / h) in what ``fit`` makes of it.
    """
    x, y, w, h = crop_box(width, height, timeline)
    k = max(1, min(w // timeline.width, h // timeline.height))
    return x + w % k // 2, y + h % k // 2, w - w % k, h - h % k


def fit(pixels: NDArray[np.uint8], timeline: Timeline) -> NDArray[np.uint8]:
    """Centre crop to the timeline's aspect ratio, then resize to its size.

    Enlarging is bicubic. Shrinking takes box means over the whole part k of the ratio, then bilinear for the
    rest (below 2, so every pixel counts): 46 dB from OpenCV's fractional INTER_AREA at 720p to 768x448, in
    1.5 ms instead of 3.9.

    Args:
        pixels: [H, W, C] or [H, W].
        timeline: Whose width and height to take.

    Returns:
        [timeline.height, timeline.width, C], a new array or a view of pixels where nothing changes.
    """
    import cv2

    x, y, w, h = fit_box(pixels.shape[1], pixels.shape[0], timeline)
    k = max(1, min(w // timeline.width, h // timeline.height))
    out = np.ascontiguousarray(pixels[y : y + h, x : x + w])
    size = timeline.width, timeline.height
    if k > 1:
        out = cv2.resize(out, (w // k, h // k), interpolation=cv2.INTER_AREA)
    if out.shape[1::-1] != size:
        how = cv2.INTER_LINEAR_EXACT if w >= timeline.width else cv2.INTER_CUBIC
        out = cv2.resize(out, size, interpolation=how)
    return out


def parse_size(text: str) -> tuple[int, int, int]:
    """Reads ``WIDTHxHEIGHTxFRAMES``.

    Raises:
        ConfigError: Not of that form.
    """
    size = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text.strip())
    if size is None:
        raise ConfigError(f"resolution {text!r} is not WIDTHxHEIGHTxFRAMES", "Such as 768x448x89")
    width, height, frames = map(int, size.groups())
    return width, height, frames


def parse_rate(text: str) -> Fraction:
    """Reads a frame rate: ``24``, ``30000/1001`` or a decimal; 23.976, 29.97 and 59.94 mean the exact 1001 rates.

    Raises:
        ConfigError: Not a number.
    """
    text = text.strip()
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1000, 1001)
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"fps {text!r} is not a number", "For example 24, 29.97 or 30000/1001") from None


def _round(value: Fraction) -> int:
    """Half up, unlike Python's round, which goes to the even neighbour."""
    return floor(value + Fraction(1, 2))


def _nearest(value: int, step: int, rest: int, least: int) -> str:
    below = (value - rest) // step * step + rest
    return " or ".join(str(near) for near in dict.fromkeys(max(least, v) for v in (below, below + step)))
