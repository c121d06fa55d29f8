"""What a training recipe works with: a run folder, devices, the wish to stop, a display; and the steps all recipes share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import ProjectConfiguration, broadcast_object_list
from rich.console import Console
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.bench import Measurable, measure
from understudy.data.batches import BucketedBatches
from understudy.data.encode import Encoded
from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import Interrupted, nearest
from understudy.evaluation import evaluate
from understudy.functional import schedules
from understudy.functional.metrics import higher_is_better
from understudy.inference import Answering, LinearPredictor, Predictor, logits
from understudy.models.load import max_length, save_model
from understudy.models.student import Student
from understudy.models.tfidf import Tfidf
from understudy.recipes.settings import RunSettings, TrainSettings, as_dict, seconds
from understudy.record import Run, RunRecord, default_folder, hardware, open_run, versions
from understudy.training.checkpoint import ProgressLog, Stop
from understudy.training.groups import build_optimizer
from understudy.training.loop import FitResult, Schedule, fit
from understudy.training.reporter import progress_columns
from understudy.training.trackers import Display, flat

_WAIT = timedelta(days=2)
"""How long the other processes wait while one labels."""


@dataclass
class Workbench:
    """An open run with everything that training needs."""

    run: Run
    accelerator: Accelerator
    stop: Stop
    display: Display
    log: ProgressLog
    settings: Any
    task: Task

    @property
    def device(self) -> torch.device:
        """Where models live."""
        return self.accelerator.device

    def metric(self) -> tuple[str, bool]:
        """The metric that selects models, and whether more of it is better."""
        name = self.settings.metric or self.task.metrics[0]
        return name, higher_is_better(name)

    def fit(
        self,
        objective: nn.Module,
        batches: BucketedBatches,
        *,
        phase: str,
        validation: Callable[[nn.Module], Mapping[str, float]],
        learning_rate: float,
        epochs: int,
        max_steps: int | None = None,
        eval_every: int | None = None,
        budget_s: float | None = None,
    ) -> FitResult:
        """:func:`understudy.training.loop.fit` under this run's settings, timed and put on the record.

        Args:
            eval_every: evaluate at these steps instead of after the epochs.
        """
        settings: TrainSettings = self.settings
        metric, higher = self.metric()
        torch.manual_seed(self.settings.seed + self.accelerator.process_index)
        if isinstance(objective.model, Student):
            # a batch uses a fraction of the table's rows; gradients for the others cost most of a small student's step
            objective.model.sparse = self.device.type == "cpu" and self.accelerator.num_processes == 1
        with self.run.timed(f"{phase}_s"):
            result = fit(
                objective,
                batches,
                build_optimizer(objective, learning_rate=learning_rate, weight_decay=settings.weight_decay),
                epochs=epochs,
                folder=self.run.folder / "checkpoints",
                log=self.log,
                accelerator=self.accelerator,
                phase=phase,
                schedule=schedule(settings),
                max_steps=max_steps,
                clip=settings.clip,
                evaluate=validation,
                metric=metric,
                higher_is_better=higher,
                eval_steps=settings.eval_steps or eval_every,
                eval_epochs=eval_every is None,
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
        self.run.record.training[phase] = vars(result) | {
            "learning_rate": learning_rate,
            "padding_ratio": batches.padding_ratio(),
        }
        if result.stopped_by == "time budget":
            self.run.say(f"{phase}: ended by the time budget after {result.steps:,} steps, with the best so far.")
        return result

    def describe(self, name: str, model: Measurable, test_logits: np.ndarray, splits: Splits) -> None:
        """Put a model on the record: its scores on the rows that report, and what it costs."""
        split, rows = reporting_rows(splits)
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

    def heed(self) -> None:
        """Leave at a signal, where all that has been done is on disk.

        Raises:
            Interrupted: if there was one.
        """
        if self.stop.signal_number is not None:
            raise Interrupted(self.stop.signal_number)


def reporting_rows(splits: Splits) -> tuple[str, Rows]:
    """The rows whose scores are shown: the test split, or the validation split where there is no test split."""
    return ("test", splits.test) if splits.test is not None else ("validation", splits.validation)


def schedule(settings: TrainSettings) -> Schedule:
    """The learning-rate schedule that the settings name."""
    if settings.schedule in ("linear", "cosine"):
        return partial(getattr(schedules, settings.schedule), warmup=settings.warmup)
    return getattr(schedules, settings.schedule)


def make_accelerator(settings: TrainSettings, tracking: Path | None = None) -> Accelerator:
    """Devices, autocast and loss scaling, process groups and trackers, by ``accelerate``."""
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=settings.track,
        project_config=ProjectConfiguration(logging_dir=str(tracking) if tracking else None),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


@contextmanager
def open_workbench(command: str, settings: Any, splits: Splits) -> Iterator[Workbench]:
    """Open the run folder and everything around it; on the way out the record is saved and the signals are ours no more.

    A run that is finished already comes with ``run.record.finished`` set: there is nothing left to do.
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
        yield Workbench(run, None, Stop(), Display(visible=False), None, settings, splits.task)  # type: ignore[arg-type]
        return
    accelerator = make_accelerator(settings, run.folder / "tracking")
    if settings.track:
        accelerator.init_trackers("understudy", config=flat(as_dict(settings)))
    accelerator.wait_for_everyone()
    run.record.versions = versions()
    run.record.hardware = hardware(
        threads=torch.get_num_threads(),
        accelerator=_accelerator_name(accelerator),
        processes=accelerator.num_processes,
    )
    run.record.task = splits.task.as_dict()
    run.record.data = _data_rows(splits)
    for note in splits.notes:
        run.say(note)
    budget = seconds(run_settings.time_budget) if run_settings.time_budget else None
    log = ProgressLog(
        run.folder / "progress.csv",
        progress_columns(["label_loss", "distillation"], splits.task.metrics),
        writes=run.writes,
    )
    with Stop(budget_s=budget) as stop, Display(visible=run.writes) as display:
        try:
            yield Workbench(run, accelerator, stop, display, log, settings, splits.task)
        except Interrupted as error:
            error.remedy = f"Go on with the same command, --output {run.folder} and --resume."
            raise
    if settings.track:
        accelerator.end_training()


