"""The application: the list of catalogs and their versions, and what is opened from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from catalogs import summary
from catalogs.browse.background import background
from catalogs.browse.dialogs import Help
from catalogs.browse.samples import Samples
from catalogs.browse.terminal import Terminal
from catalogs.errors import AvcontrolError
from catalogs.ids import CatalogID
from catalogs.root import Root


class Browse(App[None]):
    """Browse the catalogs of a root.

    Args:
        root: Where they lie.
        catalog: The one to open; None for the list.
        terminal: How to draw pictures.
    """

    TITLE = "avcontrol"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (so it is declared in Textual)
        (0, "-narrow"),
        (130, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+q", "leave", "Quit", key_display="q")]

    def __init__(
        self, root: Root, catalog: CatalogID | None = None, terminal: Terminal | None = None
    ) -> None:
        super().__init__()
        self._root, self._catalog, self._terminal = root, catalog, terminal or Terminal()
        self._warned = False

    def on_mount(self) -> None:
        """Open the catalog, or the list."""
        if self._catalog is None:
            self.push_screen(Catalogs(self._root))
        else:
            self.open(self._catalog)

    def open(self, catalog: CatalogID) -> None:
        """Show a catalog's samples."""
        self.push_screen(Samples(self._root, catalog, self._terminal))

    def action_catalogs(self) -> None:
        """Go (back) to the list."""
        if isinstance(self.screen, Samples):
            self.pop_screen()
        if not isinstance(self.screen, Catalogs):
            self.push_screen(Catalogs(self._root))

    def action_help(self) -> None:
        """What the keys do."""
        self.push_screen(Help())

    async def action_leave(self) -> None:
        """Quit once the last review is written."""
        writing = [worker for worker in self.workers if worker.group == "reviews"]
        if writing:
            await self.workers.wait_for_complete(writing)
        lost = sum(screen.marks.waiting for screen in self.screen_stack if isinstance(screen, Samples))
        if lost and not self._warned:
            self._warned = True
            said = f"{lost} review{'s' * (lost > 1)} could not be written; q again leaves without"
            self.notify(said, severity="error", markup=False)
            return
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette."""
        if isinstance(screen, Samples):
            yield from screen.commands()
        yield SystemCommand("Catalogs", "list them and their versions", self.action_catalogs)
        yield SystemCommand("Keys", "what they do", self.action_help)
        yield SystemCommand("Quit", "", self.action_leave)


class Catalogs(Screen[None]):
    """Catalogs above, the versions of the one under the cursor below."""

    DEFAULT_CSS = """
    Catalogs #title { height: 1; background: $panel; padding: 0 1; text-style: bold; }
    Catalogs DataTable { height: 1fr; scrollbar-size-vertical: 1; }
    Catalogs #versions { border-top: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Catalogs or versions"),
        Binding("question_mark,f1", "app.help", "Help", key_display="?"),
    ]

    def __init__(self, root: Root) -> None:
        super().__init__()
        self._root = root

    def compose(self) -> ComposeResult:
        """Two tables."""
        yield Static(f"catalogs of {self._root.uri}: Enter opens one, or a version", id="title", markup=False)
        yield DataTable(id="catalogs", cursor_type="row")
        yield DataTable(id="versions", cursor_type="row")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Read the list."""
        self.query_one("#catalogs", DataTable).add_columns(
            "catalog", "version", "samples", "rejects", "timelines"
        )
        self.query_one("#versions", DataTable).add_columns(
            "version", "when", "operation", "added", "removed", "run"
        )
        self._list()

    @background("catalogs")
    def _list(self) -> None:
        try:
            rows = summary.catalogs(self._root)
        except AvcontrolError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        self.app.call_from_thread(self._fill, "#catalogs", rows, "catalog")
        if not rows:
            said = f"no catalogs under {self._root.uri}; `avcontrol build` makes the first one"
            self.app.call_from_thread(self.query_one("#title", Static).update, said)

    @background("versions")
    def _versions(self, name: str) -> None:
        try:
            rows = summary.versions(self._root, CatalogID(name=name))
        except AvcontrolError as error:
            rows = [{"version": name, "operation": str(error)}]
        self.app.call_from_thread(self._fill, "#versions", rows, "version")

    def _fill(self, table: str, rows: list[dict[str, Any]], key: str) -> None:
        listed = self.query_one(table, DataTable)
        listed.clear()
        for row in rows:
            cells = [_shown(row.get(str(column.label))) for column in listed.ordered_columns]
            listed.add_row(*cells, key=str(row[key]))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show its versions."""
        if event.data_table.id == "catalogs" and event.row_key.value:
            self._versions(event.row_key.value)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a catalog at its newest version, or at the chosen one."""
        if event.row_key.value and isinstance(self.app, Browse):
            self.app.open(CatalogID.parse(event.row_key.value))


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
