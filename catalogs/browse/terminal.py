"""What the terminal can draw: it is asked, because names and variables lie (ssh, tmux, terminals in editors)."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
from dataclasses import dataclass
from typing import Literal

Pictures = Literal["kitty", "sixel", "blocks", "none"]
# Kitty graphics? Name and release? Cell size? What can you do?
_ASK = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>q\x1b[16t\x1b[c"
# Others that take Kitty's pictures (Konsole, WezTerm, Kitty before 0.28) cannot put them into cells of text.
_PLACES = re.compile(rb"\x1bP>\|(?:kitty\((\d+)\.(\d+)|ghostty)")
_PATIENCE_S = 0.4  # every terminal answers the last question, so this is for those that are none


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """How to draw.

    Attributes:
        pictures: By Kitty's graphics protocol, Sixel, half blocks in colour, or not at all.
        cell: Width and height of a character in pixels.
    """

    pictures: Pictures = "blocks"
    cell: tuple[int, int] = (1, 2)


def ask(wanted: str = "auto") -> Terminal:
    """Ask the terminal of this process; half blocks where there is none or it does not say.

    Args:
        wanted: A way of drawing to use whatever it says, or "auto".
    """
    said = _answer() if os.environ.get("TERM", "dumb") not in ("dumb", "linux") else b""
    return read(said, _cell(), wanted)


def read(said: bytes, cell: tuple[int, int] | None, wanted: str = "auto") -> Terminal:
    """What a terminal's answer means; ``cell`` is the size that the system knows."""
    kind = wanted
    if wanted == "auto":
        attributes = re.search(rb"\x1b\[\?([\d;]+)c", said)
        sixel = attributes is not None and b"4" in attributes[1].split(b";")[1:]
        named = _PLACES.search(said)
        places = named is not None and (not named[1] or (int(named[1]), int(named[2])) >= (0, 28))
        kind = "kitty" if places and b"\x1b_Gi=31;OK" in said else "sixel" if sixel else "blocks"
    told = re.search(rb"\x1b\[6;(\d+);(\d+)t", said)
    size = (int(told[2]), int(told[1])) if told else cell or (8, 16)
    if kind == "kitty":
        return Terminal(pictures="kitty", cell=size)
    if kind == "sixel":
        return Terminal(pictures="sixel", cell=size)
    return Terminal(pictures="none" if kind == "none" else "blocks")


def _answer() -> bytes:
    try:
        file = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        before, said, until = termios.tcgetattr(file), b"", time.monotonic() + _PATIENCE_S
        try:
            tty.setraw(file)
            os.write(file, _ASK)
            while not re.search(rb"\x1b\[\?[\d;]+c", said) and (left := until - time.monotonic()) > 0:
                if select.select([file], [], [], left)[0]:
                    said += os.read(file, 1024)
        finally:
            termios.tcsetattr(file, termios.TCSANOW, before)
        return said
    except (OSError, termios.error):
        return b""
    finally:
        os.close(file)


def _cell() -> tuple[int, int] | None:
    """Size of a character in pixels as the system knows it; not over every connection."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    return (width // columns, height // rows) if width and height and rows and columns else None
