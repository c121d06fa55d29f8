"""Faults of the data, collected so that all of them are reported together; and how messages name things."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from understudy.errors import DataError

_SHOWN = 5
"""How many rows are shown for one kind of fault in one file; the others are counted."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, for a message.

    Example:
        >>> counted(1, "row"), counted(2681, "row")
        ('1 row', '2,681 rows')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def quoted(names: Sequence[str]) -> str:
    """Names for a message, in quotes: the first 20, then how many more there are.

    Example:
        >>> quoted(["text", "label"])
        "'text', 'label'"
    """
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(f"'{name}'" for name in names[:20]) + more


def place_of(origin: str, unit: str, number: int) -> str:
    """The place of a row, for messages.

    Args:
        unit: what `number` counts: lines or rows from 1, or ``position``: rows of an object in Python, from 0.

    Example:
        >>> place_of("reviews.csv", "line", 318), place_of("the DataFrame", "position", 318)
        ('reviews.csv, line 318', 'row 318 of the DataFrame')
    """
    return f"row {number} of {origin}" if unit == "position" else f"{origin}, {unit} {number}"


class Faults:
    """A growing list of messages. Where many rows have one fault, the first few are shown and the rest are counted.

    Example:
        >>> faults = Faults()
        >>> faults.rows("a.csv", "without a label", range(7), lambda row: f"a.csv, line {row + 2}: no label.")
        >>> print(faults.messages()[-1])
        a.csv: 2 more rows without a label.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many faults were ever reported. Compare it before and after a step to see whether the step went well."""
        self._single: list[str] = []
        self._shown: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, message: str) -> None:
        """Add a single fault. It is reported once, however often it is added."""
        self.count += 1
        if message not in self._single:
            self._single.append(message)

    def row(self, origin: str, what: str, message: str) -> None:
        """Add a fault of one row of `origin`; `what` completes the phrase "3 more rows {what}"."""
        self.rows(origin, what, [0], lambda _: message)

    def rows(self, origin: str, what: str, rows: Sequence[int] | np.ndarray, say: Callable[[int], str]) -> None:
        """Add a fault that many rows share; `say` makes the message of a row and is called only for those shown."""
        if not len(rows):
            return
        self.count += len(rows)
        shown = self._shown.setdefault((origin, what), [])
        shown += [say(int(row)) for row in rows[: _SHOWN - len(shown)]]
        self._counts[origin, what] = self._counts.get((origin, what), 0) + len(rows)

    def messages(self) -> list[str]:
        """All messages: first the single ones, then those of rows."""
        found = list(self._single)
        for (origin, what), shown in self._shown.items():
            found += shown
            more = self._counts[origin, what] - len(shown)
            if more:
                found.append(f"{origin}: {counted(more, 'more row')} {what}.")
        return found

    def check(self) -> None:
        """Raise a :class:`~understudy.errors.DataError` with every fault, if there are any."""
        if self:
            raise DataError(*self.messages())
