"""Faults of the data, gathered so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from understudy.errors import DataError

_SHOWN = 5
"""Rows shown of one kind of fault in one file; the others are counted."""


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "row"), counted(2681, "row")
        ('1 row', '2,681 rows')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


class Faults:
    """A growing list of messages; faults of many rows are shown by their first few and counted.

    Example:
        >>> faults = Faults()
        >>> faults.rows("a.csv", "without a label", range(7), lambda row: f"a.csv, line {row + 2}: no label.")
        >>> print(faults.messages()[-1])
        a.csv: 2 more rows without a label.
    """

    def __init__(self) -> None:
        self.count = 0
        """Everything ever reported; whoever wants to know whether a step went well compares it."""
        self._single: list[str] = []
        self._shown: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, message: str) -> None:
        """A fault that stands for itself; said once, however often it is added."""
        self.count += 1
        if message not in self._single:
            self._single.append(message)

    def row(self, origin: str, what: str, message: str) -> None:
        """One row of `origin` with the fault `what` (as in "3 more rows {what}")."""
        self.rows(origin, what, [0], lambda _: message)

    def rows(self, origin: str, what: str, rows: Sequence[int] | np.ndarray, say: Callable[[int], str]) -> None:
        """Many rows with the same fault; `say` words a row and is called for the few that are shown."""
        if not len(rows):
            return
        self.count += len(rows)
        shown = self._shown.setdefault((origin, what), [])
        shown += [say(int(row)) for row in rows[: _SHOWN - len(shown)]]
        self._counts[origin, what] = self._counts.get((origin, what), 0) + len(rows)

    def messages(self) -> list[str]:
        """Everything that was found, files first, then rows."""
        found = list(self._single)
        for (origin, what), shown in self._shown.items():
            found += shown
            more = self._counts[origin, what] - len(shown)
            if more:
                found.append(f"{origin}: {counted(more, 'more row')} {what}.")
        return found

    def check(self) -> None:
        """Raise a :class:`~understudy.errors.DataError` with every fault, if there is one."""
        if self:
            raise DataError(*self.messages())
