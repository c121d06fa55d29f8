"""``understudy glue``: one task of GLUE, each of several, all at once, or one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from understudy.data.glue.read import TaskData, glue_there, read_task
from understudy.data.glue.submission import FILES, submission_faults
from understudy.data.glue.tasks import ALL, glue_task
from understudy.data.readers.sources import load_splits
from understudy.data.tasks import metric_faults
from understudy.errors import ConfigError, DataError, gathered
from understudy.functional.scoring import check_suits, higher_is_better
from understudy.recipes.train.finetune.start import check_pairs
from understudy.recipes.train.glue.family import run_each, run_stages, say_family, say_missing
from understudy.recipes.train.glue.joint.taught import TaughtJoint
from understudy.recipes.train.glue.joint.work import Joint
from understudy.recipes.train.glue.single import AdaptedTask, SingleTask
from understudy.recipes.train.glue.transfer import run_transfer
from understudy.record import RunRecord
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.settings.train.glue import GlueSettings
from understudy.settings.train.task_file import OwnTask, in_keys
from understudy.terminal.lines import say, show


class Glue(TrainingRecipe, GlueSettings):
    """Train on GLUE: one task, each of several, all at once, or one after another; score as GLUE does."""

    def read(self) -> list[TaskData]:
        """Read and check the rows of every task; faults of all of them are reported together.

        Raises:
            DataError: with every fault that was found.
        """
        faults: list[str] = []
        found = []
        own = self.own_tasks()
        for name in self.chosen():
            with gathered(faults):
                if name in own:
                    found.append(self._read_own(name, own[name]))
                    continue
                task = self._read_task(name)
                if self.submit and not task.tests and not self.is_family():
                    faults.append(f"{self.data}: no test file of {name}, and --submit answers for it. Leave it out.")
                found.append(task)
        if faults:
            raise DataError(*faults)
        return found

    def _read_task(self, name: str) -> TaskData:
        """The rows of a task below ``data``."""
        assert self.data is not None
        try:
            task = read_task(self.data, name, limit_train=self.limit_train, seed=self.seed, tests=self.submit)
        except DataError as error:
            if glue_task(name) is not None:
                raise
            raise DataError(*map(_with_keys, error.faults)) from None
        notes = task.splits.notes if task.glue else tuple(map(_with_keys, task.splits.notes))
        return replace(task, splits=replace(task.splits, notes=notes))

    def _read_own(self, name: str, own: OwnTask) -> TaskData:
        """The rows of a task of the user's file."""
        try:
            splits = load_splits(
                own.data,
                train=own.train,
                validation=own.validation,
                test=own.test,
                text=own.text,
                label=own.label,
                kind=own.kind,
                labels=own.labels,
                limit_train=self.limit_train,
                seed=self.seed,
            )
            task = splits.task
            for metric in own.metrics:
                check_suits(metric, np.zeros((1, task.outputs)), splits.train.labels[:1])
            if self.mode in ("joint", "transfer") and own.metrics and not any(map(higher_is_better, own.metrics)):
                raise DataError(
                    f"{' and '.join(own.metrics)} cannot be averaged with the scores of other tasks, as --mode {self.mode} does. Add pearson or spearman to metrics."
                )
        except (ConfigError, DataError) as error:
            origin = f"{self.tasks_file}, task '{name}'"
            raise DataError(*(f"{origin}: {in_keys(fault)}" for fault in error.faults)) from None
        task = replace(task, metrics=tuple(own.metrics) or task.metrics)
        others = {} if splits.test is None else {"test": splits.test}
        notes = tuple(map(in_keys, splits.notes))
        return TaskData(name, replace(splits, task=task, test=None, notes=notes), others)

    def prepare(self, data: list[TaskData]) -> Work:
        """Load and check the model, for the first task where there are several."""
        if self.mode == "joint":
            return (TaughtJoint if self.teachers else Joint)(self, data)
        faults: list[str] = []
        for one in data:
            with gathered(faults):
                check_pairs(self.pooling, one.splits.task, one.name)
        if faults:
            raise ConfigError(*faults)
        first = data[0]
        if wrong := metric_faults(self.metric, first.splits.task.metrics):
            raise ConfigError(*wrong)
        work = AdaptedTask if self.adapts else SingleTask
        return work(self, replace(first, splits=first.splits.selected_by(self.metric)))

    def chosen(self) -> list[str]:
        """The tasks by name; for ``all``, those of GLUE whose training and development files are there; the others are said.

        Raises:
            DataError: if none is, or too few for the mode.
        """
        if self.names() != [ALL]:
            return self.names()
        assert self.data is not None
        there, lacking = glue_there(self.data)
        for fault in lacking:
            say(f"  left out: {fault}")
        if self.mode != "single" and len(there) < 2:
            raise DataError(
                f"{self.data}: holds {there[0]} alone of GLUE's tasks, but --mode {self.mode} needs several. Add folders, or give --mode single."
            )
        return there

    def is_family(self) -> bool:
        """Whether there are several tasks, each in a run of its own."""
        return self.mode != "joint" and (self.names() == [ALL] or len(self.names()) > 1)

    def run(self) -> RunRecord:
        """Check everything, then train, keep the weights that are best on the development set, and report.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the models, before any training.
            Interrupted: on SIGTERM or Ctrl-C, with a checkpoint written.
        """
        if self.submission is not None:
            raise ConfigError(
                f"--submission is checked by: understudy validate glue --submission {self.submission}. Leave it out to train."
            )
        return super().run()

    def _run(self, settings: Any) -> RunRecord:
        if not self.is_family():
            return super()._run(settings)
        data = self.read()
        if self.submit:
            say_missing(data)
        if self.dry_run:
            return say_family(self, data)
        self.prepare(data)  # faults of the model are said before anything is written
        if self.mode == "transfer":
            return run_transfer(self, data)
        if self.mode == "sequential":
            return run_stages(self, [task.name for task in data])
        return run_each(self, data)


def _with_keys(sentence: str) -> str:
    """What is said of a folder of the user's below ``data``, with what names its columns here."""
    said = in_keys(sentence)
    return said + " Such keys are those of a --tasks_file." * (said != sentence)


def check_submission(name: str) -> None:
    """Check the zip of a submission, and say that it is in order.

    Raises:
        DataError: with a sentence for each thing that the leaderboard would refuse.
    """
    if faults := submission_faults(name):
        raise DataError(*faults)
    show(f"{name}: all {len(FILES)} files are in order; no fault found.")
