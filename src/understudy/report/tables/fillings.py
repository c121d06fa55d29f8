"""The table of ``understudy fill-mask``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text


def fillings_table(entry: Mapping[str, Any]) -> Table:
    """The words for the gaps of one text, gap by gap.

    Args:
        entry: as ``understudy fill-mask --json`` prints it.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    several = len(entry["masks"]) > 1
    if several:
        table.add_column("mask", justify="right")
    table.add_column("word")
    table.add_column("probability", justify="right")
    table.add_column("text", overflow="fold")
    for number, fillings in enumerate(entry["masks"], 1):
        for place, filling in enumerate(fillings):
            mask = [Text(str(number) if place == 0 else "")] if several else []
            table.add_row(*mask, Text(filling["token"]), _share(filling["probability"]), Text(filling["text"]))
        table.add_section()
    return table


def _share(probability: float) -> str:
    """Three places, or the order of what would be nothing then.

    Example:
        >>> _share(0.07457), _share(0.00004)
        ('0.075', '4e-05')
    """
    return f"{probability:.3f}" if probability >= 0.0005 else f"{probability:.0e}"
