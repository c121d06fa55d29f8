"""Lines for people on standard error and standard output, and data on standard output.

A label, a column or the name of a file may hold escape sequences that rename the window, hide lines or type commands.
They are shown as escapes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and line feeds, changes of the direction of writing, and halves of characters."""


_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def silence(asked: bool = True) -> Iterator[None]:
    """Inside, no message, no table and no progress bar is shown. Data, and what is raised, are not touched.

    Args:
        asked: whether it is to be silent; otherwise it stays as it is.

    Example:
        >>> with silence():
        ...     show("nothing")
    """
    before = _silent.set(_silent.get() or asked)
    try:
        yield
    finally:
        _silent.reset(before)


def is_silent() -> bool:
    """Whether nothing is shown at the moment."""
    return _silent.get()


def visible(text: object) -> str:
    r"""A text with its control characters as escapes.

    Example:
        >>> print(visible("a \x1b[31mred\x07 label"))
        a \x1b[31mred\x07 label
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: object) -> None:
    """Print a message on standard error."""
    if not is_silent():
        _print(visible(text), sys.stderr)


def show(text: object) -> None:
    """Print a message on standard output."""
    if not is_silent():
        _print(visible(text), sys.stdout)


def give(text: str) -> None:
    """Print data, such as a generated text, on standard output: as it is, unless that is a terminal."""
    _print(visible(text) if sys.stdout.isatty() else text, sys.stdout)


def _print(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
