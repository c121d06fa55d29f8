"""What survives a kill: atomic checkpoints, a progress file that is cut back to them, and the wish to stop."""

from __future__ import annotations

import csv
import itertools
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from understudy.atomic import OUTPUT, new_file
from understudy.failpoints import failpoint


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state (tensors and plain containers); the old checkpoint or the new one is there, whole.

    Raises:
        OutputError: if the disk is full.
    """
    with new_file(
        path,
        remedy=f"{OUTPUT}; with --resume it goes on from the last checkpoint",
        before_rename=lambda: failpoint("checkpoint.write"),
    ) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # which torch's writer puts in the place of what the file said
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    failpoint("checkpoint.written")


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint without executing anything in it, or None where there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def random_state() -> dict[str, Any]:
    """The state of torch's generators: what dropout and masking draw from."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put the generators back."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


class ProgressLog:
    """``progress.csv``: one row a report, in the order of time, with fixed columns and empty cells."""

    def __init__(self, path: Path, columns: list[str], *, writes: bool = True) -> None:
        self.path = path
        self.columns = columns
        self.writes = writes
        if writes and not (path.exists() and path.stat().st_size):
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; a key that is no column is an error."""
        if not self.writes:
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def position(self) -> int:
        """The size of the file: what :meth:`cut` goes back to."""
        return self.path.stat().st_size if self.writes else 0

    def cut(self, position: int) -> None:
        """Forget the rows that were written after a checkpoint."""
        if self.writes and self.path.stat().st_size > position:
            os.truncate(self.path, position)

    def forget(self, phase: str) -> None:
        """Drop a phase's rows, for it starts again, and whatever follows them; a torn row too."""
        if not self.writes:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = itertools.takewhile(
            lambda line: line.endswith(b"\n") and not line.startswith(f"{phase},".encode()), lines
        )
        self.cut(sum(map(len, kept)))


class Stop:
    """Why running work should come to an end: a signal, or a time budget that is spent.

    Inside ``with``, SIGTERM and Ctrl-C only raise a flag, so that the work can write its checkpoint; a second one ends
    the process in the usual way.
    """

    def __init__(self, *, budget_s: float | None = None) -> None:
        self.signal_number: int | None = None
        self.deadline = None if budget_s is None else time.monotonic() + budget_s
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            pass  # not the main thread, where no handler can be set: the caller's own apply
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        signal.signal(number, self._previous.get(number) or signal.SIG_DFL)

    def remaining(self) -> float | None:
        """Seconds left of the budget; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def out_of_time(self, share_left: float = 0.0) -> bool:
        """Whether less than `share_left` seconds remain."""
        remaining = self.remaining()
        return remaining is not None and remaining <= share_left
