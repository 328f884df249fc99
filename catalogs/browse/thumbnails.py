"""The pair of a sample as one small picture: its reference and its target at a few times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from catalogs import describe, media
from catalogs.describe import Row
from catalogs.errors import AvcontrolError
from catalogs.root import Root
from catalogs.spectrum import COLOUR, PANEL

_MOST = 6  # times at which a pair is shown
_GAP = 0.02  # between pictures, of the width
_DARK = 40  # mean level of a picture that is lines on black


def pair(
    root: Root, row: Row, size: tuple[int, int], *, strip: bool = False
) -> tuple[Image.Image | None, list[str]]:
    """Draw a sample's reference and target at as many times as fit.

    Args:
        root: Where the media lie.
        row: A whole row of samples.
        size: Width and height of the picture in square pixels.
        strip: Always the reference's strip above the target's; otherwise whichever gives the larger pictures of
            that and the reference beside the target.

    Returns:
        RGB picture of that size, None if there is nothing to draw; and a line for each side that is missing or does
        not decode.
    """
    sides, gap, said = _sides(row), max(1, round(_GAP * size[0])), []
    canvas = Image.new("RGB", size, PANEL)
    if not sides:
        return None, ["this sample has no media"]
    stacked, width, height, times = True, size[0], (size[1] - gap) // len(sides), 1
    if any(column.endswith("video") for column in sides.values()):
        grids = [(_grid(row, size, gap, len(sides), stacked), stacked) for stacked in (True, False)]
        (height, times, width), stacked = grids[0] if strip else max(grids)
    count = describe.frame_count(row)
    indices = [round(n * (count - 1) / (times - 1)) for n in range(times)] if times > 1 else [count // 2]
    for place, (side, column) in enumerate(sides.items()):
        try:
            for n, image in enumerate(_images(root, row, column, indices, (width, height))):
                left, top = (n, place) if stacked else (n * len(sides) + place, 0)
                canvas.paste(image, (left * (width + gap), top * (height + gap)))
        except AvcontrolError as error:
            said.append(f"{side}: {error.message}")
    return canvas if len(said) < len(sides) else None, said


def _sides(row: Row) -> dict[str, str]:
    """The column that shows each side: pictures where the reference has them, else sound."""
    kinds = (
        ("video", "audio")
        if row.get("reference_video") or not row.get("reference_audio")
        else ("audio", "video")
    )
    sides = {"reference": [f"reference_{kind}" for kind in kinds], "target": kinds}
    found = {side: next((name for name in names if row.get(name)), "") for side, names in sides.items()}
    return {side: column for side, column in found.items() if column}


def _grid(row: Row, size: tuple[int, int], gap: int, sides: int, stacked: bool) -> tuple[int, int, int]:
    """Height of each picture, at how many times, and the width."""
    shape = (row.get("width") or 16) / (row.get("height") or 9)
    across, down = (1, sides) if stacked else (sides, 1)
    height = min((size[1] - gap * (down - 1)) // down, int((size[0] - gap * (across - 1)) // across / shape))
    width = max(1, round(height * shape))
    times = (size[0] + gap) // (across * (width + gap))
    return max(1, height), max(1, min(_MOST, times)), width


def _images(
    root: Root, row: Row, column: str, indices: list[int], size: tuple[int, int]
) -> Iterator[Image.Image]:
    if column.endswith("video"):
        for pixels in media.frames(root, row[column], indices):
            yield _shrunk(Image.fromarray(pixels), size)
    else:
        yield _waveform(
            media.audio(root, row[column])[0], size, COLOUR["target" if column == "audio" else "reference"]
        )


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Smaller; thin lines on black are thickened first, or their mean with the black would leave nothing of them."""
    factor = image.width / size[0]
    if factor > 4 and np.asarray(image.resize((32, 32))).mean() < _DARK:
        image = image.filter(ImageFilter.MaxFilter(2 * round(factor / 4) + 1))
    return image.resize(size, Image.Resampling.BOX)


def _waveform(samples: NDArray[np.float32], size: tuple[int, int], colour: str) -> Image.Image:
    """The greatest magnitude in each column of pixels, as a bar about the middle."""
    image = Image.new("RGB", size, PANEL)
    draw, middle = ImageDraw.Draw(image), (size[1] - 1) / 2
    for x, part in enumerate(np.array_split(np.abs(samples).max(axis=1), size[0])):
        reach = float(part.max(initial=0.0)) * middle
        draw.line([(x, middle - reach), (x, middle + reach)], colour)
    return image
