"""Pictures in the terminal: what goes out is read back, pixel by pixel."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalogs.browse import kitty, sixel
from catalogs.browse.picture import Picture, blocks
from catalogs.browse.terminal import Terminal, read
from catalogs.browse.thumbnails import pair
from tests.catalogs.helpers import make_row, sound_only

HOME = Path(__file__).parents[2]


def noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_sixel_goes_out_after_the_blanks_it_lies_on():
    """Text wipes pictures out: seen in xterm, whose pictures lacked their last line."""
    widget = Picture(Terminal(pictures="sixel", cell=(8, 16)))
    *above, last = widget._sixel(noise(1, 80, 48))
    assert [line.text for line in above] == [" " * 10] * 2 and last.cell_length == 10
    text = "".join(segment.text for segment in last)
    before, _, after = text.partition("\x1b8\x1b[2A\x1bP0;1q")
    assert before == "\x1b7" + " " * 10 and after.endswith("\x1b\\\x1b8\x1b[10C") and " " not in after


@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_half_blocks_hold_every_pixel(seed, columns, rows):
    image = noise(seed, columns, 2 * rows)
    lines = blocks(image)
    drawn = np.zeros((2 * rows, columns, 3), np.uint8)
    for y, line in enumerate(lines):
        assert line.cell_length == columns
        for x, segment in enumerate(line):
            assert segment.text == "▀"
            drawn[2 * y, x] = segment.style.color.get_truecolor()
            drawn[2 * y + 1, x] = segment.style.bgcolor.get_truecolor()
    assert len(lines) == rows and np.array_equal(drawn, np.asarray(image))


def test_kitty_gets_the_picture_and_a_cell_for_each_place():
    image = noise(3, 96, 80)
    sent = kitty.send(image, 0x617601, 12, 5)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert "".join(f"\x1b_G{head};{data}\x1b\\" for head, data in pieces) == sent and len(pieces) > 2
    said = dict(pair.split("=") for pair in pieces[0][0].split(","))
    assert said == {"a": "T", "U": "1", "f": "100", "q": "2", "i": "6387201", "c": "12", "r": "5", "m": "1"}
    assert [head for head, _ in pieces[1:]] == ["m=1"] * (len(pieces) - 2) + ["m=0"]
    assert max(len(data) for _, data in pieces) <= 4096
    data = base64.standard_b64decode("".join(data for _, data in pieces))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))
    row = kitty.cells(2, 12)
    assert len(row) == 36 and row[::3] == "\U0010eeee" * 12 and set(row[1::3]) == {"\u030e"}
    assert row[2] == "\u0305" and row[5] == "\u030d" and len(set(row[2::3])) == 12


@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 25))
@settings(max_examples=30, deadline=None)
def test_sixel_draws_the_picture(seed, width, height):
    few = noise(seed, 4, 1).resize(
        (width, height), Image.Resampling.NEAREST
    )  # few colours: nothing is quantised
    drawn = decode_sixel(sixel.encode(few))
    assert drawn.shape == (height, width, 3)
    assert np.abs(drawn.astype(int) - np.asarray(few, int)).max() <= 3  # a hundred levels


def decode_sixel(text: str) -> np.ndarray:
    """Read Sixel as the manual of the VT330 says, not as it is written here."""
    body = re.fullmatch(r"\x1bP0;1q(.*)\x1b\\", text)[1]
    width, height = map(int, re.match(r'"1;1;(\d+);(\d+)', body).groups())
    drawn, palette, x, y, colour = np.zeros((height + 6, width, 3), np.uint8), {}, 0, 0, 0
    for token in re.findall(
        r"#\d+(?:;2;\d+;\d+;\d+)?|![0-9]+.|[?-~]|[$-]", body.partition(f"{width};{height}")[2]
    ):
        if token.startswith("#"):
            number, *rgb = (int(part) for part in token[1:].split(";"))
            if rgb:
                palette[number] = [level * 255 / 100 for level in rgb[1:]]
            colour = number
        elif token in "$-":
            x, y = 0, y + 6 * (token == "-")
        else:
            count, bits = (int(token[1:-1]), token[-1]) if token[0] == "!" else (1, token)
            for row in range(6):
                if (ord(bits) - 63) >> row & 1:
                    drawn[y + row, x : x + count] = palette[colour]
            x += count
    assert not drawn[height:].any()
    return drawn[:height]


KITTY, CELL = b"\x1b_Gi=31;OK\x1b\\", b"\x1b[6;20;10t\x1b[?62c"


@pytest.mark.parametrize(
    ("said", "cell", "wanted", "terminal"),
    [
        (b"", None, "auto", Terminal()),
        (b"\x1b[?62;22c", (9, 18), "auto", Terminal()),
        (
            KITTY + b"\x1bP>|kitty(0.28.0)\x1b\\" + CELL,
            None,
            "auto",
            Terminal(pictures="kitty", cell=(10, 20)),
        ),
        (
            KITTY + b"\x1bP>|ghostty 1.1.3\x1b\\" + CELL,
            None,
            "auto",
            Terminal(pictures="kitty", cell=(10, 20)),
        ),
        (KITTY + b"\x1bP>|kitty(0.26.5)\x1b\\" + CELL, None, "auto", Terminal()),  # before placeholders
        (KITTY + b"\x1bP>|Konsole 24.12.0\x1b\\" + CELL, None, "auto", Terminal()),
        (
            KITTY + b"\x1bP>|WezTerm 2024\x1b\\\x1b[?65;4c",
            (9, 18),
            "auto",
            Terminal(pictures="sixel", cell=(9, 18)),
        ),
        (b"\x1b_Gi=31;ENOENT\x1b\\\x1b[?62;4c", (9, 18), "auto", Terminal(pictures="sixel", cell=(9, 18))),
        (b"\x1b[?64;14;24c", None, "auto", Terminal()),  # neither 14 nor the 64 of a VT420 is a 4
        (b"\x1b[?62;4c", None, "none", Terminal(pictures="none")),
        (b"", None, "sixel", Terminal(pictures="sixel", cell=(8, 16))),
    ],
)
def test_what_a_terminal_says_of_itself(said, cell, wanted, terminal):
    assert read(said, cell, wanted) == terminal


@pytest.mark.parametrize("answer", [b"\x1b[6;21;11t\x1b[?62;4;22c", b""])
def test_a_terminal_is_asked(answer):
    code = "from catalogs.browse.terminal import ask; t = ask(); print('got', t.pictures, *t.cell)"
    child, terminal = pty.fork()
    if not child:
        os.chdir(HOME)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-c", code])
    heard = b""
    try:
        while b"got" not in heard or not heard.endswith(b"\n"):
            heard += os.read(terminal, 1024)
            if answer and heard.endswith(b"\x1b[c"):
                os.write(terminal, answer)
    finally:
        os.waitpid(child, 0)
        os.close(terminal)
    assert (b"got sixel 11 21" if answer else b"got blocks 1 2") in heard
    assert b"\x1b_Gi=31" in heard and b"\x1b[16t" in heard


# The pair itself: frame n of the helper's films has red n * 20, the target's green is its shade.


def test_the_reference_stands_beside_the_target(root):
    row = make_row(root, 1, video=make_row(root, 5)["video"])
    image, said = pair(root, row, (60, 16))
    pixels = np.asarray(image).astype(int)
    assert said == [] and image.size == (60, 16)
    for column, shade in ((10, 10), (45, 50)):  # the middle frame of both, each at its place
        assert np.abs(pixels[7, column] - (80, shade, 60)).max() < 12


def test_a_strip_shows_the_reference_above_the_target_over_time(root):
    row = make_row(root, 1, video=make_row(root, 5)["video"])
    image, said = pair(root, row, (66, 21), strip=True)
    pixels = np.asarray(image).astype(int)
    reds = [pixels[y, x, 0] for y in (5, 16) for x in (10, 32, 54)]
    assert said == [] and np.abs(np.array(reds) - [0, 80, 160] * 2).max() < 12
    assert abs(pixels[5, 10, 1] - 10) < 12 and abs(pixels[16, 10, 1] - 50) < 12


def test_what_is_missing_is_said_and_the_other_side_drawn(root):
    row = make_row(root, 1)
    (root.folder / row["reference_video"]).unlink()
    image, said = pair(root, row, (60, 16))
    assert len(said) == 1 and said[0].startswith("reference: missing file media/")
    assert np.asarray(image)[7, 45].sum() > 60
    (root.folder / row["video"]).unlink()
    image, said = pair(root, row, (60, 16))
    assert image is None and [line[:6] for line in said] == ["refere", "target"]
    assert pair(root, {"sample_id": "x"}, (60, 16)) == (None, ["this sample has no media"])


def test_sounds_are_drawn_by_their_level(root):
    image, said = pair(root, sound_only(root), (40, 41))
    lit = (np.asarray(image).max(axis=2) > 100).sum(axis=0)
    assert said == []
    top, bottom = (np.asarray(image)[rows].max(axis=2) > 100 for rows in (slice(0, 20), slice(21, 41)))
    assert bottom.sum() > 2.5 * top.sum() and lit.min() > 0  # 0.5 against 0.1 of full scale


def test_thin_lines_on_black_survive(root, tmp_path):
    from catalogs.browse.thumbnails import _shrunk

    picture = np.zeros((448, 768, 3), np.uint8)
    picture[:, 398] = 255
    assert np.asarray(_shrunk(Image.fromarray(picture), (28, 16))).max() > 100  # a mean alone gives 9
    bright = Image.new("RGB", (768, 448), (90, 120, 50))
    assert np.asarray(_shrunk(bright, (28, 16))).reshape(-1, 3).tolist() == [[90, 120, 50]] * 448
