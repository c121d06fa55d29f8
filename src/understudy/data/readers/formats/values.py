"""Values of any type as the cells of a table: strings, lists and objects as JSON, what is missing as null."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

from understudy.data.arrow_columns import string_column
from understudy.data.readers.formats.parsed import Parsed


def as_strings(parsed: Parsed, name: str, values: list[Any], places: list[int] | range) -> pa.Array:
    """Values of any type as strings, None as null. A column with a list is noted in ``parsed.lists``."""
    cells = [value if isinstance(value, str) or value is None else _cell(parsed, name, value) for value in values]
    try:
        return string_column(cells)
    except UnicodeEncodeError:
        broken = [
            row for row, cell in enumerate(cells) if cell is not None and cell.encode(errors="replace").decode() != cell
        ]
        parsed.faults.rows(
            parsed.origin,
            "with half a character",
            broken,
            lambda row: (
                f"{parsed.where(places[row])}: half a character (a lone surrogate) in column '{name}'. Remove it."
            ),
        )
        return string_column([None] * len(cells))


def _cell(parsed: Parsed, name: str, value: Any) -> str | None:
    """A value as a string; not-a-number is a missing value, as null is."""
    if hasattr(value, "tolist"):  # a number or an array of numpy
        value = value.tolist()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # what is missing in pandas
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        value = sorted(value) if isinstance(value, set | frozenset) else list(value)
        parsed.lists.add(name)
    if isinstance(value, dict):
        parsed.objects.add(name)
    if isinstance(value, float):
        return None if math.isnan(value) else repr(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        parsed.faults.add(f"{parsed.origin}: a value in column '{name}' is nested too deeply. Write flat objects.")
        return ""
