"""The samples of a catalog: the table, the pair under the cursor, filter, sort and reviews."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from catalogs import describe
from catalogs.browse.background import background
from catalogs.browse.dialogs import Ask, Choose
from catalogs.browse.grid import Grid
from catalogs.browse.marks import SIGNS, Marks
from catalogs.browse.pages import Pages, row_of
from catalogs.browse.picture import Picture
from catalogs.browse.rejects import Rejects
from catalogs.browse.story import Story
from catalogs.browse.terminal import Terminal
from catalogs.browse.thumbnails import pair
from catalogs.console import printable
from catalogs.errors import AvcontrolError
from catalogs.ids import CatalogID
from catalogs.root import Root

_FIRST = 64
_REST_S = 0.12  # how long the cursor stands before its pair is drawn


class Samples(Screen[None]):
    """One catalog, opened.

    Args:
        root: Where it lies.
        catalog: Which rows.
        terminal: How to draw pictures.
    """

    DEFAULT_CSS = """
    Samples #title { height: 1; background: $panel; }
    Samples #id { width: 1fr; text-style: bold; padding: 0 1; }
    Samples #place { width: auto; color: $text-muted; padding: 0 1; }
    Samples #body { height: 1fr; layout: vertical; }
    Samples Grid { height: 1fr; }
    Samples #detail { height: 10; layout: horizontal; border-top: solid $panel;
        border-title-color: $text-muted; }
    Samples Picture { width: 1fr; height: 1fr; }
    Samples #facts { width: 28%; height: 1fr; padding: 0 0 0 1; }
    Samples #filter { display: none; height: 1; border: none; padding: 0 1; background: $boost; }
    Samples #error { display: none; height: auto; max-height: 3; padding: 0 1; color: $text-error; }
    Samples.-wide #body { layout: horizontal; }
    Samples.-wide #detail { width: 46%; height: 1fr; layout: vertical; border-top: none; border-left: solid $panel; }
    Samples.-wide #facts { width: 1fr; height: 45%; padding: 1 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "review('accept')", "Accept"),
        Binding("r", "review('reject')", "Reject"),
        Binding("n", "note", "Note"),
        Binding("u", "review('')", "Take the review back", show=False),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("S", "reverse", "Reverse the order", show=False),
        Binding("x", "rejects", "Rejects"),
        Binding("c,escape", "app.catalogs", "Catalogs", key_display="c"),
        Binding("y", "copy", "Copy the catalog ID", show=False),
        Binding("f5", "reload", "Read the newest version", show=False),
        Binding("question_mark,f1", "app.help", "Help", key_display="?"),
    ]

    def __init__(self, root: Root, catalog: CatalogID, terminal: Terminal) -> None:
        super().__init__()
        self.root, self.asked, self._terminal = root, catalog, terminal
        self.pages: Pages | None = None
        self.marks = Marks(root, catalog.name)
        self._shown: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        """The title, the table and the pair."""
        with Horizontal(id="title"):
            yield Static(str(self.asked), id="id", markup=False)
            yield Static("opening …", id="place", markup=False)
        with Container(id="body"):
            yield Grid(self.marks.sign, id="grid")
            with Container(id="detail") as detail:
                detail.border_title = "reference and target"
                yield Picture(self._terminal, id="picture")
                yield Static(id="facts", markup=False)
        yield Static(id="error", markup=False)
        yield Input(id="filter", placeholder="quality > 0.5 AND caption LIKE '%rain%'", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Read the first page."""
        self._grid.focus()
        self._open(self.asked, "", False)

    @property
    def _grid(self) -> Grid:
        return self.query_one(Grid)

    # What is shown

    @background("open")
    def _open(self, catalog: CatalogID, sort: str, descending: bool) -> None:
        """Open pages and show their first; a condition that does not fit says so and changes nothing."""
        before = self.pages
        try:
            same = before is not None and catalog == self.asked
            pages = (
                before.sorted_by(sort, descending)
                if same and before
                else Pages(self.root, catalog, sort, descending)
            )
            first = pages.page(0, _FIRST)
        except AvcontrolError as error:
            self.app.call_from_thread(self._refuse, str(error))
            return
        self.app.call_from_thread(self._opened, catalog, pages, first)
        try:
            count = pages.count()
            self.app.call_from_thread(self._counted, pages, count)
            pages.prepare()
        except AvcontrolError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        self.app.call_from_thread(self._place)

    def _opened(self, catalog: CatalogID, pages: Pages, first: list[dict[str, Any]]) -> None:
        self.asked, self.pages = catalog, pages
        self.query_one("#id", Static).update(str(pages.catalog))
        self._close_filter()
        self._grid.show(pages, first, pages.count() if pages.ready else None)
        self._place()
        self._read_marks()
        if not first:
            self._show({}, [])

    def _counted(self, pages: Pages, count: int) -> None:
        if pages is self.pages:
            self._grid.counted(count)
            self._place()

    def _place(self, note: str = "") -> None:
        if self.pages is None:
            return
        count = f"{self._grid.count:,}"
        place = (
            f"{min(self._grid.cursor + 1, self._grid.count):,} of {count}"
            if self._grid.count
            else "no samples"
        )
        order = f"  {self.pages.sort} {'↓' if self.pages.descending else '↑'}" if self.pages.sort else ""
        self.query_one("#place", Static).update(f"{note or place}{order}")

    def on_grid_highlighted(self, event: Grid.Highlighted) -> None:
        """Draw the pair once the cursor rests."""
        self._place()
        self._draw(dict(event.row))

    @background("detail")
    def _draw(self, listed: dict[str, Any]) -> None:
        from textual.worker import get_current_worker

        worker = get_current_worker()
        time.sleep(_REST_S)
        if worker.is_cancelled or self.pages is None:
            return
        try:
            row = row_of(self.root, self.pages.catalog, listed["sample_id"])
        except AvcontrolError as error:
            self.app.call_from_thread(self._show, listed, [str(error)])
            return
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show, row, [])
            size = self.query_one(Picture).pixels
            if min(size) > 1 and self._terminal.pictures != "none":
                image, said = pair(self.root, row, size)
                if not worker.is_cancelled:
                    self.app.call_from_thread(self._show, row, said)
                    self.app.call_from_thread(self.query_one(Picture).show, image)

    def _show(self, row: Mapping[str, Any], said: list[str]) -> None:
        if row.get("sample_id") != self._shown.get("sample_id"):
            self.query_one(Picture).show(None)
        self._shown = dict(row)
        self.query_one("#facts", Static).update(facts(row, self.marks, said) if row else "")

    def on_resize(self) -> None:
        """Draw the pair in its new size."""
        if self._shown.get("sample_id"):
            self._draw(self._shown)

    def on_grid_failed(self, event: Grid.Failed) -> None:
        """Say why rows are missing."""
        self.notify(str(event.error), severity="error", markup=False)

    # Filter and sort

    def action_filter(self) -> None:
        """Edit the condition."""
        box = self.query_one("#filter", Input)
        box.display, box.value = True, self.asked.where or ""
        box.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Filter by what was written; nothing means every sample."""
        where = event.value.strip() or None
        pinned = self.asked.reviews if where == self.asked.where else None
        self._open(replace(self.asked, where=where, reviews=pinned), *self._order())

    def on_key(self, event: Any) -> None:
        """Leave the filter as it was."""
        if event.key == "escape" and self.query_one("#filter", Input).has_focus:
            event.stop()
            self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#error", Static).display = False
        self._grid.focus()

    def _refuse(self, why: str) -> None:
        error = self.query_one("#error", Static)
        error.display = True
        error.update(why)
        self._place("" if self.pages else "not opened")

    def action_sort(self) -> None:
        """Choose the column to sort by."""
        if self.pages:
            names = ["(as stored)", *self.pages.names]
            self.app.push_screen(Choose("Sort by", names, self.pages.sort), self._sort)

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self.pages and self.pages.sort:
            self._resort(self.pages.sort, not self.pages.descending)

    def on_grid_sorted(self, event: Grid.Sorted) -> None:
        """Sort by the clicked column; again, the other way round."""
        if self.pages:
            self._resort(event.column, self.pages.sort == event.column and not self.pages.descending)

    def _sort(self, column: str | None) -> None:
        if column is not None:
            self._resort("" if column.startswith("(") else column, False)

    def _resort(self, column: str, descending: bool) -> None:
        self._place("sorting …")
        self._open(self.asked, column, descending)

    def _order(self) -> tuple[str, bool]:
        return (self.pages.sort, self.pages.descending) if self.pages else ("", False)

    def action_reload(self) -> None:
        """Read the newest version, unless the ID names one."""
        self.pages = None
        self._open(self.asked, "", False)

    # Reviews

    @background("marks", exclusive=False)
    def _read_marks(self) -> None:
        try:
            self.marks.read()
        except AvcontrolError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
        self.app.call_from_thread(self._grid.refresh)

    def action_review(self, verdict: str) -> None:
        """Review the sample under the cursor and go to the next."""
        if self._grid.row is not None:
            self._review(self._grid.row["sample_id"], verdict=verdict)
            self._grid.action_move(1)

    def action_note(self) -> None:
        """Write a note on the sample under the cursor."""
        row = self._grid.row
        if row is not None:
            _, note = self.marks.of(row["sample_id"])
            self.app.push_screen(
                Ask(f"Note on {row['sample_id'][:12]}", note or ""),
                lambda text: None if text is None else self._review(row["sample_id"], note=text),
            )

    def _review(self, sample_id: str, **said: str) -> None:
        self.marks.say(sample_id, **said)
        self._grid.refresh()
        if self._shown.get("sample_id") == sample_id:
            self._show(self._shown, [])
        self._write()

    @background("reviews", exclusive=False)
    def _write(self) -> None:
        try:
            self.marks.write()
        except AvcontrolError as error:
            self.app.call_from_thread(self.notify, f"not written: {error}", severity="error", markup=False)

    # Elsewhere

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        """The whole story of a sample."""
        if self.pages:
            sample_id = event.row["sample_id"]
            self.app.push_screen(Story(self.root, self.pages.catalog, sample_id, self.marks, self._terminal))

    def action_rejects(self) -> None:
        """What could not become a sample, and why."""
        self.app.push_screen(Rejects(self.root, self.asked.name))

    def action_copy(self) -> None:
        """The pinned ID, to train on what is shown."""
        if self.pages:
            self.app.copy_to_clipboard(str(self.pages.catalog))
            self.notify(f"copied {self.pages.catalog}", markup=False)

    def commands(self) -> Iterable[SystemCommand]:
        """What the palette offers here."""
        todo: list[tuple[str, str, Callable[[], Any]]] = [
            ("Accept", "this sample", lambda: self.action_review("accept")),
            ("Reject", "this sample", lambda: self.action_review("reject")),
            ("Take the review back", "of this sample", lambda: self.action_review("")),
            ("Note", "on this sample", self.action_note),
            ("Filter", "by an SQL condition", self.action_filter),
            ("Reverse", "the order", self.action_reverse),
            ("Rejects", "what could not become a sample, and why", self.action_rejects),
            ("Copy the catalog ID", "pinned, to train on what is shown", self.action_copy),
            ("Reload", "read the newest version", self.action_reload),
        ]
        for title, help_text, act in todo:
            yield SystemCommand(title, help_text, act)
        for name in self.pages.names if self.pages else []:
            yield SystemCommand(f"Sort by {name}", "", lambda name=name: self._resort(name, False))


def facts(row: Mapping[str, Any], marks: Marks, said: list[str]) -> Text:
    """What stands beside the pair."""
    verdict, note = marks.of(row["sample_id"])
    text = Text(f"{row['sample_id'][:12]}", "bold")
    if verdict:
        sign, colour = SIGNS[verdict]
        text.append(f" {sign} {verdict}ed", colour)
    text.append(f"\n{' '.join((row.get('caption') or 'no caption').split())}\n", "not bold")
    text.append("".join(f"{line[:70]}\n" for line in said), "red not bold")
    if note:
        text.append(f"“{note}”\n", "italic not bold")
    text.append(f"{describe.where(row)}\n", "dim not bold")
    figures = [f"{name} {describe.figure(value)}" for name, value in describe.figures(row).items()]
    text.append("\n".join(figures), "dim not bold")
    text.plain = printable(text.plain)
    return text
