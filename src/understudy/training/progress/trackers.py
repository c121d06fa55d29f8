"""What a person sees while it trains: a progress bar, or plain lines where there is no terminal, and trackers."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from understudy.errors import ConfigError, require

TRACKERS = ("tensorboard", "wandb")


class Display:
    """One bar at a time, on standard error; in a log file, a line every half minute."""

    def __init__(self, *, visible: bool = True) -> None:
        self._console = Console(stderr=True)
        self._terminal = visible and self._console.is_terminal
        self._lines = visible and not self._terminal
        self._progress: Progress | None = None
        self._last_line = 0.0

    def start(self, title: str, total: int, *, done: int = 0) -> None:
        """Begin a bar of `total` units of which `done` are behind us."""
        self.close()
        self._title, self._total, self._done = title, total, done
        self._last_line = time.monotonic()
        if self._terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}", style="dim", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task(title, total=total, completed=done, detail="")
            self._progress.start()

    def update(self, done: int, detail: str = "") -> None:
        """Move the bar to `done` units."""
        self._done = done
        if self._progress is not None:
            self._progress.update(self._task, completed=done, detail=detail)
        elif self._lines and (time.monotonic() - self._last_line > 30 or done == self._total):
            self._last_line = time.monotonic()
            print(f"  {self._title}: {done:,} of {self._total:,}  {detail}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar; what it showed last stays."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_tracker(name: str | None) -> None:
    """Fail early, and with the install line, where a tracker was asked for that is not installed.

    Raises:
        ConfigError: if there is no such tracker.
        UnderstudyError: if it is not installed.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise ConfigError(f"track must be one of {', '.join(TRACKERS)}, but is {name!r}.")
    require(name, extra="tracking")


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as trackers take it: numbers and strings, nested names joined by dots.

    Example:
        >>> flat({"epochs": 3, "bilstm": {"hidden": 256}, "text": ["a", "b"]})
        {'epochs': 3, 'bilstm.hidden': 256, 'text': 'a b'}
    """
    rows: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            rows |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        elif isinstance(value, list | tuple):
            rows[key] = " ".join(map(str, value))
        else:
            rows[key] = value if isinstance(value, int | float | str) else str(value)
    return rows
