"""The one training loop: ``objective(batch) -> terms``, in stages, with checkpoints, a time budget and signals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelerate import Accelerator
from torch import nn

from understudy.data.batches.bucketed import Batch
from understudy.data.batches.contract import BatchSource
from understudy.errors import Interrupted
from understudy.failpoints import failpoint
from understudy.training.phase import Phase
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog
from understudy.training.stages import FitResult, Schedule, Stage
from understudy.training.stop import OUT_OF_TIME, Stop
from understudy.training.trainer import Trainer

_REPORTS = 20
"""Reports a stage at least (or one a step, if it has fewer steps), so that a short warm-up is visible."""


def fit(
    objective: nn.Module,
    batches: BatchSource,
    stages: Sequence[Stage],
    *,
    folder: Path,
    log: ProgressLog,
    accelerator: Accelerator | None = None,
    phase: str = "train",
    schedule: Schedule | None = None,
    momentum: Schedule | None = None,
    clip: float = 1.0,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    metric: str = "",
    higher_is_better: bool = True,
    keep: Literal["best", "last"] = "best",
    keepers: Mapping[str, bool] | None = None,
    visit: Callable[[str], None] = lambda score: None,
    eval_steps: int | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    save_steps: int | None = None,
    resume: bool = False,
    stop: Stop | None = None,
    budget_s: float | None = None,
    display: Display | None = None,
) -> FitResult:
    """Train ``objective.model``, and leave it with the weights of its best evaluation (or of its last).

    An optimizer step has exactly the gradient of its whole window of micro-batches over all processes: each term is
    divided by the total of its count, which is known before any forward pass.

    Stages follow one another on the same data. Epochs, steps and the best score continue; the schedule and the patience
    restart. A stage begins with a new epoch.

    Args:
        objective: called with a :class:`Batch`, returns terms. ``objective.model`` is what is saved in the end.
        batches: this process's windows of every epoch.
        stages: what learns, how long, and by which optimizer; one or more.
        folder: where ``<phase>.pt`` (to resume from) and ``<phase>-done.pt`` (a finished phase) are kept.
        log: ``progress.csv``; ``phase`` is the first cell of its rows.
        schedule: multiplies the ``initial_lr`` of every group.
        momentum: ``(step, steps)`` of the stage to the momentum, or Adam's first beta, of every group.
        clip: the largest 2-norm of the gradient; 0 for no limit.
        evaluate: the scores of the bare model. Called every `eval_steps` steps, and at the end of each epoch.
        metric: the score that chooses the best weights of all stages, and that `patience` watches.
        keep: ``last`` lets every evaluation count as the best so far, where there are too few rows to choose by.
        keepers: further scores, and whether more of each is better. Of each the best weights are kept too.
        visit: called in the end with the name of each of them, while the objective has its best weights.
        patience: a stage ends after so many evaluations without a new best.
        min_delta: what is no more than this above the score that was last waited for is no new best for `patience`. The
            best weights are kept by the score alone.
        save_steps: write a checkpoint every so many steps; None for as often as it costs 3 % of the time.
        resume: continue from the phase's checkpoint, if there is one.
        stop: when a signal has come, a checkpoint is written and :class:`Interrupted` is raised.
        budget_s: seconds after which training ends with the best weights so far. Stages share them in proportion to
            the steps they have left; time that a stage does not use goes to later ones.

    Raises:
        ConfigError: if the loss is not finite, or a checkpoint does not fit: it was written by another number of
            processes, or with other frozen weights.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    training = Phase(objective, stages, accelerator or Accelerator(cpu=True), folder, log, phase, keepers)
    done = training.finished_result() if resume else None
    if done is not None:
        training.visit(visit)
        return done
    if not (resume and training.resume()):
        training.trainer.enter(0)
    scores = _Scores(training, evaluate, metric, higher_is_better, keep, eval_steps, patience, min_delta)
    rates = _Rates(schedule, momentum, clip)
    end = None if budget_s is None else time.monotonic() + budget_s
    loop = _Loop(training, batches, scores, rates, save_steps, end, stop or Stop(), display or Display(visible=False))
    loop.run()
    result = training.finish()
    training.visit(visit)
    return result


@dataclass
class _Rates:
    """How an optimizer step is taken."""

    schedule: Schedule | None
    momentum: Schedule | None
    clip: float

    def step(self, trainer: Trainer, window: Sequence[Batch], total: int) -> None:
        """Take the next step of a stage of `total` steps."""
        done = trainer.state.stage_step
        trainer.step(
            window,
            self.schedule(done, total) if self.schedule else 1.0,
            self.momentum(done, total) if self.momentum else None,
            self.clip,
        )


