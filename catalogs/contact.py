"""A contact sheet: many samples on one picture, each with its reference above its target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from catalogs import describe, media
from catalogs.camera_panel import camera_panel, has_cameras
from catalogs.describe import Row
from catalogs.errors import AvcontrolError
from catalogs.root import Root, storage_errors
from catalogs.spectrum import COLOUR, PANEL, gutter, sound_picture

_COLUMNS, _CELL, _GAP, _PAD = 4, (232, 132), 4, 24
_LABEL, _HEAD, _SOUND, _SOUND_ALONE, _CAMERA = 320, 22, 120, 170, 120
_STRIP = _COLUMNS * (_CELL[0] + _GAP) - _GAP
_WIDTH = _PAD + _LABEL + _PAD + _STRIP + _PAD
_PAPER, _INK, _DIM, _RULE = "#14161a", "#eceef2", "#9aa2b1", "#2a2e37"


def contact_sheet(
    root: Root,
    rows: Sequence[Row],
    path: str | Path,
    *,
    title: str = "",
    limit: int = 50,
    total: int | None = None,
) -> None:
    """Draw samples as one picture: label, then reference and target at four times, then their sound.

    Sound is drawn as waveform, loudness and log-mel spectrogram, the reference's above the target's. Rows that say
    where their camera is get its path and its field of view.

    A file that is missing or does not decode is said so in its place; the others are drawn all the same.

    Args:
        root: Where the media lie.
        rows: Sample rows; those after the first ``limit`` are left out, which the sheet says.
        path: PNG to write.
        title: What the sheet shows, e.g. the catalog ID.
        limit: Most rows drawn.
        total: How many rows there are; ``len(rows)`` by default.

    Raises:
        StorageError: The file cannot be written.
    """
    shown = rows[:limit]
    blocks = [_block(root, row) for row in shown]
    total = len(rows) if total is None else total
    count = f"{total} sample{'s' * (total != 1)}"
    left = total - len(shown)
    note = f"{count}; the first {len(shown)} are shown, {left} left out" if left > 0 else count
    sheet = Image.new("RGB", (_WIDTH, 76 + sum(block.height for block in blocks)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_PAD, 22), _fit(title or "samples", 22, _WIDTH // 2), _INK, _font(22))
    draw.text((_WIDTH - _PAD, 27), note, _DIM, _font(15), anchor="ra")
    top = 76
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    with storage_errors(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, "PNG")


def _block(root: Root, row: Row) -> Image.Image:
    """One sample: its label on the left, its strips on the right."""
    strips = _strips(root, row)
    label = _label(row)
    tall = sum(strip.height + _GAP for strip in strips)
    block = Image.new("RGB", (_WIDTH, max(tall, label.height) + 20), _PAPER)
    ImageDraw.Draw(block).line([(_PAD, 0), (_WIDTH - _PAD, 0)], _RULE)
    block.paste(label, (_PAD, 10))
    top = 10
    for strip in strips:
        block.paste(strip, (_PAD + _LABEL + _PAD, top))
        top += strip.height + _GAP
    return block


def _strips(root: Root, row: Row) -> list[Image.Image]:
    strips = []
    for column in sorted(
        describe.MEDIA, key=lambda column: column.endswith("audio")
    ):  # pictures, then sounds
        if not row.get(column):
            continue
        side = "reference" if column.startswith("reference") else "target"
        try:
            draw = _thumbnails if column.endswith("video") else _sound
            strips.append(draw(root, row, column, side))
        except AvcontrolError as error:
            strip = Image.new("RGB", (_STRIP, 40), "#3a1518")
            text = _fit(f"{side}: {error.message}", 14, _STRIP - 20)
            ImageDraw.Draw(strip).text((10, 11), text, "#ff8f8f", _font(14))
            strips.append(strip)
    if has_cameras(row):
        strips.append(camera_panel(row, (_STRIP, _CAMERA)))
    return strips


def _thumbnails(root: Root, row: Row, column: str, side: str) -> Image.Image:
    count = describe.frame_count(row)
    times = [round(n * (count - 1) / (_COLUMNS - 1)) for n in range(_COLUMNS)]
    strip = Image.new("RGB", (_STRIP, _CELL[1]), _PAPER)
    draw = ImageDraw.Draw(strip)
    for n, (index, pixels) in enumerate(zip(times, media.frames(root, row[column], times), strict=True)):
        left, picture = n * (_CELL[0] + _GAP), Image.fromarray(pixels)
        scale = min(_CELL[0] / picture.width, _CELL[1] / picture.height)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        draw.rectangle([left, 0, left + _CELL[0] - 1, _CELL[1]], PANEL)
        strip.paste(picture, (left + (_CELL[0] - size[0]) // 2, (_CELL[1] - size[1]) // 2))
        _tag(draw, (left + 5, _CELL[1] - 21), f"{float(index / describe.fps(row)):.2f} s", _INK)
    _tag(draw, (5, 5), side, COLOUR[side])
    return strip


def _sound(root: Root, row: Row, column: str, side: str) -> Image.Image:
    samples, rate = media.audio(root, row[column])
    height = _SOUND if row.get("video") or row.get("reference_video") else _SOUND_ALONE
    strip = Image.new("RGB", (_STRIP, _HEAD + height), PANEL)
    strip.paste(
        sound_picture(samples, rate, side, size=(_STRIP, height), seconds=media.seconds(row)), (0, _HEAD)
    )
    text = f"{side} sound, {len(samples) / rate:.2f} s, {media.level(samples)}"
    ImageDraw.Draw(strip).text((gutter(), 4), text, COLOUR[side], _font(12))
    return strip


def _label(row: Row) -> Image.Image:
    label = Image.new("RGB", (_LABEL, 200), _PAPER)
    draw = ImageDraw.Draw(label)
    draw.text((0, 0), str(row["sample_id"])[:12], _INK, _font(18))
    draw.text((0, 26), _fit(describe.where(row), 14, _LABEL), _DIM, _font(14))
    caption = " ".join((row.get("caption") or "").split())
    lines = _wrapped(caption, 15, 4) or ["no caption"]
    for n, line in enumerate(lines):
        draw.text((0, 54 + 20 * n), line, _INK if caption else _DIM, _font(15))
    for n, (name, value) in enumerate(list(describe.figures(row).items())[:6]):
        at = (n % 2 * _LABEL // 2, 64 + 20 * len(lines) + 18 * (n // 2))
        draw.text(at, _fit(f"{name} {describe.figure(value)}", 13, _LABEL // 2 - 6), _DIM, _font(13))
    return label


def _tag(draw: Any, at: tuple[int, int], text: str, colour: str) -> None:
    left, top, right, bottom = draw.textbbox(at, text, _font(12))
    draw.rounded_rectangle([left - 4, top - 3, right + 4, bottom + 3], 3, PANEL)
    draw.text(at, text, colour, _font(12))


def _wrapped(text: str, size: int, lines: int) -> list[str]:
    """At most so many lines of the label's width; what does not fit ends in an ellipsis."""
    done: list[str] = []
    line = ""
    words = text.split()
    for n, word in enumerate(words):
        longer = f"{line} {word}".strip()
        if line and _font(size).getlength(longer) > _LABEL:
            if len(done) == lines - 1:
                return [*done, _fit(" ".join([line, *words[n:]]), size, _LABEL)]
            done.append(_fit(line, size, _LABEL))
            line = word
        else:
            line = longer
    return [*done, _fit(line, size, _LABEL)] if line else done


def _fit(text: str, size: int, width: int) -> str:
    if _font(size).getlength(text[:400]) <= width and len(text) <= 400:
        return text
    text = text[:400]
    while text and _font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
