"""The one training loop: ``objective(batch) -> terms``, in stages, and everything a run must survive."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from understudy.data.batches.bucketed import BatchSource
from understudy.errors import Interrupted
from understudy.failpoints import failpoint
from understudy.training.checkpoint import ProgressLog, Stop
from understudy.training.progress.trackers import Display
from understudy.training.trainer import Trainer

Schedule = Callable[[int, int], float]
"""``(step of the stage, steps of the stage)`` to the multiplier of every group's learning rate."""

_REPORTS = 20
"""At the least, of a stage that has as many steps: a rate that rises within a tenth of them must be seen to rise."""


@dataclass(frozen=True)
class Stage:
    """A part of training in which the same parameters learn. Each has an optimizer and a schedule of its own.

    Args:
        name: what learns, in words.
        epochs: how long.
        optimizer: called as the stage begins; sets which parameters learn and returns a new optimizer for them, whose
            groups carry ``initial_lr`` and ``name``. A parameter that learnt in the stage before keeps its moments.
        from_best: begin with the best weights so far, not with the latest.
    """

    name: str
    epochs: int
    optimizer: Callable[[], torch.optim.Optimizer]
    from_best: bool = False


@dataclass
class FitResult:
    """How a phase of training went. ``metrics`` are those of the best evaluation, whose weights the model now has."""

    steps: int = 0
    epochs: int = 0
    seconds: float = 0.0
    rows: int = 0
    best_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    stopped_by: str = "epochs"
    stages: list[dict[str, Any]] = field(default_factory=list)
    """Of each stage its ``name``, its ``steps`` and what it was ``stopped_by``."""


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
    eval_steps: int | None = None,
    patience: int | None = None,
    save_steps: int | None = None,
    resume: bool = False,
    stop: Stop | None = None,
    budget_s: float | None = None,
    display: Display | None = None,
) -> FitResult:
    """Train ``objective.model`` and leave the weights of its best evaluation in it.

    The gradient of an optimizer step is that of its whole window of micro-batches over all processes, exactly: each
    term is divided by the total of its count, known before any forward.

    Stages follow one another on the same data: epochs, steps and the best score count on, the schedule and the
    patience begin anew. A stage begins a new epoch.

    Args:
        objective: called with a :class:`Batch`, returns terms; what is shipped is ``objective.model``.
        batches: the windows of each epoch, for this rank.
        stages: what learns, how long, and by which optimizer; one or more.
        folder: where ``<phase>.pt`` (to go on) and ``<phase>-done.pt`` (to pass by) are kept.
        schedule: multiplies the ``initial_lr`` of every group.
        momentum: ``(step, steps)`` of the stage to the momentum, or Adam's first beta, of every group.
        evaluate: scores of the bare model; called every `eval_steps` steps and at the end of each epoch.
        metric: the score that chooses the best weights, over all stages, and feeds `patience`.
        patience: evaluations without a new best after which a stage ends.
        resume: go on from the phase's checkpoint where there is one.
        stop: signals; a checkpoint is written, then :class:`Interrupted` is raised.
        budget_s: seconds after which training ends, with the best so far. Several stages share them by the steps they
            have yet to do; what one leaves over falls to those after it.

    Raises:
        ConfigError: if a checkpoint of another number of processes is to be resumed, or the loss is not finite.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    trainer = Trainer(objective, stages, accelerator or Accelerator(cpu=True), folder / phase, log, phase)
    display = display or Display(visible=False)
    stop = stop or Stop()
    done = trainer.pass_by() if resume else None
    if done is not None:
        return FitResult(**done)
    if not (resume and trainer.restore()):
        trainer.enter(0)
    state = trainer.state
    end = None if budget_s is None else time.monotonic() + budget_s

    def steps_of(first_epoch: int, epochs: int) -> int:
        return sum(batches.steps(epoch) for epoch in range(first_epoch, first_epoch + epochs))

    def out_of_patience() -> bool:
        return patience is not None and state.evaluations_since_best >= patience

    trainer.start_clock()
    while True:
        stage, later = stages[state.stage], stages[state.stage + 1 :]
        total = steps_of(state.first_epoch, stage.epochs)
        spacing = max(1, total // _REPORTS)
        to_come = steps_of(state.first_epoch + stage.epochs, sum(other.epochs for other in later))
        share = (total - state.stage_step) / max(total - state.stage_step + to_come, 1)
        deadline = None if end is None else time.monotonic() + share * (end - time.monotonic())
        title = f"{phase}, {stage.name}" if len(stages) > 1 else phase
        display.start(title, total, done=state.stage_step)
        stopped_by = "patience" if out_of_patience() else "epochs"
        while state.stage_step < total and stopped_by == "epochs":
            steps_in_epoch = batches.steps(state.epoch)
            for window in batches.windows(state.epoch, state.step_in_epoch):
                trainer.step(
                    window,
                    schedule(state.stage_step, total) if schedule else 1.0,
                    momentum(state.stage_step, total) if momentum else None,
                    clip,
                )
                ends_epoch = state.step_in_epoch == steps_in_epoch
                if trainer.reporter.due() or ends_epoch or state.stage_step % spacing == 0:
                    display.update(state.stage_step, trainer.report())
                if evaluate and (ends_epoch or (eval_steps and state.step % eval_steps == 0)):
                    trainer.assess(evaluate, metric, higher_is_better)
                    stopped_by = "patience" if out_of_patience() else stopped_by
                if ends_epoch:
                    state.epoch, state.step_in_epoch = state.epoch + 1, 0
                if deadline is not None and trainer.agree(time.monotonic() > deadline):
                    stopped_by = "time budget"
                if trainer.agree(stop.signal_number is not None):
                    trainer.save()
                    raise Interrupted(stop.signal_number or 15)
                if trainer.save_due(save_steps):
                    trainer.save()
                failpoint(f"{phase}.step")
                if stopped_by != "epochs":
                    break
        state.stages.append({"name": stage.name, "steps": state.stage_step, "stopped_by": stopped_by})
        out_of_time = end is not None and trainer.agree(time.monotonic() > end)
        if not later or out_of_time:
            break
        trainer.enter(state.stage + 1)
    if evaluate and not state.metrics:
        trainer.assess(evaluate, metric, higher_is_better)
    ends = [known["stopped_by"] for known in state.stages]
    result = FitResult(
        steps=state.step,
        epochs=state.epoch,
        rows=state.rows,
        best_step=state.best_step,
        metrics=state.metrics,
        stopped_by="time budget" if "time budget" in ends else ends[-1],
        stages=state.stages,
    )
    result.seconds = trainer.finish()
    trainer.mark_done(asdict(result))
    return result
