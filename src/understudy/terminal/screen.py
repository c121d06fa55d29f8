"""Tables, plans and progress bars on the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.segment import Segment

from understudy.terminal.lines import is_silent, visible
from understudy.terminal.notebook import in_notebook

_WIDE = 120
"""Columns of a table in a notebook."""


class Screen(Console):
    """A console of `rich`. Its own control sequences reach the terminal; those inside of texts are shown as escapes.

    Args:
        options: those of `rich`'s console.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(quiet=is_silent(), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """The segments of what is printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class Drawn(list[dict[str, Any]]):
    """What a command returns, with the tables that it would print: a notebook shows these in its place.

    Args:
        entries: what is returned.
        tables: of `rich`.
    """

    def __init__(self, entries: Iterable[dict[str, Any]], tables: Sequence[Any]) -> None:
        super().__init__(entries)
        self._tables = tables

    def _repr_html_(self) -> str:
        screen = Screen(record=True, file=io.StringIO(), force_jupyter=False, width=_WIDE)
        for table in self._tables:
            screen.print(table)
        return screen.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def draw_or_return(entries: list[dict[str, Any]], *tables: Any) -> list[dict[str, Any]]:
    """Print tables of entries, and return the entries; in a notebook what returns is the table, and nothing is printed."""
    if in_notebook():
        return Drawn(entries, tables)
    for table in tables:
        draw(table)
    return entries


def draw(renderable: Any) -> None:
    """Print a table on standard output."""
    Screen().print(renderable)
