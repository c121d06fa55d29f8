"""Processor cores and threads, as far as they are settled before torch is loaded."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

MOST_THREADS = 4096
"""More threads than any machine has: above it, a number is a mistake."""
_BRIEFLY = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""Of GNU's OpenMP, about 50 microseconds (300,000, milliseconds, by default); of LLVM's, in milliseconds (200)."""
_CHOSEN_BY = ("OMP_WAIT_POLICY", *_BRIEFLY)
"""Each says how threads wait; whoever has set one has chosen."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and in a container the quota, rounded up.

    Example:
        >>> usable_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """The cores' worth of time that a control group gives its processes; infinity for no limit."""
    try:
        quota, period = _QUOTA.read_text().split() if _QUOTA.exists() else [path.read_text() for path in _OLD_QUOTA]
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):  # no control groups, or `max`: no limit
        return math.inf


def threads_asked_for(environment: Mapping[str, str] = os.environ) -> int | None:
    """The threads that ``OMP_NUM_THREADS`` asks for; None where it is not set, or to nothing that OpenMP takes.

    Example:
        >>> threads_asked_for({"OMP_NUM_THREADS": "3,2"})  # of nested regions, the outermost first
        3
    """
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None


def how_threads_wait(environment: Mapping[str, str] = os.environ) -> str:
    """How OpenMP's threads wait for each other, by the variables that say it.

    Example:
        >>> how_threads_wait({"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}), how_threads_wait({})
        ('by GOMP_SPINCOUNT=1000 KMP_BLOCKTIME=1', "by OpenMP's defaults")
    """
    said = " ".join(f"{name}={environment[name]}" for name in _CHOSEN_BY if name in environment)
    return f"by {said}" if said else "by OpenMP's defaults"


def wait_briefly() -> None:
    """Have OpenMP's threads sleep when they have waited a moment, unless the user has chosen how they wait.

    By default a thread that waits for another one keeps its core busy for milliseconds. Where something else needs a
    core too, what it waits for is not computed in that time. Between the operations of a training step lie some
    microseconds, for which it is not worth to fall asleep. OpenMP reads the variables once, when torch is loaded:
    afterwards nothing is changed.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _CHOSEN_BY):
        os.environ.update(_BRIEFLY)
