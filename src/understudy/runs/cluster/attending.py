"""What a task of Ray does on its machine: it starts the process of a run, and waits. No torch here: the run's process has it."""

from __future__ import annotations

import os
from multiprocessing.connection import wait

from understudy.runs.processes.process import RunProcess

_LOOK_S = 0.2
"""Seconds between two looks at whether the task was cancelled."""


def attended(work: bytes, folder: str, environment: dict[str, str]) -> tuple[int, bytes]:
    """Start the process of a run on the machine that this is called on, and wait for it.

    Args:
        work: see :meth:`understudy.runs.processes.process.RunProcess.start`.
        folder: where relative paths begin.
        environment: variables that the process gets beside those of this one.

    Returns:
        Its exit code and its report.
    """
    ours = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # which Ray sets
    child = RunProcess.start(work, quiet=True, environment={**ours, **environment}, folder=folder)
    try:
        while not wait([child.report], _LOOK_S):
            pass
    except BaseException:  # the task was cancelled
        child.stop()
        raise
    return child.end()
