"""The application under Textual's pilot: keys go in, the screen's text comes out."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from catalogs import review
from catalogs.browse import kitty, samples
from catalogs.browse.app import Browse
from catalogs.browse.background import background
from catalogs.browse.grid import Grid, _fit
from catalogs.browse.marks import Marks
from catalogs.browse.pages import Pages
from catalogs.browse.picture import Picture
from catalogs.browse.story import _words
from catalogs.browse.terminal import Terminal
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.root import Root
from catalogs.schema import samples_schema
from tests.catalogs.helpers import commit, make_row, run_info, sound_only

SNAPSHOTS = Path(__file__).parent / "snapshots"
Play = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are drawn at once: the pilot presses one key after the other as it is."""
    monkeypatch.setattr(samples, "_REST_S", 0.0)


def play(
    root: Root,
    catalog: str | None,
    act: Play,
    size: tuple[int, int] = (80, 24),
    terminal: Terminal | None = None,
) -> Browse:
    """Run the application with ``act`` at its keys."""
    app = Browse(root, CatalogID.parse(catalog) if catalog else None, terminal)

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await settle(pilot)
            await act(pilot)

    asyncio.run(run())
    return app


async def settle(pilot: Pilot[None]) -> None:
    """Wait until no worker is left; those may start others."""
    for _ in range(3):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


async def write(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.query_one(Input).value = text
    await press(pilot, "enter")


def screen(pilot: Pilot[None]) -> str:
    """The text of the screenshot, line by line: what is drawn, whatever the fonts, colours and IDs."""
    lines: dict[float, dict[float, str]] = {}
    for part in ElementTree.fromstring(pilot.app.export_screenshot()).iter(
        "{http://www.w3.org/2000/svg}text"
    ):
        if "clip-path" in part.attrib:
            lines.setdefault(float(part.attrib["y"]), {})[float(part.attrib["x"])] = part.text or ""
    told = []
    for _, parts in sorted(lines.items()):
        line = ""
        for x, text in sorted(parts.items()):
            line = line.ljust(round(x / 12.2)) + text.replace("\xa0", " ")
        told.append(line.rstrip())
    return "\n".join(told)


def snapshot(pilot: Pilot[None], name: str) -> None:
    """Compare the screen's text with the one that was looked at; UPDATE_SNAPSHOTS=1 writes it."""
    file, told = SNAPSHOTS / f"{name}.txt", screen(pilot) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOTS.mkdir(exist_ok=True)
        file.write_text(told)
    assert told == file.read_text()


def test_the_first_screen(filled):
    async def act(pilot: Pilot[None]) -> None:
        snapshot(pilot, "samples")

    review.write(filled, "canny", ["02" * 20], verdict="accept")
    review.write(filled, "canny", ["04" * 20], verdict="reject", note="blurred")
    review.write(filled, "canny", ["05" * 20], note="look again")
    play(filled, "canny@1", act)


def test_a_wide_terminal(filled):
    async def act(pilot: Pilot[None]) -> None:
        detail, grid = pilot.app.screen.query_one("#detail"), pilot.app.screen.query_one(Grid)
        assert detail.region.x >= grid.region.right and "64x32x9@24/1" in screen(pilot)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert detail.region.y >= grid.region.bottom and "64x32x9@24/1" not in screen(pilot)

    play(filled, "canny", act, size=(180, 40))


def test_a_filter_with_a_typo_says_so_and_the_table_stays(filled):
    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "slash")
        await write(pilot, "qualty > 0.25")
        assert "unknown column 'qualty'. Did you mean quality?" in screen(pilot)
        assert "canny@2 " in screen(pilot) and "clip 1.mp4" in screen(pilot)
        await write(pilot, "quality >")
        assert "syntax error" in screen(pilot) and "clip 1.mp4" in screen(pilot)
        await write(pilot, "quality > 0.25 AND caption <> ''")
        said = screen(pilot)
        assert "canny@2?quality > 0.25 AND caption <> ''" in said and "1 of 2" in said
        assert "clip 3.mp4" in said and "clip 1.mp4" not in said and "syntax" not in said
        await press(pilot, "slash")
        assert pilot.app.screen.query_one(Input).value == "quality > 0.25 AND caption <> ''"
        await press(pilot, "escape")
        assert "1 of 2" in screen(pilot) and pilot.app.focused is pilot.app.screen.query_one(Grid)
        await press(pilot, "slash")
        await write(pilot, "quality > 9")
        assert "no samples" in screen(pilot)
        await press(pilot, "a", "n", "enter", "down", "end")  # nothing to do any of it with
        await press(pilot, "slash")
        await write(pilot, "")
        assert "1 of 5" in screen(pilot)

    play(filled, "canny", act)
    assert review.version(filled, "canny") == 0


def order(pilot: Pilot[None]) -> list[str]:
    return re.findall(r"\bclip \d\.mp4", screen(pilot))[:5]


