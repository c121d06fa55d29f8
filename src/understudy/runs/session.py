"""What a training recipe works with: a run folder, devices, the wish to stop, a display; and the steps all recipes share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console
from torch import nn

from understudy.data.batches.bucketed import BatchSource
from understudy.data.splits import Splits
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import Interrupted, OutputError, nearest
from understudy.evaluation.cost import Measurable, measure
from understudy.evaluation.quality import evaluate
from understudy.functional import schedules
from understudy.functional.metrics import higher_is_better
from understudy.inference.predictor import Answering
from understudy.record import Run, RunRecord, default_folder, hardware, open_run, versions
from understudy.runs.devices import accelerator_name, make_accelerator, processes
from understudy.runs.learning import compiled, learning_plan, stages
from understudy.runs.rate_sweep import rate_for
from understudy.settings.configuration import as_dict
from understudy.settings.training import WARMED_UP, RunSettings, TrainSettings, seconds
from understudy.training.loop import fit
from understudy.training.optimizers.lazy_adamw import sparse_gradients
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.progress.trackers import flat
from understudy.training.stages import FitResult, Schedule
from understudy.training.stop import Stop
from understudy.training.unfreeze import LearningPlan

_TEXTS_AT_ONCE = 512


@dataclass
class Session:
    """An open run with everything that training needs."""

    run: Run
    accelerator: Accelerator
    stop: Stop
    display: Display
    log: ProgressLog
    settings: Any
    metrics: Sequence[str]
    """What an evaluation says of a model; the first one selects, unless the settings name another."""
    labels: Task | None = None
    """The task of labelled rows; a language model has none."""

    @property
    def task(self) -> Task:
        """The task of the labelled rows that this run is about."""
        assert self.labels is not None, "a run on raw text has no task"
        return self.labels

    @property
    def device(self) -> torch.device:
        """Where models live."""
        return self.accelerator.device

    def metric(self) -> tuple[str, bool]:
        """The metric that selects models, and whether more of it is better."""
        name = self.settings.metric or self.metrics[0]
        return name, higher_is_better(name)

    def fit(
        self,
        objective: nn.Module,
        batches: BatchSource,
        *,
        phase: str,
        validation: Callable[[nn.Module], Mapping[str, float]],
        learning_rate: float,
        fresh: bool = False,
        budget_s: float | None = None,
    ) -> FitResult:
        """:func:`understudy.training.loop.fit` under this run's settings, timed and put on the record.

        Args:
            learning_rate: where the settings name none; a sweep for one may suggest as much.
            fresh: the model's weights are random ones.
        """
        settings: TrainSettings = self.settings
        metric, higher = self.metric()
        plan = self.begin(objective, learning_rate=learning_rate)
        started = time.monotonic()
        found = None
        if settings.learning_rate == "auto":
            found = rate_for(self, plan, batches, phase=phase, usual=learning_rate, fresh=fresh)
        if budget_s is not None:
            budget_s -= time.monotonic() - started
        with self.run.timed(f"{phase}_s"), compiled(objective.model, settings):
            result = fit(
                objective,
                batches,
                stages(plan, settings, learning_rate=found),
                folder=self.run.folder / "checkpoints",
                log=self.log,
                accelerator=self.accelerator,
                phase=phase,
                schedule=schedule(settings),
                momentum=schedules.one_cycle_momentum if settings.cycle_momentum else None,
                clip=settings.clip,
                evaluate=validation,
                metric=metric,
                higher_is_better=higher,
                eval_steps=settings.eval_steps,
                patience=settings.patience,
                save_steps=settings.save_steps,
                resume=self.settings.resume,
                stop=self.stop,
                budget_s=budget_s,
                display=self.display,
            )
        self.display.close()
        # what a killed process did is in the checkpoint that this one went on from
        self.run.record.timings[f"{phase}_s"] = max(self.run.record.timings[f"{phase}_s"], result.seconds)
        rates = {group.name: group.learning_rate for group in plan.groups(found) if group.name in plan.names}
        self.run.record.training.setdefault(phase, {}).update(vars(result))
        self.run.record.training[phase] |= {
            "learning_rate": max(rates.values()),
            "learning_rates": rates,
            "padding_ratio": batches.padding_ratio(),
        }
        if result.stopped_by == "time budget":
            self.run.say(f"{phase}: ended by the time budget after {result.steps:,} steps, with the best so far.")
        return result

    def begin(self, objective: nn.Module, *, learning_rate: float) -> LearningPlan:
        """Seed what a phase of training draws, and settle what learns in it.

        Args:
            learning_rate: where the settings name none.
        """
        torch.manual_seed(self.settings.seed + self.accelerator.process_index)
        alone = self.device.type == "cpu" and self.accelerator.num_processes == 1
        sparse_gradients(objective.model, alone and self.settings.optimizer == "adamw")
        return learning_plan(objective, self.settings, learning_rate=learning_rate)

    def describe(self, name: str, model: Measurable, test_logits: np.ndarray, splits: Splits) -> None:
        """Put a model on the record: its scores on the rows that report, and what it costs."""
        split, rows = splits.reporting()
        with self.run.timed("evaluate_s"):
            scores = evaluate(test_logits, rows.labels, self.task, intervals=True, seed=self.settings.seed)
        with self.run.timed("bench_s"):
            cost = measure(model, rows.texts)
        entry: dict[str, Any] = {"name": name, **cost}
        entry["metrics"] = {split: scores.metrics}
        entry["intervals"] = {split: {key: list(value) for key, value in scores.intervals.items()}}
        entry["confusion"] = scores.confusion
        entry["calibration"] = scores.calibration
        known = {model["name"]: model for model in self.run.record.models}
        self.run.record.models = list((known | {name: entry}).values())
        self.run.save()
        self.heed()

    def answers(self, model: Answering, texts: Texts) -> np.ndarray:
        """A model's outputs for texts; a signal is heeded every few hundred of them."""
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            self.heed()
            parts.append(model.logits(texts[start : start + _TEXTS_AT_ONCE]))
        return np.concatenate(parts)

    def heed(self) -> None:
        """Leave at a signal, where all that has been done is on disk.

        Raises:
            Interrupted: if there was one.
        """
        if self.stop.signal_number is not None:
            raise Interrupted(self.stop.signal_number)


