"""One sample whole: its strip, its story, what was said of it, and every column."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from catalogs import describe, review
from catalogs.browse.background import background
from catalogs.browse.marks import Marks
from catalogs.browse.pages import row_of
from catalogs.browse.picture import Picture
from catalogs.browse.terminal import Terminal
from catalogs.browse.thumbnails import pair
from catalogs.console import printable
from catalogs.errors import AvcontrolError
from catalogs.explain import explain, render
from catalogs.ids import CatalogID
from catalogs.root import Root


class Story(Screen[None]):
    """A sample on a screen of its own."""

    DEFAULT_CSS = """
    Story #title { height: 1; background: $panel; padding: 0 1; text-style: bold; }
    Story Picture { width: 1fr; height: 40%; min-height: 6; margin: 0 1; }
    Story VerticalScroll { height: 1fr; padding: 0 1; border-top: solid $panel; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "Back"),
        Binding("question_mark,f1", "app.help", "Help", key_display="?"),
    ]

    def __init__(
        self, root: Root, catalog: CatalogID, sample_id: str, marks: Marks, terminal: Terminal
    ) -> None:
        super().__init__()
        self._root, self._catalog, self._sample, self._marks = root, catalog, sample_id, marks
        self._terminal = terminal
        self._row: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        """The strip above the words."""
        yield Static(
            f"{self._sample}  {self._catalog.name}@{self._catalog.version}", id="title", markup=False
        )
        yield Picture(self._terminal)
        with VerticalScroll():
            yield Static("reading …", id="words", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Read."""
        self.query_one(VerticalScroll).focus()
        self._tell()

    def on_resize(self) -> None:
        """Draw the strip in its new size."""
        if self._row:
            self._draw()

    @background("story")
    def _tell(self) -> None:
        try:
            self._row = row_of(self._root, self._catalog, self._sample)
            self.app.call_from_thread(self._draw)
            pinned = f"{self._catalog.name}@{self._catalog.version}"
            told = render(explain(self._root, self._sample, pinned))
            said = review.history(self._root, self._catalog.name, self._sample)
        except AvcontrolError as error:
            self.app.call_from_thread(self.query_one("#words", Static).update, str(error))
            return
        self.app.call_from_thread(self.query_one("#words", Static).update, _words(self._row, told, said))

    @background("picture")
    def _draw(self) -> None:
        picture = self.query_one(Picture)
        if self._terminal.pictures != "none" and min(picture.pixels) > 1:
            image, said = pair(self._root, self._row, picture.pixels, strip=True)
            self.app.call_from_thread(picture.show, image)
            if said:
                self.app.call_from_thread(self.notify, "\n".join(said), severity="warning", markup=False)


def _words(row: dict[str, Any], told: str, said: list[dict[str, Any]]) -> Text:
    text = Text()
    if said:
        text.append("reviews\n", "bold")
    for each in said:
        note = f" “{each['review_note']}”" if each["review_note"] else ""
        verdict = {None: "", "": "taken back"}.get(each["review"], f"{each['review']}ed")
        text.append(f"  {each['reviewed_at']:%Y-%m-%d %H:%M}  {each['reviewer']}  {verdict}{note}\n")
    for line in told.splitlines():
        text.append(f"{line}\n", "bold" if line and not line.startswith(" ") else "")
    text.append("\ncolumns\n", "bold")
    width = max(len(name) for name in row)
    for name, value in row.items():
        shown = "" if value is None else describe.figure(value)
        text.append(f"  {name:<{width}}  {shown}\n")
    text.plain = printable(text.plain)
    return text
