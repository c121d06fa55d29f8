"""Whether the rows of a test file stand in the order of the leaderboard, which knows answers by the place of their row."""

from __future__ import annotations

import numpy as np

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults
from understudy.data.readers.labels.cells import whole
from understudy.data.readers.labels.values import distinct_values

_NUMBERS = ("index", "idx", "id")
"""What the column with the numbers of the rows is called."""


def check_numbers(table: SourceTable, faults: Faults) -> None:
    """Add a fault for each row of a test file that says it is another one than its place says; empty cells say nothing."""
    column = next((name for name in _NUMBERS if name in table.names), None)
    if column is None:
        return
    values, codes = distinct_values(table, column)
    said = np.array([_place(value) for value in values] + [0], dtype=np.int64)[codes]
    faults.rows(
        table.origin,
        "in another place",
        np.flatnonzero((said != np.arange(len(codes))) & (codes >= 0)),
        lambda row: (
            f"{table.where(row)}: '{column}' is '{values[codes[row]]}', but this is row {row}, counted from 0, and the leaderboard knows an answer by the place of its row. Get the test file again, or leave --submit out."
        ),
    )


def _place(value: str) -> int:
    """The number of a row; -1 for what is none."""
    number = whole(value)
    return int(number) if number is not None and len(number) < 18 else -1
