"""A sound as a picture: its waveform with its loudness over it, and its log-mel spectrogram underneath."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PANEL = "#0b0c0f"
COLOUR = {"reference": "#ffb454", "target": "#59c2ff"}
DIMMED = {"reference": "#8a6432", "target": "#33698a"}
_TEXT, _RULE = "#b8bfcc", "#262a33"

_WINDOW, _HOP = 0.032, 0.008  # seconds; 512/128 at 16 kHz
_QUIETEST = -60.0  # dB, the bottom of the loudness axis
_RANGE = 80.0  # dB from the brightest colour to the darkest
_TOP = 24_000  # Hz, of every picture, so that two sounds compare whatever their rates are
_BANDS = 96
_SILENCE = 1e-12  # power


def envelope(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Loudness: RMS of frames of 32 ms, every 8 ms, over all channels.

    Args:
        samples: [n, channels], full scale 1.0.
        rate: Samples a second.

    Returns:
        [1 + n // hop] in dB, a full-scale sine at -3; frame k is centred on k hops of 8 ms. At the ends a
        frame is only as long as there is sound.
    """
    hop, half = max(1, round(_HOP * rate)), max(1, round(_WINDOW * rate / 2))
    power = np.square(samples, dtype=np.float64).mean(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    centres = np.arange(1 + len(power) // hop) * hop
    start, end = np.maximum(centres - half, 0), np.minimum(centres + half, len(power))
    return _decibels((sums[end] - sums[start]) / np.maximum(end - start, 1))


def log_mel(samples: NDArray[np.float32], rate: int, columns: int, seconds: float) -> NDArray[np.float64]:
    """Log-mel spectrogram on a fixed grid: ``seconds`` of time, 0 to 24 kHz.

    Args:
        samples: [n, channels], full scale 1.0; what is missing up to ``seconds`` is silence.
        rate: Samples a second.
        columns: Moments, equally far apart; column k is centred on (k + 1/2) / columns * seconds.
        seconds: Length of the time axis.

    Returns:
        [96, columns] mean power of each band in dB, the lowest band first, channels averaged; -120 where
        nothing is, above half the sample rate for example.
    """
    size = 2 ** round(math.log2(max(0.04 * rate, 16)))
    centres = ((np.arange(columns) + 0.5) / columns * seconds * rate).astype(int)
    at = centres[:, None] + np.arange(-size // 2, size // 2)
    inside = (at >= 0) & (at < len(samples))
    at[~inside] = 0
    window = np.hanning(size) * 2 / size
    power = np.zeros((columns, size // 2 + 1))
    for channel in samples.T if len(samples) else ():
        power += np.abs(np.fft.rfft(channel[at] * inside * window)) ** 2 / samples.shape[1]
    centre = _hertz(np.linspace(0, 1, _BANDS + 2))
    # Triangles over the neighbouring bands' centres, but never so narrow that they fall between two bins.
    half = np.maximum(np.diff(centre)[1:], rate / size)
    bins = np.fft.rfftfreq(size, 1 / rate)
    weights = np.maximum(0, 1 - np.abs(bins - centre[1:-1, None]) / half[:, None])
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return _decibels(weights @ power.T)


def sound_picture(
    samples: NDArray[np.float32],
    rate: int,
    side: str,
    *,
    size: tuple[int, int],
    seconds: float,
    text: int = 11,
) -> Image.Image:
    """Draws waveform, loudness and log-mel spectrogram over one time axis.

    The waveform is scaled to its peak; the curve over it is the loudness, absolute, from -60 to 0 dB.
    The spectrogram's colours span the 80 dB below its loudest point. Time runs from :func:`gutter` to the
    picture's right edge.

    Args:
        samples: [n, channels], full scale 1.0.
        rate: Samples a second.
        side: ``reference`` or ``target``, for the colour.
        size: Width and height in pixels.
        seconds: Length of the time axis.
        text: Font size in pixels.
    """
    left, axis = gutter(text), round(1.5 * text)
    width, tall = max(1, size[0] - left), max(2, size[1] - axis)
    wave, seconds = max(1, round(0.42 * tall)), max(seconds, 1 / rate)
    picture = Image.new("RGB", size, PANEL)
    picture.paste(_waveform(samples, rate, side, (width, wave), seconds, max(2, text // 4)), (left, 0))

    mel = log_mel(samples, rate, width, seconds)
    loudest = max(mel.max(), 10 * math.log10(_SILENCE) + _RANGE)  # so that silence is dark
    shade = np.clip((mel - loudest) / _RANGE + 1, 0, 1)
    colours = matplotlib.colormaps["inferno"](shade[::-1], bytes=True)[..., :3]
    bottom = max(1, tall - wave - 2)
    spectrogram = Image.fromarray(colours).resize((width, bottom), Image.Resampling.BICUBIC)
    picture.paste(spectrogram, (left, wave + 2))

    if tall < 6 * text:  # no room for words
        return picture
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=text)
    for level in (-20, -40):
        draw.text((left - 5, level / _QUIETEST * wave), f"{level} dB", COLOUR[side], font, anchor="rm")
    for hertz in (1000, 4000, 12000):
        y = wave + 2 + bottom * (1 - _mel(hertz) / _mel(_TOP))
        draw.line([(left - 3, y), (left - 1, y)], _TEXT)
        draw.text((left - 5, y), f"{hertz // 1000} kHz", _TEXT, font, anchor="rm")
    step = _step(seconds, width / (5 * text))
    for n in range(math.floor(seconds / step + 1e-9) + 1):
        x = left + n * step / seconds * width
        draw.line([(x, tall), (x, tall + 3)], _TEXT)
        anchor = "ma" if x + 1.5 * text < size[0] else "ra"
        draw.text((min(x, size[0]), tall + 3), f"{n * step:g} s", _TEXT, font, anchor=anchor)
    return picture


def gutter(text: int = 11) -> int:
    """Pixels to the left of the time axis in a :func:`sound_picture` with this font size."""
    return 4 * text


def _waveform(
    samples: NDArray[np.float32], rate: int, side: str, size: tuple[int, int], seconds: float, line: int
) -> Image.Image:
    lane = Image.new("RGB", (2 * size[0], 2 * size[1]), PANEL)  # twice as large, then halved: smooth lines
    draw = ImageDraw.Draw(lane)
    for level in (-20, -40):
        y = level / _QUIETEST * lane.height
        draw.line([(0, y), (lane.width, y)], _RULE, 2)
    for x, (low, high) in enumerate(_extremes(samples, round(seconds * rate), lane.width)):
        draw.line([(x, size[1] * (1 - high)), (x, size[1] * (1 - low))], DIMMED[side])
    curve = envelope(samples, rate)
    across = np.arange(len(curve)) * max(1, round(_HOP * rate)) / rate / seconds * lane.width
    down = np.clip(curve / _QUIETEST, 0, 1) * (lane.height - 4) + 1
    draw.line(list(zip(across, down, strict=True)), COLOUR[side], 2 * line, joint="curve")
    return lane.resize(size, Image.Resampling.BOX)


def _extremes(samples: NDArray[np.float32], total: int, parts: int) -> NDArray[np.float64]:
    """Lowest and highest value in each of ``parts`` parts of ``total`` samples, over the peak: [parts, 2]."""
    sound = np.zeros((max(total, parts), samples.shape[1]))
    sound[: len(samples)] = samples[: len(sound)]
    starts = np.linspace(0, len(sound), parts, endpoint=False).astype(int)
    low, high = np.minimum.reduceat(sound.min(axis=1), starts), np.maximum.reduceat(sound.max(axis=1), starts)
    return np.asarray(np.stack([low, high], axis=1) / max(-low.min(), high.max(), 1e-9))


def _step(seconds: float, most: float) -> float:
    """A round number of seconds between ticks, so that there are at most ``most``."""
    for decade in range(-2, 5):
        for first in (1, 2, 5):
            if seconds <= first * 10.0**decade * max(most, 1):
                return first * 10.0**decade
    return seconds


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)  # O'Shaughnessy, Speech Communication (1987)


def _hertz(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies at parts 0 to 1 of the mel axis."""
    return np.asarray(700 * (10 ** (part * _mel(_TOP) / 2595) - 1))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 * np.log10(np.maximum(power, _SILENCE)))
