"""What a comparison tunes: how the entries of ``compare --ranges`` are read, and what can be wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from understudy.errors import nearest

_FORM = "NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C"


class Tunable(NamedTuple):
    """Which values a setting may have."""

    least: float
    most: float
    whole: bool = False
    above: bool = False
    """Whether it must be above the least."""


TUNABLE = {
    "learning_rate": Tunable(0, math.inf, above=True),
    "epochs": Tunable(1, math.inf, whole=True),
    "batch_size": Tunable(1, math.inf, whole=True),
    "weight_decay": Tunable(0, math.inf),
    "warmup": Tunable(0, 1),
    "clip": Tunable(0, math.inf),
    "max_length": Tunable(3, math.inf, whole=True),
}
"""The settings that can be tuned: numbers that every model that is trained in steps uses."""
ORDERING = ("epochs", "batch_size", "max_length")
"""Those of them that decide which batches there are."""


class Range(NamedTuple):
    """The values of a setting that are tried: an interval, or a list."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[float, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the setting is a whole number."""
        return TUNABLE[self.name].whole


def read_range(entry: str) -> Range:
    """Read an entry, which has no fault.

    Example:
        >>> read_range("learning_rate=1e-5..1e-3:log")
        Range(name='learning_rate', low=1e-05, high=0.001, log=True, choices=())
        >>> read_range("batch_size=16,32").choices
        (16, 32)
    """
    name, _, values = entry.partition("=")
    if ".." not in values:
        return Range(name, choices=tuple(_number(value) for value in values.split(",")))
    ends, _, log = values.partition(":")
    low, high = (_number(end) for end in ends.split(".."))
    return Range(name, low, high, log == "log")


def ranges_faults(entries: Sequence[str]) -> list[str]:
    """What is wrong with the ranges, by themselves: every bad entry, and what is named twice."""
    faults = [fault for entry in entries for fault in _faults(entry)]
    names = [entry.partition("=")[0] for entry in entries]
    return faults + [
        f"--ranges names {name} more than once. Name it once." for name in dict.fromkeys(names) if names.count(name) > 1
    ]


def _faults(entry: str) -> list[str]:
    name, equals, values = entry.partition("=")
    if not equals:
        return [f"--ranges: an entry must be {_FORM}, but is '{entry}'."]
    if name not in TUNABLE:
        return [f"--ranges: what can be tuned is {', '.join(TUNABLE)}, but this is '{name}'.{nearest(name, TUNABLE)}"]
    ends, colon, log = values.partition(":")
    parts = ends.split("..") if ".." in ends else ends.split(",")
    if (".." in ends and len(parts) != 2) or (colon and (log != "log" or ".." not in ends)):
        return [f"--ranges: an entry must be {_FORM}, but is '{entry}'."]
    numbers = [_number(part) for part in parts]
    if bad := [part for part, number in zip(parts, numbers) if not math.isfinite(number)]:
        return [f"--ranges, {name}: '{bad[0]}' is no number. An entry must be {_FORM}."]
    known = TUNABLE[name]
    kind = "a whole number" if known.whole else "a number"
    faults = [
        f"--ranges, {name}: a value must be {kind} {_allowed(known)}, but is {part}."
        for part, number in zip(parts, numbers)
        if (known.whole and number != int(number))
        or not known.least <= number <= known.most
        or (known.above and number == known.least)
    ]
    if ".." in ends and numbers[0] >= numbers[1]:
        faults.append(f"--ranges, {name}: the first end must be below the second, but they are {ends}.")
    if log and numbers[0] <= 0:
        faults.append(
            f"--ranges, {name}: a logarithmic range begins above 0, but begins at {parts[0]}. Leave out :log."
        )
    if ".." not in ends and len(set(numbers)) < 2:
        faults.append(f"--ranges, {name}: there must be two values or more, but there is only {ends}.")
    return faults


def _allowed(known: Tunable) -> str:
    low = f"above {known.least:g}" if known.above else f"from {known.least:g}"
    return low if math.isinf(known.most) else f"{low} to {known.most:g}"


def _number(text: str) -> float:
    """A number, whole if it is written so; not a number where it is none."""
    if re.fullmatch(r"\s*\d+\s*", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return math.nan
