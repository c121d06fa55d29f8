"""``understudy search``: the best small student that fits a budget, found by training what can fit, most of it briefly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.errors import ConfigError
from understudy.recipes.choose.search.family import run_search
from understudy.recipes.choose.search.trials import trial
from understudy.record import RunRecord
from understudy.runs.devices import processes
from understudy.runs.inputs import read_rows
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.runs.threads.choice import as_begun
from understudy.settings.choose.search import SearchSettings
from understudy.settings.configuration import check


class Search(TrainingRecipe, SearchSettings):
    """Find the best small student that fits a budget of latency and size; what cannot fit is not trained."""

    def read(self) -> Splits:
        """Read and check the rows; those without a label count as unlabelled."""
        data = read_rows(self, seed=self.seed, metric=self.metric, unlabeled=self.unlabeled, allow_unlabelled=True)
        faults = metric_faults(self.metric, data.task.metrics)
        if not data.validation.labelled.any():
            faults.append("no validation row has a label, so no student can be chosen. Label some.")
        if faults:
            raise ConfigError(*faults)
        return data

    def prepare(self, data: Splits) -> Work:
        """Load the teacher and build the student: the first one, where there are several."""
        alone = self if self.rung is not None else replace(self, students=self.students[:1], rung=self.rungs)
        work: Work = trial(alone, data)
        return work

    def run(self) -> RunRecord:
        """Check everything, measure every student, train those that fit on rung after rung, and write the best one.

        Raises:
            UnderstudyError: for every fault of settings and data, and if nothing fits, before any training; in the end,
                if a student failed.
            Interrupted: on SIGTERM or Ctrl-C, with checkpoints written.
        """
        settings: Any = self
        if self.rung is not None:
            return super().run()
        check(settings)
        if processes().num_processes > 1:
            raise ConfigError(
                "search starts a process for every trial. Start it without accelerate launch or torchrun, and give --parallel for several at a time."
            )
        with as_begun(settings):
            return run_search(settings, self.read())
