"""A picture among the widgets: Kitty's cells, Sixel over blank cells, or two pixels to a half block."""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image
from rich.color import Color
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from catalogs.browse import kitty, sixel
from catalogs.browse.terminal import Terminal

_NUMBERS = itertools.count(0x617601)  # of pictures at the terminal


class Picture(Widget):
    """Shows one RGB picture in its top left corner.

    Args:
        terminal: How to draw.
    """

    def __init__(self, terminal: Terminal, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.terminal = terminal
        self._lines: list[Strip] = []
        self._number = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height that a picture should have to fill it."""
        columns, rows = self.content_size
        if self.terminal.pictures == "kitty":
            columns, rows = min(columns, kitty.MOST), min(rows, kitty.MOST)
        return columns * self.terminal.cell[0], rows * self.terminal.cell[1]

    def show(self, image: Image.Image | None) -> None:
        """Show a picture of :attr:`pixels` size, or nothing."""
        self._forget()
        draw = {"kitty": self._kitty, "sixel": self._sixel, "blocks": blocks}.get(self.terminal.pictures)
        self._lines = draw(image) if draw and image else []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of cells."""
        style = self.rich_style
        if y >= len(self._lines):
            return Strip.blank(self.size.width, style)
        return self._lines[y].extend_cell_length(self.size.width, style)

    def on_unmount(self) -> None:
        """Let the terminal forget the picture."""
        self._forget()

    def _kitty(self, image: Image.Image) -> list[Strip]:
        columns, rows = (side // cell for side, cell in zip(image.size, self.terminal.cell, strict=True))
        self._number = next(_NUMBERS)
        self._write(kitty.send(image, self._number, columns, rows))
        style = Style(color=Color.from_rgb(*self._number.to_bytes(3, "big")))
        return [Strip([Segment(kitty.cells(row, columns), style)], columns) for row in range(rows)]

    def _sixel(self, image: Image.Image) -> list[Strip]:
        columns, rows = (side // cell for side, cell in zip(image.size, self.terminal.cell, strict=True))
        # It goes out with the last line, after its blanks, which would wipe it out: from their first cell up to the
        # corner, and back behind the last.
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        here, draw = _control("\x1b7"), _control(f"\x1b8{up}{sixel.encode(image)}\x1b8\x1b[{columns}C")
        blank = Segment(" " * columns, self.rich_style)
        return [Strip([blank], columns)] * (rows - 1) + [Strip([here, blank, draw], columns)]

    def _forget(self) -> None:
        if self._number:
            self._write(kitty.forget(self._number))
            self._number = 0

    def _write(self, data: str) -> None:
        if self.app._driver:  # in order with what Textual itself writes
            self.app._driver.write(data)


def _control(data: str) -> Segment:
    return Segment(data, None, [(ControlType.CURSOR_FORWARD, 0)])  # counts as no cells and is never cut


def blocks(image: Image.Image) -> list[Strip]:
    """A picture as lines of upper half blocks, two pixels to a cell."""
    pixels = np.asarray(image.convert("RGB"))
    upper, lower = pixels[0::2], pixels[1::2]
    lines = []
    for top, bottom in zip(upper[: len(lower)].tolist(), lower.tolist(), strict=True):
        cells = [
            Segment("▀", Style(color=Color.from_rgb(*high), bgcolor=Color.from_rgb(*low)))
            for high, low in zip(top, bottom, strict=True)
        ]
        lines.append(Strip(cells, len(cells)))
    return lines
