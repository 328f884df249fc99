"""Pictures of samples for pages, drawn when they are first asked for and kept: they are of content-addressed files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from catalogs import describe, media
from catalogs.browse.thumbnails import pair
from catalogs.describe import Row
from catalogs.root import Root
from catalogs.spectrum import PANEL, gutter, sound_picture

SHAPE = ("width", "height", "frames", "fps_num", "fps_den", "sample_rate", "audio_samples")
"""With the media, the columns that a picture is drawn from."""
_WIDTH, _HEIGHTS = 480, (110, 250)
_SOUND, _SOUND_ALONE, _TEXT = (1200, 220), (1200, 340), 22  # drawn twice as large as shown
GUTTER = gutter(_TEXT) / _SOUND[0]
"""Share of a sound picture that lies to the left of its time axis."""
_LETTERS = 56  # of a line that says what is missing
_KEPT_DAYS = 30
_VERSION = 1  # of how they are drawn
_DRAWING = threading.Semaphore(os.cpu_count() or 1)


def size(row: Row) -> tuple[int, int]:
    """Width and height of a sample's thumbnail: both sides beside each other fill it."""
    shape = (row.get("width") or 480) / (row.get("height") or 136)
    sides = 2 if row.get("video") and row.get("reference_video") else 1
    height = min(max(int(0.98 * _WIDTH / sides / shape), _HEIGHTS[0]), _HEIGHTS[1])
    return min(_WIDTH, math.ceil(sides * height * shape / 0.98)), height


def thumbnail(root: Root, row: Row) -> tuple[bytes, bool]:
    """A sample's reference and target side by side as JPEG, and whether it is of both.

    What is missing is said in the picture, in words.
    """
    image, said = pair(root, row, size(row))
    if image is None:
        image = Image.new("RGB", size(row), PANEL)
    if said:
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
        lines = "\n".join(line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…" for line in said)
        box = draw.multiline_textbbox((12, 12), lines, font)
        draw.rectangle((box[0] - 6, box[1] - 6, box[2] + 6, box[3] + 6), PANEL)
        draw.multiline_text((12, 12), lines, "#ff8f8f", font)
    return jpeg(image, 80), not said


def sound(root: Root, row: Row, column: str) -> bytes:
    """A sound's waveform, loudness and spectrogram as JPEG.

    Raises:
        BrokenCatalog: It is missing or does not decode.
    """
    samples, rate = media.audio(root, row[column])
    across = _SOUND if row.get("video") or row.get("reference_video") else _SOUND_ALONE
    side = "reference" if column.startswith("reference") else "target"
    return jpeg(sound_picture(samples, rate, side, size=across, seconds=media.seconds(row), text=_TEXT), 85)


def sound_words(root: Root, row: Row, column: str, side: str) -> str:
    """What a sound is: its side, length and level.

    Raises:
        BrokenCatalog: It is missing or does not decode.
    """
    samples, rate = media.audio(root, row[column])
    return f"{side} sound, {len(samples) / rate:.2f} s, {media.level(samples)}"


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The bytes of a picture; lines and words keep their colours."""
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=quality, subsampling=0)
    return kept.getvalue()


def known(row: Row) -> dict[str, Any]:
    """Those columns of a row that its pictures are drawn from."""
    return {name: row[name] for name in (*describe.MEDIA, *SHAPE) if row.get(name)}


class Kept:
    """A folder of pictures by what they were drawn from, beside the other files that this user's runs keep.

    Those that nobody asked for in a month are removed when it is opened.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "avcontrol"
        self._folder = Path(os.environ.get("AVCONTROL_CACHE", default)) / "pictures"
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for file in self._folder.glob("*/*.jpg"):
                if time.time() - file.stat().st_mtime > _KEPT_DAYS * 86400:
                    file.unlink()

    def get(self, what: str, row: Row, draw: Callable[[], tuple[bytes, bool]]) -> bytes:
        """The picture ``what`` of a row; drawn, and kept if it is whole, where it is not there yet."""
        told = json.dumps([_VERSION, self._root.uri, what, known(row)], sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()
        file = self._folder / name[:2] / f"{name[2:]}.jpg"
        with contextlib.suppress(OSError):
            os.utime(file)
            return file.read_bytes()
        with _DRAWING:
            picture, whole = draw()
        if whole:
            with contextlib.suppress(OSError):  # a full disk only means that it is drawn again
                _write(file, picture)
        return picture


def _write(file: Path, picture: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f".{uuid.uuid4().hex}")
    part.write_bytes(picture)
    part.rename(file)
