"""The table of ``understudy fill-mask``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from understudy.report.tables.cells import plain_table


def fillings_table(entry: Mapping[str, Any]) -> Table:
    """The likeliest words for each mask of one text.

    Args:
        entry: as ``understudy fill-mask --json`` prints it.
    """
    table = plain_table()
    several = len(entry["masks"]) > 1
    if several:
        table.add_column("mask", justify="right")
    table.add_column("word")
    table.add_column("probability", justify="right")
    table.add_column("text", overflow="fold")
    for number, fillings in enumerate(entry["masks"], 1):
        for place, filling in enumerate(fillings):
            mask = [Text(str(number) if place == 0 else "")] if several else []
            table.add_row(*mask, Text(filling["token"]), _probability(filling["probability"]), Text(filling["text"]))
        table.add_section()
    return table


def _probability(value: float) -> str:
    """Three decimals, or one digit and the power of ten for what would round to 0.000.

    Example:
        >>> _probability(0.07457), _probability(0.00004)
        ('0.075', '4e-05')
    """
    return f"{value:.3f}" if value >= 0.0005 else f"{value:.0e}"
