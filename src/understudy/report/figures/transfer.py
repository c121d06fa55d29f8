"""Which task helps which: the gains of a record of ordered pairs, as a table and as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.table import Table

from understudy.report.look import FAINT, INK, plain, save_figure, style
from understudy.report.numbers import ABSENT, number
from understudy.report.scores import Record
from understudy.report.tables.cells import plain_table

_HARM_TO_HELP = LinearSegmentedColormap.from_list("gain", ["#d1495b", "#f6f1ea", "#3a7d44"])


class Gain(NamedTuple):
    """What training on another task first adds to a task's score, times 100, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def gains_of(record: Record) -> dict[tuple[str, str], Gain]:
    """The gains of a record, by the task and the one before it.

    Example:
        >>> gain = {"task": "rte", "after": "mrpc", "value": 0.02, "interval": [-0.01, 0.05]}
        >>> gains_of({"models": [{"name": "rte after mrpc", "gain": gain}]})[("rte", "mrpc")].is_clear
        False
    """
    found = {}
    for model in record["models"]:
        gain: Mapping[str, Any] = model.get("gain") or {}
        ends = [number(value) for value in (gain.get("value"), *(gain.get("interval") or (None, None)))]
        if None not in ends:
            value, low, high = (100 * end for end in ends if end is not None)
            found[str(gain["task"]), str(gain["after"])] = Gain(value, low, high)
    return found


def _tasks(gains: Mapping[tuple[str, str], Gain]) -> list[str]:
    """All tasks, in the order in which they were given: the pairs of a record are in it, by the task."""
    return list(dict.fromkeys([task for task, _ in gains] + [after for _, after in gains]))


def gains_table(record: Record) -> Table:
    """A task a row, the task before it a column: the gain, times 100, with its interval; dim where that holds 0."""
    gains = gains_of(record)
    names = _tasks(gains)
    table = plain_table(title="Gain over direct training (times 100, 95 % interval; dim: the interval holds 0)")
    table.add_column("task", overflow="fold")
    for name in names:
        table.add_column(f"after {name}", justify="right", overflow="fold")
    for task in names:
        cells = []
        for after in names:
            gain = gains.get((task, after))
            text = ABSENT if gain is None else f"{gain.value:+.1f}\n{gain.low:+.1f}–{gain.high:+.1f}"
            cells.append(text if gain is None or gain.is_clear else f"[dim]{text}[/dim]")
        table.add_row(task, *cells)
    return table


def transfer_map(record: Record, out: Path) -> Path | None:
    """Draw the gains as a heat map: green where the other task helps, red where it harms, grey where the interval holds 0.

    Returns:
        `out`, or None if there are no gains.
    """
    gains = gains_of(record)
    if not gains:
        return None
    names = _tasks(gains)
    widest = max(max(abs(gain.value) for gain in gains.values()), 1e-6)
    norm = TwoSlopeNorm(0, -widest, widest)
    with style():
        figure = Figure(figsize=(2.2 + 1.15 * len(names), 1.6 + 0.85 * len(names)), layout="constrained")
        ax = figure.subplots()
        for i, task in enumerate(names):
            for j, after in enumerate(names):
                gain = gains.get((task, after))
                face = "white" if gain is None else _HARM_TO_HELP(norm(gain.value)) if gain.is_clear else "#dfe4e9"
                ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=2))
                if gain is not None:
                    ink = INK if gain.is_clear else FAINT
                    ax.text(j, i - 0.08, f"{gain.value:+.1f}", ha="center", va="center", color=ink, fontweight="bold")
                    ax.text(
                        j,
                        i + 0.24,
                        f"{gain.low:+.1f} to {gain.high:+.1f}",
                        ha="center",
                        va="center",
                        color=ink,
                        fontsize=7,
                    )
        ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        ax.set_xticks(range(len(names)), [plain(name) for name in names])
        ax.set_yticks(range(len(names)), [plain(name) for name in names])
        ax.grid(visible=False)
        ax.set_xlabel("trained on first")
        ax.set_ylabel("then on this, and scored on it")
        ax.set_title("Gain over direct training, times 100\ngrey: the 95 % interval holds 0")
        return save_figure(figure, out)
