"""One sample as a film: reference on the left, target on the right, and so their sounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import signal

from catalogs import describe, media
from catalogs.describe import Row
from catalogs.errors import BrokenCatalog
from catalogs.media import RGB
from catalogs.root import Root, storage_errors
from catalogs.spectrum import COLOUR, PANEL, gutter, sound_picture

Sound = tuple[NDArray[np.float32], int]

_BAR, _PLAYHEAD = 8, "#ffffff"
_SOUND_PANEL = (640, 360)


def side_by_side(root: Root, row: Row, path: str | Path) -> None:
    """Write reference | target as one H.264 MP4 at the clip's exact rate, with AAC sound.

    Both have the target's height. A side that has only sound is drawn as waveform and spectrogram with a moving
    playhead. Where both sides have sound, the reference is heard on the left and the target on the right, each
    mixed to mono; where one has, it is heard as it is.

    Args:
        root: Where the media lie.
        row: The sample.
        path: MP4 to write.

    Raises:
        BrokenCatalog: A file is missing or does not decode.
        StorageError: The file cannot be written.
    """
    height = row.get("height") or _SOUND_PANEL[1]
    sides = zip(_panel(root, row, "reference_", height), _panel(root, row, "", height), strict=False)
    sound = _sound(root, row)
    with storage_errors(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
            _write(film, (_joined(left, right) for left, right in sides), describe.fps(row), sound)


def _write(film: Any, pictures: Iterator[RGB], fps: Fraction, sound: Sound | None) -> None:
    first = next(pictures)
    video = film.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast", "bf": "0"})
    video.height, video.width = first.shape[:2]
    video.pix_fmt, video.time_base = "yuv420p", 1 / fps
    video.codec_context.time_base = 1 / fps
    voice: Any = film.add_stream("aac", rate=sound[1], layout="stereo") if sound else None
    for n, pixels in enumerate(itertools.chain([first], pictures)):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = n, 1 / fps
        film.mux(video.encode(frame))
        if sound:
            start, end = round(n * sound[1] / fps), round((n + 1) * sound[1] / fps)
            _write_sound(film, voice, sound, start, end)
    film.mux(video.encode(None))
    if sound:
        _write_sound(film, voice, sound, end, len(sound[0]))
        film.mux(voice.encode(None))


def _write_sound(film: Any, voice: Any, sound: Sound, start: int, end: int) -> None:
    samples, rate = sound
    if len(piece := samples[start:end]):
        tone = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece.T), format="fltp", layout="stereo")
        tone.sample_rate, tone.pts, tone.time_base = rate, start, Fraction(1, rate)
        film.mux(voice.encode(tone))


def _sound(root: Root, row: Row) -> Sound | None:
    """The one sound there is; or the reference on the left and the target on the right, at the target's rate."""
    sounds = [media.audio(root, row[column]) for column in ("reference_audio", "audio") if row.get(column)]
    if len(sounds) < 2:
        return sounds[0] if sounds else None
    (reference, other), (target, rate) = sounds
    shared = math.gcd(rate, other)
    sides = [
        signal.resample_poly(reference.mean(axis=1), rate // shared, other // shared),
        target.mean(axis=1),
    ]
    both = np.zeros((max(map(len, sides)), 2), np.float32)
    for channel, side in enumerate(sides):
        both[: len(side), channel] = side
    return both, rate


def _panel(root: Root, row: Row, side: str, height: int) -> Iterator[RGB]:
    """Pictures of one side, all of ``height``."""
    if row.get(f"{side}video"):
        for pixels in media.each_frame(root, row[f"{side}video"]):
            yield _scaled(pixels, height)
    elif row.get(f"{side}audio"):
        yield from _playing(root, row, side, height)
    else:
        raise BrokenCatalog(f"sample {row['sample_id']} has no {side.rstrip('_') or 'target'} to show")


def _scaled(pixels: RGB, height: int) -> RGB:
    if pixels.shape[0] == height and pixels.shape[1] % 2 == 0:
        return pixels
    width = max(2, round(pixels.shape[1] * height / pixels.shape[0] / 2) * 2)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _playing(root: Root, row: Row, side: str, height: int) -> Iterator[RGB]:
    """The sound of one side as a picture, with the playhead where each frame is."""
    size, count = (row.get("width") or _SOUND_PANEL[0], height), describe.frame_count(row)
    samples, rate = media.audio(root, row[f"{side}audio"])
    name, text, seconds = side.rstrip("_") or "target", max(8, min(12, height // 30)), media.seconds(row)
    head = 2 * text
    picture = Image.new("RGB", size, PANEL)
    drawn = sound_picture(samples, rate, name, size=(size[0], height - head), seconds=seconds, text=text)
    picture.paste(drawn, (0, head))
    words = f"{name} sound, {media.level(samples)}"
    if row.get("reference_audio") and row.get("audio"):
        words += ", left" if side else ", right"
    font = ImageFont.load_default(size=text)
    ImageDraw.Draw(picture).text((gutter(text), text // 2), words, COLOUR[name], font)
    for n in range(count):
        shown = picture.copy()
        x = gutter(text) + float(n / describe.fps(row)) / seconds * (size[0] - gutter(text))
        ImageDraw.Draw(shown).line([(x, head), (x, height)], _PLAYHEAD, width=2)
        yield np.asarray(shown)


def _joined(left: RGB, right: RGB) -> RGB:
    bar = np.full((right.shape[0], _BAR, 3), 20, np.uint8)
    joined = np.concatenate([left, bar, right], axis=1)
    return joined[: joined.shape[0] // 2 * 2, : joined.shape[1] // 2 * 2]
