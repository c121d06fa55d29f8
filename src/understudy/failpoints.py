"""Named places where a test may kill the process, to see that what is on disk then is enough to go on from."""

from __future__ import annotations

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die if ``UNDERSTUDY_FAILPOINT`` is ``name``, or ``name:n`` and this is the n-th passing.

    By SIGKILL, or by another signal that the variable names: ``name:n:SIGTERM``. Without it nothing happens.

    Example:
        >>> failpoint("checkpoint.write")
    """
    armed = os.environ.get("UNDERSTUDY_FAILPOINT")
    if armed is None:
        return
    wanted, count, kind = armed.split(":") + ["1", "SIGKILL"][armed.count(":") :]
    if wanted == name:
        _passed[name] += 1
        if _passed[name] == int(count):
            os.kill(os.getpid(), signal.Signals[kind])