def schedule(settings: TrainSettings) -> Schedule:
    """The learning-rate schedule that the settings name."""
    if settings.schedule in WARMED_UP:
        return partial(getattr(schedules, settings.schedule), warmup=settings.warmup)
    return getattr(schedules, settings.schedule)


@contextmanager
def open_session(
    command: str,
    settings: Any,
    *,
    data: Mapping[str, Texts],
    task: Task | None,
    notes: Sequence[str],
    terms: Sequence[str],
    metrics: Sequence[str],
    groups: Sequence[str] = (),
    kind: str = "",
) -> Iterator[Session]:
    """Open the run folder and everything around it; on the way out the record is saved and the signals are ours no more.

    A run that is finished already comes with ``run.record.finished`` set: there is nothing left to do.

    Args:
        data: the texts of each part, for their numbers and fingerprints.
        task: of labelled rows; None where there are no labels.
        notes: what was found in the data, to be said and put on the record.
        terms: the names of the terms that the objectives of this run return.
        metrics: the names of the scores that its evaluations return; the first one selects models.
        groups: of parameters that have learning rates of their own, to be shown.
        kind: of a model without a task, for the record: ``language_model`` or ``masked_language_model``.
    """
    run_settings: RunSettings = settings
    state = processes()
    output = [run_settings.output or str(default_folder(command))]
    if state.num_processes > 1:
        broadcast_object_list(output)  # the folder's name has the time in it
    run = open_run(
        command,
        as_dict(settings),
        output=output[0],
        overwrite=run_settings.overwrite,
        resume=run_settings.resume,
        seed=run_settings.seed,
        writes=state.is_main_process,
    )
    if run.record.finished:
        print(f"{run.folder}: this run is finished already; nothing to do.")
        yield Session(run, None, Stop(), Display(visible=False), None, settings, metrics, task)  # type: ignore[arg-type]
        return
    accelerator = make_accelerator(settings, run.folder / "tracking")
    if settings.track:
        accelerator.init_trackers("understudy", config=flat(as_dict(settings)))
    accelerator.wait_for_everyone()
    run.record.versions = versions()
    run.record.hardware = hardware(
        threads=torch.get_num_threads(),
        accelerator=accelerator_name(accelerator),
        processes=accelerator.num_processes,
    )
    run.record.task = {"kind": kind, "metrics": list(metrics)} if task is None else task.as_dict()
    found = {name: {"rows": len(texts), "fingerprint": texts.fingerprint} for name, texts in data.items()}
    before = run.record.data or found
    if changed := [name for name in before | found if before.get(name) != found.get(name)]:
        raise OutputError(
            f"{run.folder}: was begun on other data: {', '.join(changed)} changed since. Give --overwrite to start afresh, or resume with the data of before."
        )
    run.record.data = found
    for note in notes:
        run.say(note)
    budget = seconds(run_settings.time_budget) if run_settings.time_budget else None
    log = ProgressLog(
        run.folder / "progress.csv",
        progress_columns(terms, metrics, groups=groups, momentum=settings.cycle_momentum),
        writes=run.writes,
    )
    with Stop(budget_s=budget) as stop, Display(visible=run.writes) as display:
        try:
            yield Session(run, accelerator, stop, display, log, settings, metrics, task)
        except Interrupted as error:
            error.remedy = f"Go on with the same command, --output {run.folder} and --resume."
            raise
    if settings.track:
        accelerator.end_training()


def metric_faults(settings: TrainSettings, metrics: Sequence[str]) -> list[str]:
    """What is wrong with the metric that is to select models, now that those of the task are known."""
    if settings.metric is None or settings.metric in metrics:
        return []
    return [
        f"metric must be one of {', '.join(metrics)} for this task, but is {settings.metric!r}.{nearest(settings.metric, metrics)}"
    ]


def finish(session: Session) -> RunRecord:
    """The record, the plots, the model card and the table."""
    from understudy.report.card import write_card
    from understudy.report.plots import draw_all
    from understudy.report.tables import models_table

    record = session.run.record
    if session.run.writes:
        with session.run.timed("report_s"):
            draw_all(session.run.folder, record.as_dict())
            write_card(session.run.folder, record.as_dict())
        session.heed()
        session.run.finish()
        Console().print(models_table(record.as_dict()))
        print(f"Everything is in {session.run.folder}")
    session.accelerator.wait_for_everyone()
    return record
