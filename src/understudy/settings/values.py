"""Values that are written in a form of their own: rates, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from understudy.errors import ConfigError, shortened

_LARGEST = 2**32 - 1
"""The largest whole number that every generator of random numbers takes as its seed."""
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_NO_NUMBER = re.compile(r"\d{1001}")
"""Python reads no number of 5,000 digits, as in layers:N or in a list of layers; and nobody means one."""


def parse_rate(given: float | str | None) -> float | tuple[float, float] | Literal["auto"] | None:
    """A learning rate as it was given: a number, those of the first and the last layer, or that it is to be found.

    Raises:
        ConfigError: if it is none of these, not positive, or a range that is the wrong way round.

    Example:
        >>> parse_rate("5e-5"), parse_rate("1e-5:1e-3"), parse_rate("auto"), parse_rate(None)
        (5e-05, (1e-05, 0.001), 'auto', None)
    """
    if given is None or given == "auto":
        return given  # type: ignore[return-value]
    parts = [as_number(part) for part in str(given).split(":")]
    rates = [part for part in parts if isinstance(part, float) and 0 < part < math.inf]
    if len(rates) != len(parts) or len(rates) > 2:
        raise ConfigError(
            f"learning_rate must be a positive number such as 5e-5, two for the first and the last layer such as 1e-5:1e-3, or auto, but is {shortened(given)}."
        )
    if rates[0] > rates[-1]:
        raise ConfigError(
            f"learning_rate {given} is the wrong way round: the first layer's rate comes first and is the lower one. Did you mean {':'.join(reversed(str(given).split(':')))}?"
        )
    return rates[0] if len(rates) == 1 else (rates[0], rates[1])


def as_number(text: str) -> float | str:
    """The number that a text is, or the text."""
    try:
        return float(text)
    except ValueError:
        return text


def seconds(duration: str) -> float | None:
    """The seconds of ``90s``, ``30m``, ``1.5h``, or None if it is no duration.

    Example:
        >>> seconds("1.5h"), seconds("90s"), seconds("soon")
        (5400.0, 90.0, None)
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smh])", duration.strip())
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else None


def unusable(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings that no computation and no file system can take, by name, with a sentence on each.

    Example:
        >>> dict(unusable({"clip": float("inf"), "bilstm": {"hidden": 10**12}}))["clip"]
        'clip must be a finite number, but is inf.'
    """
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from unusable(value, f"{name}.")
        for part in value if isinstance(value, list | tuple) else [value]:
            if rule := _broken_rule(part):
                yield name, f"{name} must be {rule}, but is {shortened(part)}."


def _broken_rule(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"at most {_LARGEST:,}" if value > 0 else f"at least {-_LARGEST:,}"
    if isinstance(value, str) and _NO_NUMBER.search(value):
        return "without numbers of more than 1,000 digits"
    if isinstance(value, str) and _NO_TEXT.search(value):
        return "text (in UTF-8, without NUL; rename such a file)"
    return None
