"""``understudy lr-find``: a learning rate by experiment."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any, Protocol

from torch import nn

from understudy.data.batches.contract import BatchSource
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.recipes.train.pretrain.recipe import Pretrain
from understudy.runs.devices import on_threads
from understudy.runs.fitting.phase import begin
from understudy.runs.fitting.rate_sweep import find_rate, on_record, sweep_warnings
from understudy.runs.session import Session
from understudy.runs.threads.choice import Threads
from understudy.settings.choose.lr_find import FindForFinetuneSettings, FindForPretrainSettings
from understudy.settings.configuration import given
from understudy.terminal.lines import show
from understudy.terminal.screen import Screen
from understudy.training.unfreezing.plan import LearningPlan

_NOT_REPEATED = {"output", "overwrite", "resume", "dry_run", "time_budget", "learning_rate"}
"""Flags of the sweep that the suggested command does not have."""


class Trainable(Protocol):
    """The work of a command that trains with the loop."""

    settings: Any
    objective: nn.Module
    batches: BatchSource


class Sweeping:
    """Sweeps instead of training, and keeps nothing of it. In the list of bases it comes before the recipe."""

    def say_plan(self, work: Any, threads: Threads) -> None:
        """Print the plan on a dry run alone: its steps and times are those of training."""
        if self.dry_run:  # type: ignore[attr-defined]
            super().say_plan(work, threads)  # type: ignore[misc]

    def conclude(self, session: Session, work: Any) -> None:
        """Write ``lr_find.png``, ``lr_find.csv`` and ``record.json``; print the suggestion."""
        sweep_and_say(session, work, self)


class FindForFinetune(Sweeping, Finetune, FindForFinetuneSettings):
    """Find the learning rate for a finetune with the same flags; nothing of the training is kept."""


class FindForPretrain(Sweeping, Pretrain, FindForPretrainSettings):
    """Find the learning rate for a pretrain with the same flags; nothing of the training is kept."""


def sweep_and_say(session: Session, work: Trainable, settings: Any) -> None:
    """Sweep; write the curve, its picture and the record; say what it suggests and how to use it."""
    session = dataclasses.replace(session, settings=work.settings)  # with what the work chose where they leave it open
    plan = begin(session, work.objective, learning_rate=1.0)
    folder = session.run.folder
    with session.run.timed("lr_find_s"), on_threads(session.threads):
        curve, suggestion = find_rate(
            session,
            plan,
            work.batches,
            lowest=settings.lowest,
            highest=settings.highest,
            steps=settings.steps,
            budget_s=session.stop.remaining(),
            table=folder / "lr_find.csv",
            picture=folder / "lr_find.png",
        )
    session.run.record.training["sweep"] = on_record(curve, suggestion)
    if not session.run.writes:
        return
    session.log.path.unlink(missing_ok=True)  # nothing of this training is kept, its progress included
    for warning in sweep_warnings(curve, suggestion):
        session.run.say(warning)
    session.run.finish()
    console = Screen(highlight=False)
    lines = {
        "steepest descent": f"{suggestion.steepest:.1e}",
        "a tenth of the minimum": f"{suggestion.tenth:.1e}",
        "suggested": f"[bold]{suggestion.rate:.1e}[/bold]" + (" (capped)" if suggestion.warning() else ""),
    }
    for name, value in lines.items():
        console.print(f"  {name:<26}{value}")
    show(f"The curve is in {folder / 'lr_find.png'} and {folder / 'lr_find.csv'}. To use it:")
    show(f"  {usage(settings, plan, suggestion.rate)}")


def usage(settings: Any, plan: LearningPlan, rate: float) -> str:
    """The command that trains with a rate: the given flags, without those of the sweep and of the run."""
    trains = type(settings).trains
    own = trains(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(trains)})
    words = ["understudy", trains.command]
    for name, value in given(own).items():
        if name in _NOT_REPEATED:
            continue
        if isinstance(value, bool):
            group, dot, switch = name.rpartition(".")
            words.append(f"--{name}" if value else f"--{group}{dot}no_{switch}")
        else:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    rates = plan.with_highest(rate)
    found = ":".join(f"{one:.1e}" for one in (rates if isinstance(rates, tuple) else (rates,)))
    return shlex.join([*words, "--learning_rate", found])
