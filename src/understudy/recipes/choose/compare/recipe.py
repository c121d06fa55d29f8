"""``understudy compare``: several models under one configuration, quality beside cost, and which one to ship."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.errors import ConfigError
from understudy.recipes.choose.compare.contenders import contender
from understudy.recipes.choose.compare.family import run_family, say_family
from understudy.record import RunRecord
from understudy.runs.cluster.connection import checked_address
from understudy.runs.devices import processes
from understudy.runs.inputs import read_rows
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.runs.threads.choice import as_begun
from understudy.settings.choose.compare import CompareSettings
from understudy.settings.choose.contestants import Contestant
from understudy.settings.configuration import check
from understudy.settings.data import DataSettings
from understudy.settings.engine import RAY
from understudy.terminal.lines import silence


class Compare(TrainingRecipe, CompareSettings):
    """Train several models under one configuration, compare quality and cost, say which one to ship."""

    def read(self) -> Splits:
        """Read and check the rows; where there are several numbers of them, the first."""
        rows = DataSettings(
            data=self.data,
            train=self.train,
            validation=self.validation,
            test=self.test,
            text=self.text,
            label=self.label,
            kind=self.kind,
            limit_train=self.limit_train[0] if self.limit_train else None,
            class_weights=self.class_weights,
        )
        pool = self.unlabeled if self._first().distilled else None
        data = read_rows(rows, seed=self.seed, metric=self.metric, unlabeled=pool)
        if faults := metric_faults(self.metric, data.task.metrics):
            raise ConfigError(*faults)
        return data

    def prepare(self, data: Splits) -> Work:
        """Load and check the model."""
        work: Work = contender(self, self._first(), data)
        return work

    def _first(self) -> Contestant:
        """The first model that can be trained before the others: one that nobody has to teach, or whose teacher is there."""
        models = self.contestants()
        return next((one for one in models if not one.distilled or self.teacher is not None), models[0])

    def run(self) -> RunRecord:
        """Check everything, train every model with every seed, and sum up.

        Raises:
            UnderstudyError: for every fault of settings and data, before any training; in the end, if a model failed.
            Interrupted: on SIGTERM or Ctrl-C, with checkpoints written.
        """
        settings: Any = self
        if not self.is_family():
            return super().run()
        with silence(self.quiet):
            return self._run_family(settings)

    def _check_numbers(self, data: Splits) -> None:
        """Of several numbers of rows, all report on the same other rows, and none is larger than what there is.

        Otherwise a point of the curves would be of rows of its own, a few where the number is small, or stand where there are no
        labels.

        Raises:
            ConfigError: if it is not so.
        """
        if len(self.limit_train) < 2:
            return
        if data.test is None and data.validation.origin == data.train.origin:
            raise ConfigError(
                "--limit_train has several numbers, but there is no test split: each would report on a few rows that are cut off its own. Name a file with --test, or with --validation."
            )
        labelled = data.labelled
        if above := [f"{rows:,}" for rows in self.limit_train if rows > labelled]:
            raise ConfigError(
                f"--limit_train {' and '.join(above)}: there are {labelled:,} labelled training rows. Name {labelled} as the largest."
            )

    def _run_family(self, settings: Any) -> RunRecord:
        check(settings)
        if processes().num_processes > 1:
            raise ConfigError(
                "compare starts a process for every run. Start it without accelerate launch or torchrun, and give --parallel for several at a time."
            )
        with as_begun(settings):
            if self.dry_run:
                return say_family(self)
            # faults of the data are said once, before anything is written or replaced
            for rows in [[rows] for rows in self.limit_train] or [[]]:
                self._check_numbers(replace(self, limit_train=rows).read())
            if self.engine == RAY:
                checked_address()  # before a folder is made
            return run_family(self)
