"""The table of ``understudy params``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from understudy.report.numbers import ABSENT, human_bytes
from understudy.report.tables.cells import lines, plain_table


def parameters_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Parameters by component, and bytes; several models stand side by side, each with its ratio to the first.

    Args:
        entries: one for each model, as ``understudy params --json`` prints them.
    """
    table = plain_table()
    table.add_column("")
    counts: list[dict[str, int]] = []
    for entry in entries:
        heading = lines(str(entry["name"]), "to the first") if counts else Text(str(entry["name"]))
        table.add_column(heading, justify="right", overflow="fold")
        counts.append({part["name"]: part["parameters"] for part in entry["components"]})
    for name in _merged([list(count) for count in counts]):
        table.add_row(Text(name), *_beside([count.get(name) for count in counts], "{:,}".format))
    table.add_section()
    table.add_row("parameters", *_beside([entry["parameters"] for entry in entries], "{:,}".format), style="bold")
    for kind in entries[0]["bytes"]:
        table.add_row(kind, *_beside([entry["bytes"][kind] for entry in entries], human_bytes))
    return table


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names, each once, in an order that agrees with each given order as far as these agree with one another.

    Layers are sorted by number; a pooler and then the head stand above them, even if one model has fewer layers and
    another has no pooler.

    Example:
        >>> _merged([["embeddings", "layer 0", "layer 1", "head"], ["embeddings", "layer 0", "pooler"]])
        ['embeddings', 'layer 0', 'layer 1', 'pooler', 'head']
    """
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name in merged:
                place = merged.index(name) + 1
            else:
                merged.insert(place, name)
                place += 1
    rising = iter(sorted((name for name in merged if _height(name)), key=_height))
    return [next(rising) if _height(name) else name for name in merged]


def _height(name: str) -> tuple[int, ...]:
    """The place of a component that models have in common, from the input up; empty for any other module."""
    if layer := re.match(r"layers? (\d+)", name):
        return 1, int(layer[1])
    return {"embeddings": (0, 0), "final norm": (2, 0), "pooler": (2, 1), "head": (3, 0)}.get(name, ())


def _beside(values: Sequence[int | None], shown: Callable[[int], str]) -> list[Text]:
    """The cells of a row: each value, from the second on with its ratio to the first."""
    cells: list[Text] = []
    for value in values:
        if value is None:
            cells.append(Text(ABSENT))
        elif cells and values[0]:
            cells.append(Text.assemble(shown(value), (f"  {value / values[0]:.2f}x", "dim not bold")))
        else:
            cells.append(Text(shown(value)))
    return cells
