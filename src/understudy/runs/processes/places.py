"""Where the processes are in which the runs of a family are carried out."""

from __future__ import annotations

import pickle
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Protocol

import torch

from understudy.runs.processes.child import carry_out, failure
from understudy.runs.processes.process import RunProcess


class Places(Protocol):
    """Where the runs of a family are carried out."""

    def threads(self, asked: int | None, parallel: int) -> int | None:
        """The most threads of each run; None leaves it to the run.

        Args:
            asked: what the settings say.
            parallel: how many runs there are at a time.
        """
        ...

    def start(self, name: str, recipe: Any, *, threads: int | None, quiet: bool) -> None:
        """Begin a run, in a process of its own that has at most so many threads."""
        ...

    def ended(self, wait_s: float) -> dict[str, Exception | None]:
        """The runs that have ended since the last call, and what they failed by; waits so long for the first of them."""
        ...

    def stop(self) -> None:
        """Have all runs that have not ended write their checkpoints and end."""
        ...


class Here:
    """Processes of this machine."""

    def __init__(self) -> None:
        self._running: dict[str, RunProcess] = {}

    def threads(self, asked: int | None, parallel: int) -> int | None:
        """Several runs share the threads of this process."""
        return max(1, torch.get_num_threads() // parallel) if parallel > 1 else asked

    def start(self, name: str, recipe: Any, *, threads: int | None, quiet: bool) -> None:
        """Begin a run. Its process goes when this one does."""
        self._running[name] = RunProcess.start(work_of(recipe, threads), quiet=quiet)

    def ended(self, wait_s: float) -> dict[str, Exception | None]:
        """The runs that have ended, and what they failed by."""
        ready = set(wait([child.report for child in self._running.values()], wait_s)) if self._running else set()
        names = [name for name, child in self._running.items() if child.report in ready]
        return {name: failure(*self._running.pop(name).end()) for name in names}

    def stop(self) -> None:
        """All of them write their checkpoints at the same time."""
        for child in self._running.values():
            child.ask_to_end()
        while self._running:
            self._running.popitem()[1].stop()


def work_of(recipe: Any, threads: int | None) -> bytes:
    """What the process of a run is to do, see :meth:`understudy.runs.processes.process.RunProcess.start`."""
    return pickle.dumps(partial(carry_out, recipe, threads))
