"""The other end of :mod:`understudy.runs.fitting.beside`: a process that trains one phase, and goes when its parent does.

What it is to train comes through its standard input, from the process that started it and from nowhere else. The end of
that input is the end of the parent.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import threading

_LENGTH = 8
"""Bytes of the number that says how long the work is."""


def framed(work: bytes) -> bytes:
    """Work with its length before it, as :func:`main` reads it.

    Example:
        >>> framed(b"abc")[-4:]
        b'\\x03abc'
    """
    return len(work).to_bytes(_LENGTH, "big") + work


def main(*given: int) -> None:
    """Load what training needs while the parent does other things, then train what it sends.

    Args:
        given: what the work is called with.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which says what to do
    reader = _Reader()
    reader.start()
    importlib.import_module("understudy.runs.fitting.beside")
    reader.received.wait()
    code = pickle.loads(reader.work)(*given)  # noqa: S301
    os._exit(code)  # at once: the reader still waits


class _Reader(threading.Thread):
    """Reads the work from standard input, then waits for the input's end, and ends the process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.work, self.received = b"", threading.Event()

    def run(self) -> None:
        """Read until the parent is gone."""
        length = int.from_bytes(_read(_LENGTH), "big")
        self.work = _read(length)
        self.received.set()
        _read(1)


def _read(count: int) -> bytes:
    """So many bytes; the process ends if they do not come any more."""
    parts, left = list[bytes](), count
    while left:
        part = os.read(0, min(left, 1 << 20))
        if not part:
            os._exit(1)
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