def test_sort_by_any_column_and_the_other_way_round(filled):
    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "s", *"qual", "enter")
        assert order(pilot) == [f"clip {n}.mp4" for n in (1, 2, 3, 4, 5)] and "quality ↑" in screen(pilot)
        await press(pilot, "S")
        assert order(pilot) == [f"clip {n}.mp4" for n in (5, 4, 3, 2, 1)] and "quality ↓" in screen(pilot)
        await press(pilot, "s", *"edge_d", "enter")
        assert "edge_densi" in screen(pilot) and "0.1" in screen(pilot)
        await pilot.click(Grid, offset=(50, 0))  # the head of motion or quality
        await settle(pilot)
        assert re.search(r"(quality|motion)↑", screen(pilot))

    play(filled, "canny", act)


def test_reviews_are_written_and_marked(filled):
    one, two, three = (f"{n:02x}" * 20 for n in (1, 2, 3))

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "s", *"quality", "enter")
        await press(pilot, "a", "r")
        assert re.search(r"✓ 01010101", screen(pilot)) and re.search(r"✗ 02020202", screen(pilot))
        await press(pilot, "n")
        await write(pilot, "it's dark")
        assert "✎ 03030303" in screen(pilot) and "it's dark" in screen(pilot)
        await press(pilot, "up", "u")
        assert "✗" not in screen(pilot)
        await press(pilot, "n", *"never mind", "escape")
        await press(pilot, "slash")
        await write(pilot, "review = 'accept'")
        assert "1 of 1" in screen(pilot) and "canny@2+" in screen(pilot)

    play(filled, "canny", act)
    found = {row["sample_id"]: row for row in review.newest(filled, "canny").to_pylist()}
    assert (found[one]["review"], found[two]["review"], found[three]["review_note"]) == (
        "accept",
        None,
        "it's dark",
    )
    assert select(filled, "canny?review = 'accept'", ["sample_id"]).to_pylist() == [{"sample_id": one}]
    assert len(review.history(filled, "canny", two)) == 2


def test_a_review_is_written_before_the_end(filled):
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("a", "a", "a", "q")

    play(filled, "canny", act)
    assert review.newest(filled, "canny").num_rows == 3


@pytest.mark.parametrize("key", ["c", "q", "enter", "x"])
def test_a_screen_can_be_left_while_it_reads(filled, monkeypatch, key):
    slow = threading.Event()
    prepare = Pages.prepare
    monkeypatch.setattr(Pages, "prepare", lambda self: (slow.wait(5), prepare(self)))
    app = Browse(filled, CatalogID(name="canny"))

    async def run() -> None:
        async with app.run_test() as pilot:
            while not pilot.app.screen.query(Grid) or pilot.app.screen.query_one(Grid).row is None:
                await pilot.pause(0.01)
            await pilot.press(key)
            threading.Timer(0.05, slow.set).start()
            await pilot.pause(0.0 if key == "q" else 0.2)

    asyncio.run(run())  # an error in a thread would end it
    assert app.return_code == 0 or key != "q"


def test_work_ends_quietly_where_its_widgets_are_gone():
    done = []

    class Left(Screen[None]):
        @background("reading")
        def read(self) -> None:
            done.append("before")
            self.query_one("#gone")
            done.append("after")

    async def run() -> None:
        app = App[None]()
        async with app.run_test() as pilot:
            screen = Left()
            await app.push_screen(screen)
            screen.read()
            await pilot.app.workers.wait_for_complete()
        assert not app.return_code

    asyncio.run(run())
    assert done == ["before"]


def test_reviews_that_cannot_be_written_are_said_and_kept(filled):
    async def act(pilot: Pilot[None]) -> None:
        (filled.folder / "catalogs/canny/reviews").write_text("in the way")
        await press(pilot, "a")
        assert "not written" in screen(pilot)
        await press(pilot, "q")
        assert "1 review could not be written" in screen(pilot) and pilot.app.is_running
        (filled.folder / "catalogs/canny/reviews").unlink()
        await press(pilot, "r", "q")

    play(filled, "canny", act)
    assert review.newest(filled, "canny").num_rows == 2


def test_catalogs_and_their_versions(filled):
    commit(filled, [sound_only(filled)], name="speech")
    table_of(filled, "empty", create=samples_schema()).append_new([], run_info())

    async def act(pilot: Pilot[None]) -> None:
        said = screen(pilot)
        assert (
            re.search(r"canny +2 +5 +3 +64x32x9@24/1\+16000", said) and "empty" in said and "speech" in said
        )
        assert re.search(r"canny@2 .*run2", said) and re.search(r"canny@1 .*run1", said)
        await press(pilot, "tab", "down", "enter")
        assert " canny@1 " in screen(pilot) and "1 of 4" in screen(pilot)
        await press(pilot, "c", "tab")
        await press(pilot, "down", "enter")
        assert " empty@0 " in screen(pilot) and "no samples" in screen(pilot)
        await press(pilot, "escape")
        await press(pilot, "down", "enter")
        assert " speech@1 " in screen(pilot)

    play(filled, None, act)


def test_a_root_without_catalogs(root):
    async def act(pilot: Pilot[None]) -> None:
        assert "no catalogs under" in screen(pilot)

    play(root, None, act, size=(160, 24))


