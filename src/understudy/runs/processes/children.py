"""The runs of a family, each in a process of its own, several at a time: killed, they go on where they were."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy.errors import Interrupted
from understudy.failpoints import failpoint
from understudy.folders.run import Run
from understudy.record import RunRecord
from understudy.runs.cluster.runs import OnRay
from understudy.runs.processes.places import Here, Places
from understudy.runs.seeds import finished_record
from understudy.runs.session import check_inputs, go_on
from understudy.settings.engine import LOCAL, RAY
from understudy.terminal.lines import show
from understudy.training.stop import Stop

_LOOK_S = 0.2
"""Seconds between two looks at whether there was a signal."""


def run_apart(
    run: Run,
    recipe: Any,
    members: Mapping[str, Any],
    *,
    parallel: int = 1,
    budget_s: float | None = None,
) -> tuple[dict[str, RunRecord], dict[str, Exception]]:
    """Run the children of a family that are not finished yet, each in a process of its own and in the folder of its name.

    A child that fails, or whose process is killed, is named in the record's notes and the others go on. All have the same
    share of the budget, also where an earlier one has not used its own: more would be other conditions.

    Args:
        recipe: the parent's.
        members: the children's recipes, by name.
        parallel: how many processes there are at a time. Several share the threads of this process, or the cores of a
            cluster, evenly and print nothing; each may choose fewer.
        budget_s: seconds for all of them.

    Returns:
        The records of the children, and the faults of those that failed.

    Raises:
        Interrupted: on SIGTERM or Ctrl-C; all children have written their checkpoints.
    """
    check_inputs(run, [*recipe.data_read(), *recipe.models_read()])
    failed: dict[str, Exception] = {}
    waiting, running = list(members), set[str]()
    places: Places = OnRay() if getattr(recipe, "engine", LOCAL) == RAY else Here()
    deadline = None if budget_s is None else time.monotonic() + budget_s
    rounds = math.ceil(sum(finished_record(run.folder / name) is None for name in members) / parallel)
    share = None if budget_s is None else budget_s / max(rounds, 1)
    most = places.threads(recipe.threads, parallel)
    threads = None if recipe.threads is None else most  # a run chooses below the most, unless they were asked for
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
                        budget = _budget(share, deadline)
                        changes = {"output": str(run.folder / name), "resume": True, "overwrite": False}
                        child = replace(members[name], time_budget=budget, threads=threads, **changes)
                        places.start(name, child, threads=most, quiet=parallel > 1)
                        running.add(name)
                ended = places.ended(_LOOK_S)
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number, go_on(run.folder, recipe))
                for name, error in ended.items():
                    running.remove(name)
                    if error is None:
                        show(f"{name}: done")
                    else:
                        failed[name] = error
                        run.say(f"{name} failed: {' '.join(str(error).split())}")
                        run.save()
        finally:
            places.stop()
    records = {name: finished_record(run.folder / name) for name in members}
    return {name: record for name, record in records.items() if record is not None}, failed


def _budget(share: float | None, deadline: float | None) -> str | None:
    """The time budget of the next child: its share, or what is left."""
    if share is None or deadline is None:
        return None
    return f"{max(min(share, deadline - time.monotonic()), 1.0):.0f}s"
