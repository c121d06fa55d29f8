"""How the numbers of a record are written for people."""

from __future__ import annotations

import math

ABSENT = "–"
"""Stands in place of a number that a record does not have."""


def number(value: object) -> float | None:
    """A value of a record as a float, or None if it is not a finite number.

    Example:
        >>> number(3), number(float("nan")), number(None), number("3")
        (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def human_count(value: object) -> str:
    """A count of parameters, three digits or so.

    Example:
        >>> human_count(25_312_000), human_count(1_200_000), human_count(999_970), human_count(812), human_count(None)
        ('25.3M', '1.2M', '1.0M', '812', '–')
        >>> human_count(109_483_778)
        '109M'
    """
    return _scaled(number(value), ("", "k", "M", "B", "T"))


def human_bytes(value: object) -> str:
    """A size on disk, in powers of 1000.

    Example:
        >>> human_bytes(3_412_345), human_bytes(512), human_bytes(1_339_000_000)
        ('3.4 MB', '512 B', '1.3 GB')
    """
    return _scaled(number(value), (" B", " kB", " MB", " GB", " TB"))


def _scaled(value: float | None, units: tuple[str, ...]) -> str:
    if value is None:
        return ABSENT
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.{0 if power == 0 or abs(value) >= 99.95 else 1}f}{units[power]}"


def human_milliseconds(value: object) -> str:
    """A latency, given in milliseconds.

    Example:
        >>> [human_milliseconds(value) for value in (0.2149, 8.04, 12.91, 123.4, 2310)]
        ['0.21 ms', '8.04 ms', '12.9 ms', '123 ms', '2.31 s']
    """
    milliseconds = number(value)
    if milliseconds is None:
        return ABSENT
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.{2 if milliseconds < 9.995 else 1 if milliseconds < 99.95 else 0}f} ms"


def human_rate(value: object) -> str:
    """A throughput, in units a second.

    Example:
        >>> human_rate(12345.6), human_rate(3.21)
        ('12,346', '3.2')
    """
    rate = number(value)
    return ABSENT if rate is None else f"{rate:,.1f}" if rate < 9.95 else f"{rate:,.0f}"


def human_seconds(value: object) -> str:
    """A duration, given in seconds.

    Example:
        >>> human_seconds(3.25), human_seconds(200), human_seconds(7384)
        ('3.2 s', '3 min 20 s', '2 h 3 min')
    """
    seconds = number(value)
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
