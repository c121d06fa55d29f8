"""Names that stand for rows which were given in Python. What makes and reads them is in `in_python`."""

from __future__ import annotations

import re

HELD = re.compile(r"<.+, ([0-9a-f]{16})>")


def is_held(name: str) -> bool:
    """Whether a name stands for rows that were given in Python.

    Example:
        >>> is_held("<DataFrame of 318 rows (text, label), 0123456789abcdef>"), is_held("reviews.csv")
        (True, False)
    """
    return HELD.fullmatch(name) is not None
