"""What a person sees during training: a progress bar, or plain lines if there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from understudy.terminal.lines import is_silent, say
from understudy.terminal.notebook import NotebookBar, in_notebook
from understudy.terminal.screen import Screen

_ROOMY = 115
"""Columns of a terminal that holds a bar and its detail on one line."""


class _Bar(Progress):
    """A progress bar; on a narrow terminal its detail has a line of its own below, so that neither is cut."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and below it what does not fit beside it."""
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["detail"] and self.console.width < _ROOMY:
                yield Text(f"  {task.fields['detail']}", style="dim", no_wrap=True)


class Display:
    """One progress bar at a time, on standard error or in the cell of a notebook. Without either: a line every 30 seconds.

    Args:
        visible: False to show nothing.
    """

    def __init__(self, *, visible: bool = True) -> None:
        visible = visible and not is_silent()
        self._console = Screen(stderr=True)
        self._notebook = visible and in_notebook()
        self._cell: NotebookBar | None = None
        self._terminal = visible and self._console.is_terminal
        self._lines = visible and not self._terminal and not self._notebook
        self._progress: Progress | None = None
        self._last_line = 0.0

    def start(self, title: str, total: int, *, done: int = 0) -> None:
        """Begin a bar of `total` units, of which `done` are finished."""
        self.close()
        self._title, self._total, self._done = title, total, done
        self._arrived = False
        self._last_line = time.monotonic()
        if self._notebook:
            self._cell = NotebookBar(title, total)
            self._cell.update(done, "")
        elif self._terminal:
            roomy = self._console.width >= _ROOMY
            self._progress = _Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28 if roomy else 20),
                MofNCompleteColumn(),
                *([TextColumn("{task.fields[detail]}", style="dim", markup=False)] if roomy else []),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task(title, total=total, completed=done, detail="")
            self._progress.start()

    def update(self, done: int, detail: str = "") -> None:
        """Move the bar to `done` units."""
        self._done = done
        if self._cell is not None:
            self._cell.update(done, detail)
        elif self._progress is not None:
            self._progress.update(self._task, completed=done, detail=detail)
        elif self._lines and not self._arrived and (time.monotonic() - self._last_line > 30 or done == self._total):
            self._last_line, self._arrived = time.monotonic(), done == self._total
            say(f"  {self._title}: {done:,} of {self._total:,}  {detail}")

    def close(self) -> None:
        """End the bar. It stays on the screen as it was last shown."""
        self._cell = None
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
