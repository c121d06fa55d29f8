"""Tables, plans and progress bars on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from understudy.terminal.lines import is_silent, visible


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


def draw(renderable: Any) -> None:
    """Print a table on standard output."""
    Screen().print(renderable)
