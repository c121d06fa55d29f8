"""The runs of a family, each in a process of its own, several at a time: killed, they go on where they were."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch

from understudy.errors import Interrupted, ModelError
from understudy.failpoints import failpoint
from understudy.folders.run import Run
from understudy.record import RunRecord
from understudy.runs.fitting.apart import framed
from understudy.runs.processes.child import carry_out, out_of_memory
from understudy.runs.seeds import finished_record
from understudy.runs.session import check_inputs, go_on
from understudy.terminal.lines import say, show
from understudy.training.stop import Stop

_LAST_WORDS_S = 120.0
"""Seconds that a process may take to write its checkpoint."""
_LOOK_S = 0.2
"""Seconds between two looks at whether there was a signal."""


class ChildError(Exception):
    """A run failed by a mistake of ours; what went wrong was printed when it failed."""


@dataclass
class _Child:
    """A process that carries out a run."""

    process: subprocess.Popen[bytes]
    report: int
    """The file descriptor of what it says in the end."""

    @classmethod
    def start(cls, recipe: Any, *, quiet: bool) -> _Child:
        """Begin a run. The process goes when this one does."""
        report, theirs = os.pipe()
        begin = f"import sys; sys.path = {sys.path!r}; from understudy.runs.fitting.apart import main; main()"
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", begin],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if quiet else None,
                stderr=subprocess.DEVNULL if quiet else None,
                pass_fds=(theirs,),
                start_new_session=True,  # signals of the terminal are this process's to hand on
            )
        finally:
            os.close(theirs)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already: its exit code says so
            process.stdin.write(framed(pickle.dumps(partial(carry_out, recipe, theirs))))
            process.stdin.flush()
        return cls(process, report)

    def end(self) -> Exception | None:
        """Wait for its end; what it failed by, or None."""
        with os.fdopen(self.report, "rb") as file:
            said = file.read()
        code = self.process.wait()
        self._let_go()
        return failure(code, said)

    def stop(self) -> None:
        """Have it write a checkpoint and end."""
        self.process.terminate()
        try:
            self.process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.report)
        self._let_go()

    def _let_go(self) -> None:
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()


def failure(code: int, said: bytes) -> Exception | None:
    """What a run failed by, from its exit code and its report; None if it did not.

    Example:
        >>> failure(0, b"{}")
        >>> failure(2, b'{"faults": ["a: no such folder."]}').faults
        ('a: no such folder.',)
        >>> failure(-9, b"").faults[0].partition(".")[0]
        'out of memory (its process was killed by signal 9)'
    """
    if code == 0:
        return None
    try:
        report = json.loads(said)
    except ValueError:
        report = {}
    if "faults" in report:
        return ModelError(*report["faults"])
    if code < 0:
        return out_of_memory(f"its process was killed by signal {-code}")
    if "trace" in report:
        say(report["trace"])
        return ChildError(report["error"])
    return ChildError(f"its process ended with exit code {code}")


def run_apart(
    run: Run, recipe: Any, members: Mapping[str, Any], *, parallel: int = 1, budget_s: float | None = None
) -> tuple[dict[str, RunRecord], dict[str, Exception]]:
    """Run the children of a family that are not finished yet, each in a process of its own and in the folder of its name.

    A child that fails, or whose process is killed, is named in the record's notes and the others go on. The budget is shared
    evenly among those that are left.

    Args:
        recipe: the parent's.
        members: the children's recipes, by name.
        parallel: how many processes there are at a time. Several share the threads of this process evenly and print
            nothing.
        budget_s: seconds for all of them.

    Returns:
        The records of the children, and the faults of those that failed.

    Raises:
        Interrupted: on SIGTERM or Ctrl-C; all children have written their checkpoints.
    """
    check_inputs(run, [*recipe.data_read(), *recipe.models_read()])
    failed: dict[str, Exception] = {}
    waiting, running = list(members), dict[str, _Child]()
    deadline = None if budget_s is None else time.monotonic() + budget_s
    threads = max(1, torch.get_num_threads() // parallel) if parallel > 1 else recipe.threads
    with Stop() as stop:
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    name = waiting.pop(0)
                    known = f"{name}/record.json"
                    if known not in run.record.children:  # before it begins: what is in its folder is the family's
                        run.record.children.append(known)
                        run.save()
                    failpoint("family.child")
                    if finished_record(run.folder / name) is None:
                        show(f"\n{name}, {len(members) - len(waiting)} of {len(members)}")
                        budget = _share_of(deadline, len(waiting) + 1, parallel)
                        changes = {"output": str(run.folder / name), "resume": True, "overwrite": False}
                        child = replace(members[name], time_budget=budget, threads=threads, **changes)
                        running[name] = _Child.start(child, quiet=parallel > 1)
                ready = set(wait([child.report for child in running.values()], _LOOK_S)) if running else set()
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number, go_on(run.folder, recipe))
                for name in [name for name, child in running.items() if child.report in ready]:
                    error = running.pop(name).end()
                    if error is None:
                        show(f"{name}: done")
                    else:
                        failed[name] = error
                        run.say(f"{name} failed: {' '.join(str(error).split())}")
                        run.save()
        finally:
            for child in running.values():
                child.process.terminate()  # all of them write their checkpoints at the same time
            for child in running.values():
                child.stop()
    records = {name: finished_record(run.folder / name) for name in members}
    return {name: record for name, record in records.items() if record is not None}, failed


def _share_of(deadline: float | None, children: int, parallel: int) -> str | None:
    """The time budget of the next child: an equal share of what is left."""
    if deadline is None:
        return None
    return f"{max((deadline - time.monotonic()) / math.ceil(children / parallel), 1.0):.0f}s"
