"""What a notebook shows: whether there is one, tables in HTML, a bar that moves in its cell."""

from __future__ import annotations

import base64
import html
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.terminal.lines import visible

_PAUSE_S = 0.1
"""Between two pictures of a bar: more would only keep the browser busy."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask is not None else None
    return hasattr(shell, "kernel")


def html_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """A table in HTML; every cell is escaped, numbers are at the right.

    Example:
        >>> html_table(["name"], [["<b>"]])
        '<table><thead><tr><th>name</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    title = f"<caption>{_escaped(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{_escaped(name)}</th>" for name in heads)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(value: object) -> str:
    right = ' style="text-align:right"' if isinstance(value, int | float) else ""
    return f"<td{right}>{_escaped(value)}</td>"


def _escaped(value: object) -> str:
    return html.escape(visible(value))


class Picture:
    """A picture that a notebook shows in its cell.

    Args:
        path: of a PNG file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Picture({str(self.path)!r})"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


class Pictures(list[Picture]):
    """Pictures that a notebook shows below each other."""

    def _repr_html_(self) -> str:
        return "".join(
            f'<img alt="{_escaped(picture.path.stem)}" src="data:image/png;base64,{base64.b64encode(picture.path.read_bytes()).decode()}">'
            for picture in self
        )


class ShownRows(list[dict[str, Any]]):
    """Rows with named cells, which a notebook shows as a table; ``pandas.DataFrame(rows)`` takes them as they are."""

    def _repr_html_(self) -> str:
        heads = list(dict.fromkeys(name for row in self for name in row))
        return html_table(heads, [[row.get(name, "") for name in heads] for row in self])


class NotebookBar:
    """A progress bar in the cell of a notebook: one line, which is drawn again in its place.

    Args:
        title: what moves.
        total: units.
    """

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._began, self._last = title, total, time.monotonic(), 0.0
        self._display: Any = importlib.import_module("IPython.display")
        self._handle: Any = self._display.display(self._line(0, ""), display_id=True)

    def update(self, done: int, detail: str) -> None:
        """Draw the bar at `done` units, unless it has just been drawn."""
        now = time.monotonic()
        if done < self._total and now - self._last < _PAUSE_S:
            return
        self._last = now
        self._handle.update(self._line(done, detail))

    def _line(self, done: int, detail: str) -> Any:
        passed = time.monotonic() - self._began
        left = f", {_clock(passed * (self._total - done) / done)} left" if 0 < done < self._total else ""
        said = f"{done:,} of {self._total:,} {detail} ({_clock(passed)}{left})"
        return self._display.HTML(
            f'{_escaped(self._title)} <progress value="{done}" max="{max(self._total, 1)}"></progress> {_escaped(said)}'
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
