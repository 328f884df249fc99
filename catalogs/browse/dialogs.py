"""Small questions over the screen: a line of text, one of several, and what the keys do."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

_CSS = """
%(name)s { align: center middle; background: $background 60%%; }
%(name)s > * { width: 64; max-width: 94%%; height: auto; max-height: 90%%; background: $surface; border: round $primary;
    border-title-color: $text; padding: 0 1; }
"""


class Ask(ModalScreen[str | None]):
    """Asks for a line; Escape gives None."""

    DEFAULT_CSS = _CSS % {"name": "Ask"} + "Ask Input { border: none; background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave")]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The line."""
        with Vertical() as box:
            box.border_title, box.border_subtitle = self._title, "Enter writes, Escape leaves"
            yield Input(self._text, compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer."""
        self.dismiss(event.value.strip())


class Choose(ModalScreen[str | None]):
    """Asks for one of several, found by typing its start; Escape gives None."""

    DEFAULT_CSS = (
        _CSS % {"name": "Choose"} + "Choose OptionList { border: none; height: auto; max-height: 16; }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave")]

    def __init__(self, title: str, names: list[str], chosen: str = "") -> None:
        super().__init__()
        self._title, self._names, self._chosen = title, names, chosen

    def compose(self) -> ComposeResult:
        """The names and the line that narrows them."""
        with Vertical() as box:
            box.border_title, box.border_subtitle = self._title, "type to narrow, Enter chooses"
            yield Input(placeholder="…", compact=True)
            yield OptionList(*self._names)

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        if self._chosen in self._names:
            self.query_one(OptionList).highlighted = self._names.index(self._chosen)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the names that hold what was typed."""
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options([name for name in self._names if event.value.lower() in name.lower()])
        listed.highlighted = 0

    def on_key(self, event: object) -> None:
        """Arrows move in the list while the line is typed into."""
        key = getattr(event, "key", "")
        if key in ("down", "up") and self.query_one(Input).has_focus:
            listed = self.query_one(OptionList)
            (listed.action_cursor_down if key == "down" else listed.action_cursor_up)()

    def on_input_submitted(self) -> None:
        """Choose the highlighted name."""
        listed = self.query_one(OptionList)
        if listed.highlighted is not None and listed.option_count:
            self.dismiss(str(listed.get_option_at_index(listed.highlighted).prompt))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose it."""
        self.dismiss(str(event.option.prompt))


class Help(ModalScreen[None]):
    """What the keys do."""

    DEFAULT_CSS = _CSS % {"name": "Help"}
    BINDINGS: ClassVar[list[BindingType]] = [("escape,question_mark,f1,q,enter", "dismiss", "Leave")]

    def compose(self) -> ComposeResult:
        """The keys."""
        table = Table.grid(padding=(0, 2))
        for keys, does in _KEYS:
            table.add_row(f"[bold]{keys}[/]", does)
        with VerticalScroll() as box:
            box.border_title, box.border_subtitle = "Keys", "Escape leaves"
            yield Static(table)


_KEYS = (
    ("↑ ↓  k j", "move; PgUp PgDn (or space) by a page, Home End (g G) to the ends"),
    ("Enter", "the sample: strip of the pair, story, reviews, all columns"),
    ("a  r", "accept, reject, and on to the next"),
    ("n  u", "write a note, take the review back"),
    ("/", "filter by an SQL condition: quality > 0.5, review = 'accept', caption LIKE '%rain%'"),
    ("s  S", "sort by a column (or click its head), turn the order round"),
    ("x", "rejects: what could not become a sample, and why"),
    ("c  Esc", "catalogs and their versions"),
    ("y", "copy the pinned catalog ID, to train on what is shown"),
    ("F5", "read the newest version"),
    ("Ctrl+P", "the palette: everything by name"),
    ("q  Ctrl+Q", "leave; reviews are written as you give them"),
)
