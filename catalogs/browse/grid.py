"""A table that shows the rows under its window alone, and so scrolls through a million as through ten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from catalogs import describe
from catalogs.browse.pages import Pages
from catalogs.console import printable
from catalogs.errors import AvcontrolError

_BLOCK, _KEPT = 64, 64
_NARROW = {"sample_id": 8, "review": 2, "quality": 8, "motion": 7, "stage": 9, "reason": 16}
_WIDE = {"caption": 5, "message": 5, "source_uri": 3}  # shares of what is left
_FIRST_TO_GO = ("timeline",)


class Grid(ScrollView, can_focus=True):
    """The rows of :class:`Pages`, with a cursor.

    Args:
        mark: What stands before a row: a character and its colour.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--header", "grid--cursor", "grid--sorted"}
    DEFAULT_CSS = """
    Grid { scrollbar-size-vertical: 1; }
    Grid > .grid--header { text-style: bold; color: $text-muted; }
    Grid > .grid--sorted { text-style: bold; color: $text-accent; }
    Grid > .grid--cursor { background: $primary-darken-1; color: $text; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", "Page down", show=False),
        Binding("home,g", "jump(0)", "First", show=False),
        Binding("end,G", "jump(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]

    class Highlighted(Message):
        """The cursor stands on another row."""

        def __init__(self, grid: Grid, row: Mapping[str, Any]) -> None:
            self.grid, self.row = grid, row
            super().__init__()

    class Chosen(Highlighted):
        """Enter was pressed on a row."""

    class Failed(Message):
        """Rows could not be read."""

        def __init__(self, error: AvcontrolError) -> None:
            self.error = error
            super().__init__()

    class Sorted(Message):
        """A column's head was clicked."""

        def __init__(self, column: str) -> None:
            self.column = column
            super().__init__()

    def __init__(
        self, mark: Callable[[Mapping[str, Any]], tuple[str, str]] | None = None, **given: Any
    ) -> None:
        super().__init__(**given)
        self.pages: Pages | None = None
        self.cursor = 0
        self._mark = mark
        self._blocks: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._asked: set[int] = set()
        self._known = 0

    def show(self, pages: Pages, first: list[dict[str, Any]], count: int | None = None) -> None:
        """Show other pages, of which the first block is at hand; the count may follow (:meth:`counted`)."""
        self.pages, self.cursor = pages, 0
        self._blocks.clear()
        self._asked.clear()
        self._blocks[0] = first
        self.counted(len(first) if count is None else count)
        self.scroll_to(y=0, animate=False)
        self._moved()

    def counted(self, count: int) -> None:
        """There are so many rows."""
        self._known = count
        self.virtual_size = Size(0, count + 1)
        self.refresh()

    @property
    def count(self) -> int:
        """How many rows are known of."""
        return self._known

    @property
    def row(self) -> dict[str, Any] | None:
        """The row under the cursor, if it is there and was read."""
        return self.at(self.cursor) if self.cursor < self._known else None

    def at(self, index: int) -> dict[str, Any] | None:
        """A row; None until it was read, which happens in a thread where it takes longer than a look-up."""
        number, place = divmod(index, _BLOCK)
        if number not in self._blocks and self.pages is not None:
            if self.pages.ready:
                self._keep(self.pages, number, self.pages.page(number * _BLOCK, _BLOCK))
            elif number not in self._asked:
                self._asked.add(number)
                self.run_worker(lambda: self._read(self.pages, number), thread=True, group="rows")
        block = self._blocks.get(number, [])
        return block[place] if place < len(block) else None

    def render_line(self, y: int) -> Strip:
        """The head, then the rows."""
        width = self.size.width
        widths = self._widths(width)
        if y == 0:
            return self._head(widths).adjust_cell_length(width, self.rich_style)
        index = int(self.scroll_offset.y) + y - 1
        if index >= self._known:
            return Strip.blank(width, self.rich_style)
        row = self.at(index)
        style = self.get_component_rich_style("grid--cursor") if index == self.cursor else self.rich_style
        if row is None:
            return Strip([Segment(" …", style)]).adjust_cell_length(width, style)
        sign, colour = self._mark(row) if self._mark else ("", "")
        parts = [Segment(f"{sign or ' '} ", style + Style(color=colour or None))] if self._mark else []
        for name, size in widths.items():
            parts.append(Segment(f"{_fit(name, row.get(name), size)} ", style))
        return Strip(parts).adjust_cell_length(width, style)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._to(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move by a window."""
        self._to(self.cursor + by * max(1, self.size.height - 2))

    def action_jump(self, to: int) -> None:
        """Go to the first or the last row."""
        self._to(to if to >= 0 else self._known - 1)

    def action_choose(self) -> None:
        """Open the row."""
        if self.row is not None:
            self.post_message(self.Chosen(self, self.row))

    def on_click(self, event: events.Click) -> None:
        """A row is chosen, a column's head sorts."""
        if event.y:
            self._to(int(self.scroll_offset.y) + event.y - 1)
            return
        left = 2 if self._mark else 0
        for name, size in self._widths(self.size.width).items():
            if left <= event.x < left + size:
                self.post_message(self.Sorted(name))
            left += size + 1

    def _to(self, index: int) -> None:
        self.cursor = max(0, min(index, self._known - 1))
        window = max(1, self.size.height - 1)
        if not self.scroll_offset.y <= self.cursor < self.scroll_offset.y + window:
            top = self.cursor if self.cursor < self.scroll_offset.y else self.cursor - window + 1
            self.scroll_to(y=top, animate=False, immediate=True)
        self.refresh()
        self._moved()

    def _moved(self) -> None:
        if self.row is not None:
            self.post_message(self.Highlighted(self, self.row))

    def _read(self, pages: Pages | None, number: int) -> None:
        assert pages is not None
        try:
            rows = pages.page(number * _BLOCK, _BLOCK)
        except AvcontrolError as error:
            self.post_message(self.Failed(error))
            return
        self.app.call_from_thread(self._keep, pages, number, rows)
        self.app.call_from_thread(self._moved)

    def _keep(self, pages: Pages, number: int, rows: list[dict[str, Any]]) -> None:
        if pages is self.pages:
            self._blocks[number] = rows
            self._asked.discard(number)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
            self.refresh()

    def _head(self, widths: Mapping[str, int]) -> Strip:
        assert self.pages is not None or not widths
        plain, other = (self.get_component_rich_style(f"grid--{name}") for name in ("header", "sorted"))
        parts = [Segment("  ", plain)] if self._mark else []
        for name, size in widths.items():
            sort = self.pages is not None and name == self.pages.sort
            arrow = ("↓" if self.pages and self.pages.descending else "↑") if sort else ""
            title = _LABELS.get(name, name)
            text = title[: size - len(arrow)] + arrow
            text = text.rjust(size) if name in _NUMBERS else text
            parts.append(Segment(f"{set_cell_size(text, size)} ", other if sort else plain))
        return Strip(parts)

    def _widths(self, width: int) -> dict[str, int]:
        if self.pages is None:
            return {}
        names = list(self.pages.columns)
        if self.pages.sort and self.pages.sort not in names:
            names.insert(min(2, len(names)), self.pages.sort)
        if width < 90:
            names = [name for name in names if name not in _FIRST_TO_GO or name == self.pages.sort]
        fixed = {name: _NARROW.get(name, 16) for name in names if name not in _WIDE}
        left = width - 1 - (2 if self._mark else 0) - sum(size + 1 for size in fixed.values())
        shares = {name: _WIDE[name] for name in names if name in _WIDE}
        flexible = {name: max(6, left * share // sum(shares.values()) - 1) for name, share in shares.items()}
        return {name: fixed.get(name) or flexible[name] for name in names}


_LABELS = {"sample_id": "sample", "source_uri": "source"}
_NUMBERS = ("quality", "motion")


def _fit(name: str, value: Any, size: int) -> str:
    """A value in exactly so many cells: numbers to the right, paths by their end, what is cut with an ellipsis."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = describe.figure(value)
        return set_cell_size(text.rjust(size), size)
    text = "" if value is None else printable(" ".join(str(value).split()))
    if name == "sample_id":
        return set_cell_size(text, size)
    if name == "source_uri":
        text = text.rpartition("/")[2]
    return set_cell_size(text if len(text) <= size else text[: size - 1] + "…", size)
