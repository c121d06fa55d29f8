"""What all tables share: their look, and cells of several lines."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def plain_table(*, title: str | None = None, caption: str | Text | None = None) -> Table:
    """An empty table with a line under its header and no other borders."""
    return Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def lines(first: str, *rest: str) -> Text:
    """A cell of several lines, the most important one first and the others dim. `Text`, so that brackets are no markup."""
    return Text.assemble(first, *[("\n" + line, "dim not bold") for line in rest])