@dataclass
class _Scores:
    """When the model is evaluated, and when that ends a stage."""

    training: Phase
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None
    metric: str
    higher_is_better: bool
    keep: Literal["best", "last"]
    eval_steps: int | None
    patience: int | None
    min_delta: float

    def after_step(self, *, ends_epoch: bool) -> bool:
        """Evaluate if it is time to; whether that ends the stage."""
        if not self.due(ends_epoch=ends_epoch):
            return False
        self.assess()
        return self.evaluate is not None and self.out_of_patience()

    def due(self, *, ends_epoch: bool) -> bool:
        """Whether it is time to evaluate after this step."""
        return ends_epoch or bool(self.eval_steps and self.training.state.step % self.eval_steps == 0)

    def assess(self) -> None:
        """Evaluate, if there is anything to evaluate with."""
        if self.evaluate:
            self.training.assess(self.evaluate, self.metric, self.higher_is_better, self.keep, self.min_delta)

    def out_of_patience(self) -> bool:
        """Whether a stage has had too many evaluations without a new best."""
        return self.patience is not None and self.training.state.evaluations_since_best >= self.patience


@dataclass
class _Loop:
    """All steps of all stages."""

    training: Phase
    batches: BatchSource
    scores: _Scores
    rates: _Rates
    save_steps: int | None
    end: float | None
    """When the time budget is spent, on the monotonic clock."""
    stop: Stop
    display: Display

    def run(self) -> None:
        """Train from where the phase stands to the end of the last stage."""
        trainer, state = self.training.trainer, self.training.state
        self.training.start_clock()
        while True:
            stopped_by = self._stage()
            name, is_last = trainer.stages[state.stage].name, state.stage + 1 == len(trainer.stages)
            is_over = self.end is not None and trainer.agree(time.monotonic() > self.end)
            if is_over and not is_last:
                stopped_by = OUT_OF_TIME
            state.stages.append({"name": name, "steps": state.stage_step, "stopped_by": stopped_by})
            # what was learnt since the last evaluation counts as well
            if not self.training.best.found or (state.step_in_epoch and not self.scores.due(ends_epoch=False)):
                self.scores.assess()
            if is_over or is_last:
                break
            self.training.next_stage()

    def _stage(self) -> str:
        """Train to the end of the stage; what ended it."""
        trainer, name = self.training.trainer, self.training.name
        state, stage = trainer.state, trainer.stages[trainer.state.stage]
        total = self._steps(state.first_epoch, stage.epochs)
        deadline = self._deadline(total)
        title = f"{name}, {stage.name}" if len(trainer.stages) > 1 else name
        self.display.start(title, total, done=state.stage_step)
        stopped_by = "patience" if self.scores.out_of_patience() else "epochs"
        while state.stage_step < total and stopped_by == "epochs":
            steps_in_epoch = self.batches.steps(state.epoch)
            for window in self.batches.windows(state.epoch, state.step_in_epoch):
                self.rates.step(trainer, window, total)
                stopped_by = self._after_step(total, deadline, ends_epoch=state.step_in_epoch == steps_in_epoch)
                if stopped_by != "epochs":
                    break
        return stopped_by

    def _after_step(self, total: int, deadline: float | None, *, ends_epoch: bool) -> str:
        """Report, evaluate and save as far as it is time to; what ends the stage, or ``epochs`` if nothing does yet."""
        training, trainer, state = self.training, self.training.trainer, self.training.state
        stopped_by = "epochs"
        report = training.reporter.due() or ends_epoch or state.stage_step % max(1, total // _REPORTS) == 0
        if report:
            training.report()
        if self.scores.after_step(ends_epoch=ends_epoch):
            stopped_by = "patience"
        if report or self.scores.due(ends_epoch=ends_epoch):  # after the evaluation, whose score it shows
            self.display.update(state.stage_step, training.progress())
        if ends_epoch:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
        going_on = stopped_by == "epochs" and state.stage_step < total
        if going_on and deadline is not None and trainer.agree(time.monotonic() > deadline):
            stopped_by = OUT_OF_TIME
        if trainer.agree(self.stop.signal_number is not None):
            training.save()
            raise Interrupted(self.stop.signal_number or 15)
        if training.save_due(self.save_steps):
            training.save()
        failpoint(f"{training.name}.step")
        return stopped_by

    def _steps(self, first_epoch: int, epochs: int) -> int:
        return sum(self.batches.steps(epoch) for epoch in range(first_epoch, first_epoch + epochs))

    def _deadline(self, total: int) -> float | None:
        """When the stage must end: it may have its share of the time left, by the steps that are left."""
        if self.end is None:
            return None
        state, stages = self.training.state, self.training.trainer.stages
        left = total - state.stage_step
        later = sum(stage.epochs for stage in stages[state.stage + 1 :])
        to_come = self._steps(state.first_epoch + stages[state.stage].epochs, later)
        now = time.monotonic()
        return now + left / max(left + to_come, 1) * (self.end - now)
