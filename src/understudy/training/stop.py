"""Why running work should end: a signal, or a time budget that is spent."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from understudy.errors import Interrupted

OUT_OF_TIME = "time budget"
"""What training is said to have been stopped by where its time was spent."""


class Stop:
    """A request to end running work: a signal, or a spent time budget.

    Inside ``with``, SIGTERM and Ctrl-C only set :attr:`signal_number`, so that the work can write its checkpoint. A
    second signal ends the process in the usual way.

    Args:
        budget_s: seconds from now after which :meth:`out_of_time` is true; None for no limit.
    """

    def __init__(self, *, budget_s: float | None = None) -> None:
        self.signal_number: int | None = None
        self.deadline = None if budget_s is None else time.monotonic() + budget_s
        self._previous: dict[int, Any] = {}
        self._at_once = False

    def __enter__(self) -> Stop:
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            pass  # only the main thread can set handlers; elsewhere the caller's own apply
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        signal.signal(number, self._previous.get(number) or signal.SIG_DFL)
        if self._at_once:
            raise Interrupted(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal ends the work where it is: for work without checkpoints, which a resumed run does again.

        Raises:
            Interrupted: on a signal, one that came before included.
        """
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def remaining(self) -> float | None:
        """Seconds left of the budget; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def out_of_time(self, seconds_left: float = 0.0) -> bool:
        """Whether at most `seconds_left` seconds of the budget remain."""
        remaining = self.remaining()
        return remaining is not None and remaining <= seconds_left

    def share(self, part: float) -> float | None:
        """Seconds that are a part of what is left of the budget, at least 0; None without one."""
        remaining = self.remaining()
        return None if remaining is None else max(remaining, 0.0) * part
