"""Where values lie in a chart, and at which of them its axes have ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """From values to places: straight, or over the logarithm.

    Example:
        >>> Scale(0, 10, 100, 200)(5)
        150.0
        >>> Scale(1, 100, 0, 100, log=True)(10)
        50.0
    """

    low: float
    high: float
    start: float
    """Where ``low`` lies."""
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, at = (math.log(part) if self.log else part for part in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between two ends: 1, 2 or 5 times a power of ten apart.

    Example:
        >>> ticks(0.0, 1.0), ticks(83.2, 91.7, 5)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [84.0, 86.0, 88.0, 90.0])
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * times for times in (1, 2, 5, 10, 20) if (high - low) / (power * times) <= most)
    digits = max(0, -math.floor(math.log10(step)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, digits) for place in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Values between two ends for a logarithmic axis: powers of ten, with 3 or with 2 and 5 where there is room.

    Example:
        >>> log_ticks(0.9, 120), log_ticks(3, 40)
        ([1.0, 3.0, 10.0, 30.0, 100.0], [5.0, 10.0, 20.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for times in ((1, 2, 5), (1, 3), (1,)):
        found = [t * 10.0**power for power in powers for t in times if low <= t * 10.0**power <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def widened(
    values: Sequence[float], share: float = 0.08, *, least: float | None = None, most: float | None = None
) -> tuple[float, float]:
    """The ends of an axis: those of the values with some room, not beyond ``least`` and ``most``.

    Example:
        >>> widened([0.5, 0.9, 1.0], 0.1, most=1.0)
        (0.45, 1.0)
    """
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 0.05
    low, high = low - room, high + room
    low = low if least is None else max(low, min(least, min(values)))
    high = high if most is None else min(high, max(most, max(values)))
    return low, high
