"""One sample as a film: reference on the left, target on the right, with the target's sound."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

from catalogs import describe, media
from catalogs.describe import Row
from catalogs.errors import BrokenCatalog
from catalogs.media import RGB
from catalogs.root import Root, storage_errors

_BAR = 8
_PANEL, _WAVE, _HEAD = "#0b0c0f", "#59c2ff", "#ffffff"
_SOUND_PANEL = (640, 360)


def side_by_side(root: Root, row: Row, path: str | Path) -> None:
    """Write reference | target as one H.264 MP4 at the clip's exact rate, the target's sound as AAC.

    Both have the target's height. A side that has only sound is drawn as its waveform with a moving playhead.

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
    sound = media.audio(root, row["audio"]) if row.get("audio") else None
    with storage_errors(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
            _write(film, (_joined(left, right) for left, right in sides), describe.fps(row), sound)


def _write(film: Any, pictures: Iterator[RGB], fps: Fraction, sound: tuple[Any, int] | None) -> None:
    first = next(pictures)
    video = film.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast", "bf": "0"})
    video.height, video.width = first.shape[:2]
    video.pix_fmt, video.time_base = "yuv420p", 1 / fps
    video.codec_context.time_base = 1 / fps
    voice = film.add_stream("aac", rate=sound[1], layout="stereo") if sound else None
    for n, pixels in enumerate(itertools.chain([first], pictures)):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = n, 1 / fps
        film.mux(video.encode(frame))
        if sound and voice:
            samples, rate = sound
            start, end = round(n * rate / fps), round((n + 1) * rate / fps)
            if len(piece := samples[start:end]):
                planes = np.ascontiguousarray(piece.T)
                tone = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
                tone.sample_rate, tone.pts, tone.time_base = rate, start, Fraction(1, rate)
                film.mux(voice.encode(tone))
    film.mux(video.encode(None))
    if voice:
        film.mux(voice.encode(None))


def _panel(root: Root, row: Row, side: str, height: int) -> Iterator[RGB]:
    """Pictures of one side, all of ``height``."""
    if row.get(f"{side}video"):
        for pixels in media.each_frame(root, row[f"{side}video"]):
            yield _scaled(pixels, height)
    elif row.get(f"{side}audio"):
        yield from _waveform(root, row, row[f"{side}audio"], height)
    else:
        raise BrokenCatalog(f"sample {row['sample_id']} has no {side.rstrip('_') or 'target'} to show")


def _scaled(pixels: RGB, height: int) -> RGB:
    if pixels.shape[0] == height and pixels.shape[1] % 2 == 0:
        return pixels
    width = max(2, round(pixels.shape[1] * height / pixels.shape[0] / 2) * 2)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _waveform(root: Root, row: Row, relative: str, height: int) -> Iterator[RGB]:
    width, count = row.get("width") or _SOUND_PANEL[0], describe.frame_count(row)
    picture = Image.new("RGB", (width, height), _PANEL)
    draw = ImageDraw.Draw(picture)
    for x, peak in enumerate(media.peaks(media.audio(root, relative)[0], width)):
        half = round(float(peak) * height * 0.45)
        draw.line([(x, height // 2 - half), (x, height // 2 + half)], _WAVE)
    for n in range(count):
        shown = picture.copy()
        x = round(n / count * (width - 1))
        ImageDraw.Draw(shown).line([(x, 0), (x, height)], _HEAD, width=2)
        yield np.asarray(shown)


def _joined(left: RGB, right: RGB) -> RGB:
    bar = np.full((right.shape[0], _BAR, 3), 20, np.uint8)
    joined = np.concatenate([left, bar, right], axis=1)
    return joined[: joined.shape[0] // 2 * 2, : joined.shape[1] // 2 * 2]
