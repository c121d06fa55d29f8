"""Which task helps which: every ordered pair of tasks, one after the other, beside each task trained directly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.glue.read import TaskData
from understudy.data.splits import Rows
from understudy.evaluation.paired import paired_differences
from understudy.folders.run import Run
from understudy.functional.scoring import higher_is_better
from understudy.loading import load
from understudy.recipes.train.glue.family import conclude, entry_of, is_done, sum_up, task_recipe
from understudy.recipes.train.glue.joint.subject import dev_parts
from understudy.record import RunRecord
from understudy.report.figures.transfer import gains_table, transfer_map
from understudy.runs.seeds import deadline_of, raise_failed, run_members
from understudy.runs.session import go_on, open_folder
from understudy.terminal.screen import draw

LEVEL = 0.95
"""Of the interval of a gain."""


def run_transfer(recipe: Any, data: list[TaskData]) -> RunRecord:
    """Train every task directly, then every ordered pair; the gain of each pair over direct training has an interval.

    Raises:
        UnderstudyError: in the end, if a run failed by a mistake of the user's.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    names = [task.name for task in data]
    with open_folder(recipe) as run:
        if is_done(run):
            return run.record
        deadline, orders = deadline_of(recipe), len(names) * (len(names) - 1)
        alone = {name: task_recipe(recipe, name) for name in names}
        children, failed = run_members(run, recipe, alone, deadline=deadline, later=orders)
        raise_failed(run, failed, go_on(run.folder, recipe))  # nothing can be trained on an encoder that is not there
        pairs = {
            _folder(first, second): task_recipe(  # what a baseline scores stands with the task trained directly
                recipe, second, model="", encoder_from=str(run.folder / first), baseline=False
            )
            for first in names
            for second in names
            if first != second
        }
        after, failed = run_members(run, recipe, pairs, deadline=deadline)
        rows = {task.name: len(task.splits.train) for task in data}
        if len(set(rows.values())) > 1:
            said = ", ".join(f"{name} {count:,}" for name, count in rows.items())
            run.say(
                f"the tasks have different numbers of training rows ({said}), which may be what helps; --limit_train {min(rows.values())} makes them alike."
            )
        entries = [entry_of(record, name) for name, record in children.items()]
        entries += _gains(run, data, after)
        sum_up(run, recipe, {**children, **after}, entries)
        raise_failed(run, failed, go_on(run.folder, recipe))
        if run.writes:
            transfer_map(run.record.as_dict(), run.folder / "plots" / "transfer.png")
            draw(gains_table(run.record.as_dict()))
        return conclude(run)


def _folder(first: str, second: str) -> str:
    return f"{second}-after-{first}"


def _gains(run: Run, data: list[TaskData], after: dict[str, RunRecord]) -> list[dict[str, Any]]:
    """The entries of the pairs that are there, each with its gain and the interval of it; MNLI's two halves are one set."""
    found = []
    for second in data:
        parts, task = list(dev_parts(second).values()), second.splits.task
        labels = np.concatenate([rows.labels for rows in parts])
        direct: np.ndarray | None = None
        for first in data:
            record = after.get(_folder(first.name, second.name))
            if record is None:
                continue
            if direct is None:
                direct = _answers(run.folder / second.name, parts)
            other = _answers(run.folder / _folder(first.name, second.name), parts)
            answers = {"after": other, "direct": direct}
            metrics = [metric for metric in task.metrics if higher_is_better(metric)]
            pairs = paired_differences(metrics, answers, labels, level=LEVEL, seed=run.record.seed)
            gain = pairs["after", "direct"]
            entry = entry_of(record, f"{second.name} after {first.name}")
            interval = [gain.low, gain.high]
            about = {"task": second.name, "after": first.name, "value": gain.difference, "interval": interval}
            found.append({**entry, "gain": about})
    return found


def _answers(folder: Path, parts: Sequence[Rows]) -> np.ndarray:
    model = load(folder)
    return np.concatenate([model.logits(rows.texts) for rows in parts])
