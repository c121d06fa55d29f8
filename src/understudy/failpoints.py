"""Named places where a test kills the process, to check that what is then on disk is enough to continue."""

from __future__ import annotations

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Send the process SIGKILL if the environment variable ``UNDERSTUDY_FAILPOINT`` is ``name``.

    ``name:n`` does so at the n-th call, ``name:n:SIGTERM`` with another signal. Without the variable nothing happens.

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