def _accelerator_name(accelerator: Accelerator) -> str | None:
    return torch.cuda.get_device_name(accelerator.device) if accelerator.device.type == "cuda" else None


def _data_rows(splits: Splits) -> dict[str, Any]:
    parts: dict[str, Texts] = {"train": splits.train.texts, "validation": splits.validation.texts}
    if splits.test is not None:
        parts["test"] = splits.test.texts
    if splits.unlabeled is not None:
        parts["unlabeled"] = splits.unlabeled
    return {name: {"rows": len(texts), "fingerprint": texts.fingerprint} for name, texts in parts.items()}


def metric_faults(settings: TrainSettings, task: Task) -> list[str]:
    """What is wrong with the metric that is to select models, now that the task is known."""
    if settings.metric is None or settings.metric in task.metrics:
        return []
    return [
        f"metric must be one of {', '.join(task.metrics)} for this task, but is {settings.metric!r}.{nearest(settings.metric, task.metrics)}"
    ]


def validation_scores(
    encoded: Encoded, rows: Rows, task: Task, *, names: Sequence[str], device: torch.device | str
) -> Callable[[nn.Module], dict[str, float]]:
    """A function that scores a model on the validation rows."""

    def score(model: nn.Module) -> dict[str, float]:
        return evaluate(logits(model, encoded, names=names, device=device), rows.labels, task).metrics

    return score


def fit_tfidf(train: Rows, splits: Splits) -> Tfidf:
    """TF-IDF with a linear model on labelled rows, its penalty chosen on the validation rows."""
    validation = (splits.validation.texts, splits.validation.labels)
    return Tfidf.fit(train.texts, train.labels, splits.task, validation=validation)


def describe_tfidf(bench: Workbench, splits: Splits) -> None:
    """The baseline that everything must beat: TF-IDF with a linear model, on the labelled rows."""
    labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
    with bench.run.timed("tfidf_s"):
        tfidf = fit_tfidf(labelled, splits)
    bench.describe("tfidf", tfidf, tfidf.logits(list(reporting_rows(splits)[1].texts)), splits)


