"""The one training loop: ``objective(batch) -> terms``, and everything a run must survive."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from understudy.data.batches import Batch, BatchSource
from understudy.errors import ConfigError, Interrupted
from understudy.failpoints import failpoint
from understudy.objectives.supervised import Term
from understudy.training.checkpoint import (
    ProgressLog,
    Stop,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from understudy.training.groups import clip_gradients
from understudy.training.reporter import Reporter
from understudy.training.trackers import Display

Schedule = Callable[[int, int], float]
"""``(step, total steps)`` to the multiplier of every group's learning rate."""

_FORMAT = 1
"""Of the checkpoint: raised whenever what is in it changes."""

_SAVE_COST = 0.03
"""The share of the time that checkpoints may take where ``save_steps`` does not say when to write them."""


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


@dataclass
class _State:
    """Where a run stands; with the optimizer, the scaler and the generators it is all there is to resume."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    rows: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_step: int = 0
    evaluations_since_best: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def fit(
    objective: nn.Module,
    batches: BatchSource,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    folder: Path,
    log: ProgressLog,
    accelerator: Accelerator | None = None,
    phase: str = "train",
    schedule: Schedule | None = None,
    max_steps: int | None = None,
    clip: float = 1.0,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    metric: str = "",
    higher_is_better: bool = True,
    eval_steps: int | None = None,
    eval_epochs: bool = True,
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

    Args:
        objective: called with a :class:`Batch`, returns terms; what is shipped is ``objective.model``.
        batches: the windows of each epoch, for this rank.
        optimizer: its groups carry ``initial_lr``, which `schedule` multiplies.
        epochs, max_steps: whichever ends first.
        folder: where ``<phase>.pt`` (to go on) and ``<phase>-done.pt`` (to pass by) are kept.
        evaluate: scores of the bare model; called every `eval_steps` steps, at the end of each epoch (unless
            `eval_epochs` is false) and at the end of training.
        metric: the score that chooses the best weights and feeds `patience` (evaluations without improvement).
        resume: go on from the phase's checkpoint where there is one.
        stop: signals; a checkpoint is written, then :class:`Interrupted` is raised.
        budget_s: seconds after which training ends, with the best so far.

    Raises:
        ConfigError: if a checkpoint of another number of processes is to be resumed, or the loss is not finite.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    trainer = _Trainer(objective, optimizer, accelerator or Accelerator(cpu=True), folder / phase, log, phase)
    display = display or Display(visible=False)
    stop = stop or Stop()
    done = load_checkpoint(trainer.done_path) if resume else None
    if done is not None:
        trainer.model.load_state_dict(done["model"])
        return FitResult(**done["result"])
    if resume:
        trainer.restore()
    state = trainer.state

    def out_of_patience() -> bool:
        return patience is not None and state.evaluations_since_best >= patience

    total = sum(batches.steps(epoch) for epoch in range(epochs))
    total = min(total, max_steps) if max_steps else total
    deadline = None if budget_s is None else time.monotonic() + budget_s
    display.start(phase, total, done=state.step)
    stopped_by = "patience" if out_of_patience() else "epochs"
    trainer.start_clock()
    while state.step < total and stopped_by == "epochs":
        steps_in_epoch = batches.steps(state.epoch)
        for window in batches.windows(state.epoch, state.step_in_epoch):
            multiplier = schedule(state.step, total) if schedule else 1.0
            trainer.step(window, multiplier, clip)
            state.step += 1
            state.step_in_epoch += 1
            ends_epoch = state.step_in_epoch == steps_in_epoch or state.step == total
            if trainer.reporter.due() or ends_epoch:
                display.update(state.step, trainer.report())
            ends_here = state.step == total or (ends_epoch and eval_epochs)
            if evaluate and (ends_here or (eval_steps and state.step % eval_steps == 0)):
                trainer.assess(evaluate, metric, higher_is_better)
                stopped_by = "patience" if out_of_patience() else stopped_by
            if deadline is not None and trainer.agree(time.monotonic() > deadline):
                stopped_by = "time budget"
            if trainer.agree(stop.signal_number is not None):
                trainer.save()
                raise Interrupted(stop.signal_number or 15)
            if trainer.save_due(save_steps):
                trainer.save()
            failpoint(f"{phase}.step")
            if state.step == total or stopped_by != "epochs":
                break
        if state.step_in_epoch == steps_in_epoch:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
    if evaluate and not state.metrics:
        trainer.assess(evaluate, metric, higher_is_better)
    return trainer.finish(stopped_by)


class _Trainer:
    """The moving parts of one :func:`fit`, so that each can be read alone."""

    def __init__(
        self,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        stem: Path,
        log: ProgressLog,
        phase: str,
    ) -> None:
        self.accelerator = accelerator
        self.objective = objective
        self.model: nn.Module = objective.model  # type: ignore[assignment]
        self.wrapped = accelerator.prepare_model(objective)
        self.optimizer = accelerator.prepare_optimizer(optimizer, device_placement=True)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.reporter = Reporter(log, accelerator, phase)
        self.stem = stem
        self.path, self.done_path = stem.with_name(f"{stem.name}.pt"), stem.with_name(f"{stem.name}-done.pt")
        self.state = _State()
        self.best: dict[str, Tensor] | None = None
        self.save_seconds = 0.0

    def step(self, window: Sequence[Batch], multiplier: float, clip: float) -> None:
        """One optimizer step over a window of micro-batches."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        totals = self._totals(window)
        self.optimizer.zero_grad(set_to_none=True)
        for i, batch in enumerate(window):
            batch = batch.to(accelerator.device)
            waits = processes > 1 and i < len(window) - 1
            with accelerator.no_sync(self.wrapped) if waits else nullcontext():
                terms: list[Term] = self.wrapped(batch)
                parts = [term.sum.float() * (processes / max(totals[term.per], 1)) for term in terms]
                loss = torch.stack([term.weight * part for term, part in zip(terms, parts)]).sum()
                accelerator.backward(loss)
            self.reporter.add(
                [("loss", loss.detach()), *((term.name, part.detach()) for term, part in zip(terms, parts))]
            )
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier * window[0].rate
        if accelerator.scaler is not None:
            accelerator.unscale_gradients(self.optimizer)
        if clip:
            clip_gradients(self.parameters, clip)
        self.optimizer.step()
        self.state.rows += int(totals["rows"])
        self.reporter.step_done(int(totals["rows"]))

    def _totals(self, window: Sequence[Batch]) -> dict[str, float]:
        """Counts over the window and all processes, before any forward."""
        names = list(window[0].counts)
        totals = [float(sum(batch.counts[name] for batch in window)) for name in names]
        if self.accelerator.num_processes > 1:
            reduced = self.accelerator.reduce(torch.tensor(totals, device=self.accelerator.device), reduction="sum")
            totals = reduced.tolist()
        return dict(zip(names, totals))

    def start_clock(self) -> None:
        """From here on time counts as training."""
        self.resumed_at = self.saved_at = time.monotonic()
        self.seconds_before = self.state.seconds

    def _tick(self) -> float:
        now = time.monotonic()
        self.state.seconds = self.seconds_before + now - self.resumed_at
        return now

    def _where(self) -> dict[str, Any]:
        self._tick()
        return {"epoch": self.state.epoch + 1, "step": self.state.step, "seconds": round(self.state.seconds, 3)}

    def report(self) -> str:
        """Write a row of ``progress.csv``; the same in short, with the best score so far."""
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        said = self.reporter.report(self._where(), learning_rate=rate)
        return said + (f"  best {next(iter(self.state.metrics.values())):.4f}" if self.state.metrics else "")

    def assess(self, evaluate: Callable[[nn.Module], Mapping[str, float]], metric: str, higher_is_better: bool) -> None:
        """Score the bare model on the main process and keep its weights if they are the best so far."""
        state = self.state
        started = time.monotonic()
        training = self.model.training
        scores = [dict(evaluate(self.model))] if self.accelerator.is_main_process else [{}]
        self.model.train(training)
        if self.accelerator.num_processes > 1:
            broadcast_object_list(scores)
        metrics = scores[0]
        self.reporter.write(self._where() | {f"validation_{name}": value for name, value in metrics.items()})
        self.reporter.pause(time.monotonic() - started)
        score = metrics[metric] if higher_is_better else -metrics[metric]
        state.evaluations_since_best += 1
        if score > state.best_score or self.best is None:
            state.best_score, state.best_step, state.evaluations_since_best = score, state.step, 0
            state.metrics = {metric: metrics[metric], **metrics}
            self.best = _copy(self.model)

    def agree(self, mine: bool) -> bool:
        """Whether any process wishes it: all must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return mine
        wish = torch.tensor(int(mine), device=self.accelerator.device)
        return bool(self.accelerator.reduce(wish, reduction="sum").item())

    def save_due(self, save_steps: int | None) -> bool:
        """Every `save_steps`, or when the cost of the last checkpoint is small beside the time since."""
        if save_steps:
            return self.state.step % save_steps == 0
        wait = max(10.0, self.save_seconds / _SAVE_COST)
        return self.agree(time.monotonic() - self.saved_at > wait)

    def _rank_path(self, step: int) -> Path:
        return self.stem.with_name(f"{self.stem.name}-rank{self.accelerator.process_index}-{step}.pt")

    def save(self) -> None:
        """Write the checkpoint: the ranks' generators first, then, once all have, everything else."""
        accelerator = self.accelerator
        start = self._tick()
        if accelerator.num_processes > 1:
            save_checkpoint(self._rank_path(self.state.step), {"random": random_state()})
            accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            content = {
                "state": asdict(self.state),
                "model": self.objective.state_dict(),
                "best": self.best,
                "optimizer": self.optimizer.state_dict(),
                "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
                "random": random_state(),
                "reporter": self.reporter.state_dict(),
                "processes": accelerator.num_processes,
                "format": _FORMAT,
            }
            save_checkpoint(self.path, content)
        accelerator.wait_for_everyone()
        for path in set(self.stem.parent.glob(self._rank_path(0).name.replace("-0.", "-*."))):
            if path != self._rank_path(self.state.step):
                path.unlink()
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - start

    def restore(self) -> None:
        """Go back to the checkpoint, where there is one."""
        content = load_checkpoint(self.path)
        if content is None:
            self.reporter.log.forget(self.reporter.phase)
            return
        if content.get("format") != _FORMAT:
            raise ConfigError(
                f"{self.path}: was written by another version of understudy. Give --overwrite to start afresh."
            )
        if content["processes"] != self.accelerator.num_processes:
            raise ConfigError(
                f"{self.path}: was written by {content['processes']} processes, but there are now "
                f"{self.accelerator.num_processes}. Resume with as many as before."
            )
        self.state.__dict__.update(content["state"])
        self.objective.load_state_dict(content["model"])
        self.best = content["best"]
        self.optimizer.load_state_dict(content["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(content["scaler"])
        self.reporter.load_state_dict(content["reporter"])
        own = load_checkpoint(self._rank_path(self.state.step)) if self.accelerator.num_processes > 1 else content
        if own is None:
            raise ConfigError(f"{self._rank_path(self.state.step)}: is missing. Give --overwrite to start afresh.")
        set_random_state(own["random"])

    def finish(self, stopped_by: str) -> FitResult:
        """Put the best weights back and leave a mark that this phase is over."""
        self._tick()
        state = self.state
        if self.best is not None:
            self.model.load_state_dict(self.best)
        result = FitResult(
            steps=state.step,
            epochs=state.epoch,
            seconds=state.seconds,
            rows=state.rows,
            best_step=state.best_step,
            metrics=state.metrics,
            stopped_by=stopped_by,
        )
        if self.accelerator.is_main_process:
            save_checkpoint(self.done_path, {"model": _copy(self.model), "result": asdict(result)})
            self.path.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return result


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
