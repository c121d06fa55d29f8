"""The runs of a family as tasks of a Ray cluster: each has a process of its own on whatever machine has the cores."""

from __future__ import annotations

import os
from typing import Any

from understudy.errors import ModelError, require
from understudy.runs.cluster.attending import attended
from understudy.runs.cluster.connection import check_threads, described, threads_of
from understudy.runs.cluster.machines import variables
from understudy.runs.processes.child import failure
from understudy.runs.processes.places import work_of
from understudy.runs.processes.process import LAST_WORDS_S


class OnRay:
    """Tasks of the cluster that this process is connected to, see :class:`understudy.runs.processes.places.Places`.

    A task starts the run's process and waits for it, so that a run on a cluster is what a run on this machine is.
    """

    def __init__(self) -> None:
        self._ray: Any = require("ray", extra="cluster")
        self._cluster = described(self._ray)
        self._running: dict[str, Any] = {}

    def threads(self, asked: int | None, parallel: int) -> int:
        """As many as so many runs can have at the same time; a task takes as many cores.

        Raises:
            ConfigError: if more were asked for than any machine has.
        """
        cpus = self._cluster.cpus
        return threads_of(cpus, parallel) if asked is None else check_threads(asked, cpus)

    def start(self, name: str, recipe: Any, *, threads: int | None, quiet: bool) -> None:
        """Hand in a task. It begins when a machine has the cores, and a GPU where the cluster has some."""
        task = self._ray.remote(attended).options(
            name=f"understudy {name}",
            num_cpus=threads,
            num_gpus=1 if self._cluster.gpus else 0,
            max_retries=0,
        )
        self._running[name] = task.remote(work_of(recipe, threads), os.getcwd(), variables())

    def ended(self, wait_s: float) -> dict[str, Exception | None]:
        """The runs that have ended, and what they failed by."""
        if not self._running:
            return {}
        ready, _ = self._ray.wait(list(self._running.values()), timeout=wait_s)
        names = [name for name, task in self._running.items() if task in ready]
        return {name: self._fault(self._running.pop(name)) for name in names}

    def stop(self) -> None:
        """Cancel the tasks: each has its run write a checkpoint."""
        tasks = list(self._running.values())
        self._running.clear()
        for task in tasks:
            self._ray.cancel(task, force=False)
        if tasks:
            _, rest = self._ray.wait(tasks, num_returns=len(tasks), timeout=LAST_WORDS_S)
            for task in rest:
                self._ray.cancel(task, force=True)

    def _fault(self, task: Any) -> Exception | None:
        try:
            return failure(*self._ray.get(task))
        except self._ray.exceptions.RayError as error:
            said = str(error).strip().partition("\n")[0][:200]
            return ModelError(f"its machine or its process is gone ({type(error).__name__}: {said}).")