def text_length(model: Any, tokenizer: PreTrainedTokenizerBase, asked: int | None) -> int:
    """The most tokens of a text: what was asked for, else 256 or what the model reads, whichever is less."""
    return max_length(model.config, tokenizer, asked) if asked else min(256, max_length(model.config, tokenizer, None))


def save(model: Answering, folder: Path) -> None:
    """Write a trained model as :func:`understudy.load` reads it."""
    if isinstance(model, LinearPredictor):
        model.tfidf.save(folder)
    elif isinstance(model, Predictor):
        save_model(folder, model.model, model.tokenizer, task=model.task, max_length=model.max_length)


def processes() -> PartialState:
    """The processes of this run; the first call joins them."""
    # without being told, accelerate takes several processes on a CPU for as many runs of one
    several_on_cpu = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    return PartialState(cpu=several_on_cpu, timeout=_WAIT)


def training_plan(
    objective: nn.Module, batches: BucketedBatches, splits: Splits, settings: Any, *, rows: int | None = None
) -> dict[str, str]:
    """What training will take: rows, tokens, steps, time, memory and disk.

    Args:
        rows: of an epoch, where they are more than the batches show.
    """
    shown = len(batches.encoded)
    rows = rows or shown
    steps = -(-rows // settings.batch_size) * settings.epochs
    time_s = seconds_per_row(objective, batches) * rows * settings.epochs
    weights = sum(p.numel() * p.element_size() for p in objective.parameters())
    tokens = int(batches.encoded.lengths.sum() * rows / shown)
    counts = {"validation": len(splits.validation), "test": len(splits.test) if splits.test is not None else 0}
    return {
        "rows": f"{rows:,} to train on, " + ", ".join(f"{n:,} {name}" for name, n in counts.items()),
        "tokens": f"{tokens:,} an epoch",
        "steps": f"{steps:,} of {settings.batch_size} rows, {settings.epochs} epochs at most",
        "training": f"about {duration(time_s)} for {sum(p.numel() for p in objective.parameters()):,} parameters",
        "memory": f"about {4 * weights / 1e6:,.0f} MB for weights, gradients and moments; as much disk for a checkpoint",
    }


def seconds_per_row(objective: nn.Module, batches: BucketedBatches) -> float:
    """Seconds a row of training, measured on one micro-batch of the plan; leaves no trace in weights or generators."""
    random_state = torch.get_rng_state()
    steps = next(iter(batches.windows(0)))
    times = []
    for _ in range(2):
        start = time.perf_counter()
        sum((term.sum for term in objective(steps[0])), start=torch.zeros(())).backward()
        times.append(time.perf_counter() - start)
    objective.zero_grad(set_to_none=True)
    torch.set_rng_state(random_state)
    return min(times) / steps[0].counts["rows"]


def say_plan(lines: Mapping[str, str]) -> None:
    """Print what is about to be done, a line a fact, once however many processes there are."""
    if not processes().is_main_process:
        return
    console = Console(stderr=True, highlight=False)
    width = max(map(len, lines))
    for name, value in lines.items():
        console.print(f"  [bold]{name:<{width}}[/bold]  {value}", soft_wrap=True)


def duration(value: float) -> str:
    """A duration in words.

    Example:
        >>> duration(42.3), duration(190), duration(9000)
        ('42 s', '3 min', '2.5 h')
    """
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def finish(bench: Workbench) -> RunRecord:
    """The record, the plots, the model card and the table."""
    from understudy.report.card import write_card
    from understudy.report.plots import draw_all
    from understudy.report.tables import models_table

    record = bench.run.record
    if bench.run.writes:
        with bench.run.timed("report_s"):
            draw_all(bench.run.folder, record.as_dict())
            write_card(bench.run.folder, record.as_dict())
        bench.heed()
        bench.run.finish()
        console = Console()
        console.print(models_table(record.as_dict()))
        console.print(f"Everything is in {bench.run.folder}", highlight=False, soft_wrap=True)
    bench.accelerator.wait_for_everyone()
    return record
