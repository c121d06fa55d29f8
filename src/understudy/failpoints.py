"""Named places where a test may kill the process, to see that what is on disk then is enough to go on from."""

from __future__ import annotations

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die by SIGKILL if ``UNDERSTUDY_FAILPOINT`` is ``name``, or ``name:n`` and this is the n-th passing.

    Without the variable it does nothing.

    Example:
        >>> failpoint("checkpoint.write")
    """
    armed = os.environ.get("UNDERSTUDY_FAILPOINT")
    if armed is None:
        return
    wanted, _, count = armed.partition(":")
    if wanted == name:
        _passed[name] += 1
        if _passed[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
