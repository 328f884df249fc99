"""Pictures as Sixel: bands of six rows, a pass per colour, each pass a run-length coded line of bit patterns.

https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image

_COLOURS = 128


def encode(image: Image.Image) -> str:
    """The escape sequence that draws an RGB picture at the cursor."""
    small = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    pixels = np.asarray(small)
    palette = np.array(small.getpalette(), int).reshape(-1, 3)
    height, width = pixels.shape
    used = np.unique(pixels)
    out = ["\x1bP0;1q", f'"1;1;{width};{height}']
    out += ["#{};2;{};{};{}".format(n, *(palette[n] * 100 // 255)) for n in used]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        weights = 1 << np.arange(len(band))
        for n in np.unique(band):
            bits = ((band == n) * weights[:, None]).sum(axis=0)
            runs = ((bit, len(list(same))) for bit, same in itertools.groupby(bits.tolist()))
            out.append(f"#{n}" + "".join(_run(chr(63 + bit), count) for bit, count in runs) + "$")
        out.append("-")
    return "".join(out) + "\x1b\\"


def _run(character: str, count: int) -> str:
    return f"!{count}{character}" if count > 3 else character * count