def test_the_story_of_a_sample(filled):
    review.write(filled, "canny", ["01" * 20], verdict="reject", note="shaky", reviewer="ann")

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "s", *"quality", "enter")
        await press(pilot, "enter")
        words = str(pilot.app.screen.query_one("#words", Static).content)
        assert "rejected “shaky”" in words and "ann" in words
        assert "avcontrol build canny --input '/my clips/*.mp4'" in words
        assert re.search(r"edge_density +0.1", words) and "opencv-canny" in words
        assert "0101010101" in screen(pilot) and "▀▀▀▀▀▀" in screen(pilot)
        await press(pilot, "escape")
        assert "1 of 5" in screen(pilot)

    play(filled, "canny", act)


def test_the_rejects_with_their_reasons(filled):
    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "x")
        snapshot(pilot, "rejects")
        await press(pilot, "down")
        assert screen(pilot).count("does not move") == 3  # two static ones, and the message of the first
        await press(pilot, "escape")
        assert "1 of 5" in screen(pilot)

    play(filled, "canny", act)


def test_help_and_palette(filled):
    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        snapshot(pilot, "help")
        await press(pilot, "escape")
        await press(pilot, "ctrl+p", *"sort by mot")
        await pilot.pause(0.3)
        assert "Sort by motion" in screen(pilot)
        await press(pilot, "enter")
        await settle(pilot)
        assert "motion ↑" in screen(pilot)
        await press(pilot, "y")
        assert pilot.app.clipboard == "canny@2"

    play(filled, "canny", act)


def test_a_newer_version_is_read_on_demand(filled):
    async def act(pilot: Pilot[None]) -> None:
        commit(filled, [make_row(filled, 9)])
        review.write(filled, "canny", ["09" * 20], verdict="accept")
        assert "1 of 5" in screen(pilot)
        await press(pilot, "f5")
        assert "1 of 6" in screen(pilot) and "✓ 09090909" in screen(pilot) and " canny@3 " in screen(pilot)

    play(filled, "canny", act)


def test_a_catalog_that_breaks(filled):
    async def act(pilot: Pilot[None]) -> None:
        assert "cannot be read" in screen(pilot)

    for file in (filled.folder / "catalogs/canny/samples").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-40])
    play(filled, "canny", act)


@pytest.mark.parametrize("kind", ["blocks", "kitty", "sixel", "none"])
def test_pictures_of_each_kind(filled, monkeypatch, kind):
    sent: list[str] = []
    monkeypatch.setattr(Picture, "_write", lambda self, data: sent.append(data))

    async def act(pilot: Pilot[None]) -> None:
        picture = pilot.app.screen.query_one(Picture)
        strips = [picture.render_line(y) for y in range(picture.size.height)]
        assert {strip.cell_length for strip in strips} == {picture.size.width}
        text = "".join(segment.text for strip in strips for segment in strip)
        assert ("▀" in text) == (kind == "blocks") and ("\x1bP0;1q" in text) == (kind == "sixel")
        assert ("\U0010eeee" in text) == (kind == "kitty") == bool(sent)
        await press(pilot, "down")
        await press(pilot, "down")

    play(filled, "canny", act, terminal=Terminal(pictures=kind, cell=(1, 2) if kind == "blocks" else (8, 16)))
    if kind == "kitty":  # every picture that was sent is let go in the end
        kept = [data for data in sent if "a=T" in data]
        assert len(kept) == 3 and sorted(sent) == sorted(
            [*kept, *(kitty.forget(int(re.search(r"i=(\d+)", data)[1])) for data in kept)]
        )


def test_scrolling_reads_blocks_as_they_come(filled):
    import benchmarks.million as million

    million.make(filled, 1500, "large")

    async def act(pilot: Pilot[None]) -> None:
        grid = pilot.app.screen.query_one(Grid)
        expected = [row["sample_id"] for row in grid.pages.page(0, 1500)]
        assert "1 of 1,500" in screen(pilot)
        await press(pilot, "end")
        assert "1,500 of 1,500" in screen(pilot) and expected[-1][:8] in screen(pilot)
        await press(pilot, "pageup", "k")
        assert grid.row["sample_id"] == expected[grid.cursor] and grid.cursor < 1499
        await press(pilot, "home", *["pagedown"] * 12)
        assert grid.row["sample_id"] == expected[grid.cursor] and grid.cursor > 80
        assert len(grid._blocks) < 20  # not the whole table

    play(filled, "large", act)


def test_texts_cannot_steer_the_terminal(root):
    steering = "a\x1b]0;x\x07b\x1b[2J\x9bc"
    row = make_row(root, 1, caption=steering, source_uri=f"/clips/{steering}.mp4", own=steering)
    marks = Marks(root, "canny")
    marks.say(row["sample_id"], note=steering)
    said = {
        "reviewed_at": datetime.now(UTC),
        "reviewer": steering,
        "review": "accept",
        "review_note": steering,
    }
    shown = [_fit(name, row[name], 40) for name in ("caption", "source_uri")]
    shown += [samples.facts(row, marks, [steering]).plain, _words(row, steering, [said]).plain]
    for text in shown:
        assert "a\ufffd]0;x" in text and not set(text) & {"\x1b", "\x07", "\x9b"}
