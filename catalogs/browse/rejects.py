"""The rejects of a catalog: how many for each reason, and each one with its message."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from catalogs import describe, summary
from catalogs.browse.background import background
from catalogs.browse.grid import Grid
from catalogs.browse.pages import REJECTED, Pages
from catalogs.console import printable
from catalogs.errors import AvcontrolError
from catalogs.ids import CatalogID
from catalogs.root import Root


class Rejects(Screen[None]):
    """What could not become a sample."""

    DEFAULT_CSS = """
    Rejects #title { height: 1; background: $panel; padding: 0 1; text-style: bold; }
    Rejects DataTable { height: auto; max-height: 7; margin: 0 0 1 0; scrollbar-size-vertical: 1; }
    Rejects Grid { height: 1fr; }
    Rejects #message { height: 4; padding: 0 1; border-top: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,x", "app.pop_screen", "Back"),
        Binding("tab", "app.focus_next", "Reasons or rejects"),
        Binding("question_mark,f1", "app.help", "Help", key_display="?"),
    ]

    def __init__(self, root: Root, name: str) -> None:
        super().__init__()
        self._root, self._catalog = root, CatalogID(name=name)

    def compose(self) -> ComposeResult:
        """Reasons, rejects, the message of one."""
        yield Static(f"rejects of {self._catalog}", id="title", markup=False)
        yield DataTable(cursor_type="row", zebra_stripes=False)
        yield Grid()
        yield Static("reading …", id="message", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Read the reasons."""
        self.query_one(DataTable).add_columns("rejects", "stage", "reason")
        self._reasons()

    @background("reasons")
    def _reasons(self) -> None:
        try:
            reasons = summary.reasons(self._root, self._catalog)
        except AvcontrolError as error:
            self.app.call_from_thread(self.query_one("#message", Static).update, str(error))
            return
        self.app.call_from_thread(self._listed, reasons)

    def _listed(self, reasons: list[dict[str, Any]]) -> None:
        table = self.query_one(DataTable)
        table.add_row(sum(row["rejects"] for row in reasons), "all", "", key="")
        for row in reasons:
            chosen = " AND ".join(f"{name} = '{row[name]}'" for name in ("stage", "reason"))
            table.add_row(row["rejects"], row["stage"], row["reason"], key=chosen)
        table.focus()
        if not reasons:
            self.query_one("#message", Static).update("no rejects: every clip became a sample")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the rejects of one reason."""
        self._open(event.row_key.value or "")

    @background("open")
    def _open(self, where: str) -> None:
        catalog = CatalogID(name=self._catalog.name, where=where or None)
        try:
            pages = Pages(self._root, catalog, columns=REJECTED, kind="rejects")
            first, count = pages.page(0, 64), pages.count()
            self.app.call_from_thread(self.query_one(Grid).show, pages, first, count)
            pages.prepare()
        except AvcontrolError as error:
            self.app.call_from_thread(self.query_one("#message", Static).update, str(error))

    def on_grid_highlighted(self, event: Grid.Highlighted) -> None:
        """Its message."""
        said = f"{event.row['message']}\n{describe.where(event.row)}\n{event.row['source_uri']}"
        self.query_one("#message", Static).update(printable(said))
