"""A phase of training under a run's settings, timed and put on the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import nn

from understudy.data.batches.contract import BatchSource
from understudy.runs.devices import on_threads
from understudy.runs.fitting.learning import compiled, learning_plan, stages
from understudy.runs.fitting.rate_sweep import rate_for
from understudy.runs.session import Session
from understudy.settings.training import WARMED_UP, TrainSettings
from understudy.training import schedules
from understudy.training.loop import fit
from understudy.training.optimizers.lazy_adamw import sparse_gradients
from understudy.training.stages import FitResult, Schedule
from understudy.training.stop import OUT_OF_TIME
from understudy.training.unfreezing.plan import LearningPlan


def train_phase(
    session: Session,
    objective: nn.Module,
    batches: BatchSource,
    *,
    phase: str,
    validation: Callable[[nn.Module], Mapping[str, float]],
    learning_rate: float,
    fresh: bool = False,
    begun: bool = False,
    budget_s: float | None = None,
    keep: Literal["best", "last"] = "best",
    keepers: Mapping[str, bool] | None = None,
    visit: Callable[[str], None] = lambda score: None,
) -> FitResult:
    """:func:`understudy.training.loop.fit` under a run's settings.

    Args:
        phase: its name in ``progress.csv`` and on the record.
        validation: scores of a model on the validation data.
        learning_rate: the peak where the settings name none; a sweep may suggest as much.
        fresh: whether the model's weights are random.
        begun: whether another process may have begun the phase, even if the run is not resumed.
        budget_s: seconds that this phase may take, a sweep included.
        keep: which evaluation's weights the model ends with.
        keepers, visit: see :func:`understudy.training.loop.fit`.
    """
    settings: TrainSettings = session.settings
    record = session.run.record
    metric, higher = session.metric()
    plan = begin(session, objective, learning_rate=learning_rate)
    started = time.monotonic()
    found = None
    if settings.learning_rate == "auto":
        with on_threads(session.threads):
            found = rate_for(session, plan, batches, phase=phase, usual=learning_rate, fresh=fresh, budget_s=budget_s)
    if budget_s is not None:
        budget_s -= time.monotonic() - started
    with session.run.timed(f"{phase}_s"), on_threads(session.threads), compiled(objective.model, settings):
        result = fit(
            objective,
            batches,
            stages(plan, settings, learning_rate=found),
            folder=session.run.folder / "checkpoints",
            log=session.log,
            accelerator=session.accelerator,
            phase=phase,
            schedule=schedule(settings),
            momentum=schedules.one_cycle_momentum if settings.cycle_momentum else None,
            clip=settings.clip,
            evaluate=validation,
            metric=metric,
            higher_is_better=higher,
            keep=keep,
            keepers=keepers,
            visit=visit,
            eval_steps=settings.eval_steps,
            patience=settings.patience,
            min_delta=settings.min_delta,
            save_steps=settings.save_steps,
            resume=session.settings.resume or begun,
            stop=session.stop,
            budget_s=budget_s,
            display=session.display,
        )
    session.display.close()
    # the checkpoint that this process resumed from has the seconds of the one that was killed
    record.timings[f"{phase}_s"] = max(record.timings[f"{phase}_s"], result.seconds)
    rates = {group.name: group.learning_rate for group in plan.groups(found) if group.name in plan.names}
    record.training.setdefault(phase, {}).update(vars(result))
    record.training[phase] |= {
        "learning_rate": max(rates.values()),
        "learning_rates": rates,
        "padding_ratio": batches.padding_ratio(),
        **({"keep": keep} if keep == "last" else {}),
    }
    if result.stopped_by == OUT_OF_TIME:
        kept = "the last weights" if keep == "last" else "the best so far"
        session.run.say(f"{phase}: ended by the time budget after {result.steps:,} steps, with {kept}.")
    return result


def begin(session: Session, objective: nn.Module, *, learning_rate: float) -> LearningPlan:
    """Seed what a phase of training draws, and settle what learns in it.

    Args:
        learning_rate: where the settings name none.
    """
    torch.manual_seed(session.settings.seed + session.accelerator.process_index)
    alone = session.device.type == "cpu" and session.accelerator.num_processes == 1
    sparse_gradients(objective.model, alone and session.settings.optimizer == "adamw")
    return learning_plan(objective, session.settings, learning_rate=learning_rate)


def schedule(settings: TrainSettings) -> Schedule:
    """The learning-rate schedule that the settings name."""
    if settings.schedule in WARMED_UP:
        return partial(getattr(schedules, settings.schedule), warmup=settings.warmup)
    return getattr(schedules, settings.schedule)
