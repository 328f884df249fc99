"""Pictures by Kitty's graphics protocol, with Unicode placeholders: cells of text, which scroll and clip as text.

https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders
"""

from __future__ import annotations

import base64
import io

from PIL import Image

_PLACE = "\U0010eeee"
_CHUNK = 4096
# The first of the combining characters that number rows and columns (rowcolumn-diacritics.txt of that page).
_CODES = """
305 30D 30E 310 312 33D 33E 33F 346 34A 34B 34C 350 351 352 357 35B 363 364 365 366 367 368 369 36A 36B
36C 36D 36E 36F 483 484 485 486 487 592 593 594 595 597 598 599 59C 59D 59E 59F 5A0 5A1 5A8 5A9 5AB 5AC
5AF 5C4 610 611 612 613 614 615 616 617 657 658 659 65A 65B 65D 65E 6D6 6D7 6D8 6D9 6DA 6DB 6DC 6DF 6E0
6E1 6E2 6E4 6E7 6E8 6EB 6EC 730 732 733 735 736 73A 73D 73F 740 741 743 745 747 749 74A 7EB 7EC 7ED 7EE
7EF 7F0 7F1 7F3 816 817 818 819 81B 81C 81D 81E 81F 820 821 822 823 825 826 827 829 82A 82B 82C 82D 951
953 954
"""
_NUMBERS = [chr(int(code, 16)) for code in _CODES.split()]
MOST = len(_NUMBERS)
"""Most columns or rows of a picture."""


def send(image: Image.Image, number: int, columns: int, rows: int) -> str:
    """What makes the terminal keep a picture as ``number`` (1 to 2^24 - 1) for a box of so many cells."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    data = base64.standard_b64encode(file.getvalue()).decode()
    pieces = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    head = f"a=T,U=1,f=100,q=2,i={number},c={columns},r={rows},"
    return "".join(
        f"\x1b_G{head if n == 0 else ''}m={int(n < len(pieces) - 1)};{piece}\x1b\\"
        for n, piece in enumerate(pieces)
    )


def forget(number: int) -> str:
    """What makes the terminal drop a picture."""
    return f"\x1b_Ga=d,d=I,q=2,i={number}\x1b\\"


def cells(row: int, columns: int) -> str:
    """The text of one row of a picture; its colour is the picture's number as red, green and blue."""
    return "".join(_PLACE + _NUMBERS[row] + _NUMBERS[column] for column in range(columns))
