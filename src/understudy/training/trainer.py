"""The moving parts of :func:`understudy.training.loop.fit`, so that each can be read alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from understudy.data.batches.bucketed import Batch
from understudy.errors import ConfigError
from understudy.objectives.terms import Term
from understudy.training.checkpoint import (
    ProgressLog,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from understudy.training.dropout import FastDropout
from understudy.training.optimizers.groups import clip_gradients
from understudy.training.optimizers.nt_asgd import Averaging
from understudy.training.progress.reporter import Reporter

if TYPE_CHECKING:
    from understudy.training.loop import Stage

_FORMAT = 3
"""Of the checkpoint: raised whenever what is in it changes."""

_SAVE_COST = 0.03
"""The share of the time that checkpoints may take where ``save_steps`` does not say when to write them."""


@dataclass
class State:
    """Where a run stands; with the optimizer, the scaler and the generators it is all there is to resume."""

    stage: int = 0
    stage_step: int = 0
    first_epoch: int = 0
    """Of the stage."""
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    rows: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_step: int = 0
    evaluations_since_best: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    """Those that are over."""


class Trainer:
    """Steps, scores, checkpoints and the change from one stage to the next."""

    def __init__(
        self,
        objective: nn.Module,
        stages: Sequence[Stage],
        accelerator: Accelerator,
        stem: Path,
        log: ProgressLog,
        phase: str,
    ) -> None:
        self.accelerator = accelerator
        self.objective = objective
        self.model: nn.Module = objective.model  # type: ignore[assignment]
        objective.train()  # what comes from a checkpoint is in evaluation mode, in which nothing drops
        self.stages = stages
        self.wrapped: Any = None
        self.optimizer: Any = None
        self.parameters: list[nn.Parameter] = []
        self.reporter = Reporter(log, accelerator, phase)
        self.stem = stem
        self.path, self.done_path = stem.with_name(f"{stem.name}.pt"), stem.with_name(f"{stem.name}-done.pt")
        self.state = State()
        self.best: dict[str, Tensor] | None = None
        self.save_seconds = 0.0

    # Stages

    def enter(self, number: int) -> None:
        """Begin a stage: the old optimizer is freed; what learns, the new one and the wrapping are set up."""
        state, stage = self.state, self.stages[number]
        kind, moments = self._moments()
        self.leave()
        if number != state.stage:
            state.epoch, state.step_in_epoch = state.epoch + bool(state.step_in_epoch), 0
            state.stage, state.stage_step, state.first_epoch, state.evaluations_since_best = number, 0, state.epoch, 0
            if stage.from_best and self.best is not None:
                _put_back(self.objective, self.best)
        optimizer = stage.optimizer()
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        learns = set(self.parameters)
        for name, parameter in self.objective.named_parameters():
            if type(optimizer) is kind and parameter in learns and name in moments:
                optimizer.state[parameter] = moments[name]
        self.wrapped = self.accelerator.prepare_model(self.objective)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer, device_placement=True)

    def _moments(self) -> tuple[type | None, dict[str, Any]]:
        """The kind of the optimizer, and what it knows of each parameter, by the parameter's name."""
        if self.optimizer is None:
            return None, {}
        known = self.optimizer.state
        named = {name: known[p] for name, p in self.objective.named_parameters() if p in known}
        return type(self.optimizer.optimizer), named

    def leave(self) -> None:
        """Take off what wraps the model for several processes; free the optimizer and every gradient."""
        if self.accelerator.num_processes > 1 and self.wrapped is not None:
            # of a single process there is autocast alone, which stays: accelerate would not put it on a second time
            self.accelerator.unwrap_model(self.wrapped, keep_fp32_wrapper=False)
        self.wrapped, self.optimizer, self.parameters = None, None, []
        self.objective.zero_grad(set_to_none=True)
        self.accelerator.free_memory()

    # Steps

    def step(self, window: Sequence[Batch], multiplier: float, momentum: float | None, clip: float) -> Tensor:
        """One optimizer step over a window of micro-batches; the loss of this process before it."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        totals = self._totals(window)
        self.optimizer.zero_grad(set_to_none=True)
        whole = torch.zeros((), device=accelerator.device)
        for i, batch in enumerate(window):
            batch = batch.to(accelerator.device)
            waits = processes > 1 and i < len(window) - 1
            with accelerator.no_sync(self.wrapped) if waits else nullcontext():
                with FastDropout():
                    terms: list[Term] = self.wrapped(batch)
                parts = [term.sum.float() * (processes / max(totals[term.per], 1)) for term in terms]
                loss = torch.stack([term.weight * part for term, part in zip(terms, parts)]).sum()
                accelerator.backward(loss)
            whole += loss.detach()
            self.reporter.add(
                [("loss", loss.detach()), *((term.name, part.detach()) for term, part in zip(terms, parts))]
            )
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier * window[0].rate
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif momentum is not None:
                group["momentum"] = momentum
        if accelerator.scaler is not None:
            accelerator.unscale_gradients(self.optimizer)
        if clip:
            clip_gradients(self.parameters, clip)
        self.optimizer.step()
        rows, state = int(totals["rows"]), self.state
        state.step, state.stage_step, state.step_in_epoch = (
            state.step + 1,
            state.stage_step + 1,
            state.step_in_epoch + 1,
        )
        state.rows += rows
        self.reporter.step_done(rows)
        return whole

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
        said = self.reporter.report(self._where(), self.optimizer.param_groups)
        return said + (f"  best {next(iter(self.state.metrics.values())):.4f}" if self.state.metrics else "")

    def assess(self, evaluate: Callable[[nn.Module], Mapping[str, float]], metric: str, higher_is_better: bool) -> None:
        """Score the bare model on the main process and keep its weights if they are the best so far."""
        state = self.state
        started = time.monotonic()
        training = self.model.training
        averaging = self.optimizer.optimizer if isinstance(self.optimizer.optimizer, Averaging) else None
        with averaging.averaged() if averaging else nullcontext():
            scores = [dict(evaluate(self.model))] if self.accelerator.is_main_process else [{}]
            self.model.train(training)
            if self.accelerator.num_processes > 1:
                broadcast_object_list(scores)
            metrics = scores[0]
            score = metrics[metric] if higher_is_better else -metrics[metric]
            better = score > state.best_score or self.best is None
            state.evaluations_since_best = 0 if better else state.evaluations_since_best + 1
            if better or score == state.best_score:  # few rows give ties, and the later weights are the more settled
                state.best_score, state.best_step = score, state.step
                state.metrics = {metric: metrics[metric], **metrics}
                self.best = _weights(self.objective)
        if averaging:
            averaging.evaluated(score)
        self.reporter.write(self._where() | {f"validation_{name}": value for name, value in metrics.items()})
        self.reporter.pause(time.monotonic() - started)

    def agree(self, mine: bool) -> bool:
        """Whether any process wishes it: all must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return mine
        wish = torch.tensor(int(mine), device=self.accelerator.device)
        return bool(self.accelerator.reduce(wish, reduction="sum").item())

    # Checkpoints

    def save_due(self, save_steps: int | None) -> bool:
        """Every `save_steps`, or when the cost of the last checkpoint is small beside the time since."""
        if save_steps:
            return self.state.step % save_steps == 0
        wait = max(10.0, self.save_seconds / _SAVE_COST)
        return self.agree(time.monotonic() - self.saved_at > wait)

    def _rank_path(self, step: int) -> Path:
        return self.stem.with_name(f"{self.stem.name}-rank{self.accelerator.process_index}-{step}.pt")

    def save(self) -> None:
        """Write the checkpoint: what each rank has of its own first, then, once all have, everything else."""
        accelerator = self.accelerator
        start = self._tick()
        if accelerator.num_processes > 1:
            own = {"random": random_state(), "carried": _carried(self.objective)}
            save_checkpoint(self._rank_path(self.state.step), own)
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

    def restore(self) -> bool:
        """Go back to the checkpoint, in the middle of its stage; whether there is one."""
        content = load_checkpoint(self.path)
        if content is None:
            self.reporter.log.forget(self.reporter.phase)
            return False
        _check_format(content, self.path)
        if content["processes"] != self.accelerator.num_processes:
            raise ConfigError(
                f"{self.path}: was written by {content['processes']} processes, but there are now "
                f"{self.accelerator.num_processes}. Resume with as many as before."
            )
        self.state.__dict__.update(content["state"])
        self.best = content["best"]
        own = content
        if self.accelerator.num_processes > 1:
            found = load_checkpoint(self._rank_path(self.state.step))
            if found is None:
                raise ConfigError(f"{self._rank_path(self.state.step)}: is missing. Give --overwrite to start afresh.")
            own = found
        self.enter(self.state.stage)  # before the optimizer's state: the stage says whose it is
        self.objective.load_state_dict(content["model"] | own.get("carried", {}))
        self.optimizer.load_state_dict(content["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(content["scaler"])
        self.reporter.load_state_dict(content["reporter"])
        set_random_state(own["random"])
        return True

    def finish(self) -> float:
        """Put the best weights back; the seconds of training."""
        self._tick()
        self.leave()
        if self.best is not None:
            _put_back(self.objective, self.best)
        return self.state.seconds

    def mark_done(self, result: Mapping[str, Any]) -> None:
        """Leave a mark that this phase is over."""
        if self.accelerator.is_main_process:
            content = {"weights": _weights(self.objective), "result": dict(result), "format": _FORMAT}
            save_checkpoint(self.done_path, content)
            self.path.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()

    def pass_by(self) -> dict[str, Any] | None:
        """The result of a phase that is over, with the weights where training would have left them; None if it is not."""
        content = load_checkpoint(self.done_path)
        if content is None:
            return None
        _check_format(content, self.done_path)
        _put_back(self.objective, content["weights"])
        self.objective.to(self.accelerator.device)
        result: dict[str, Any] = content["result"]
        return result


def _carried(objective: nn.Module) -> dict[str, Any]:
    """What an objective remembers from batch to batch, which differs between the ranks: its modules' extra state."""
    return {name: value for name, value in objective.state_dict().items() if name.endswith("_extra_state")}


def _check_format(content: Mapping[str, Any], path: Path) -> None:
    if content.get("format") != _FORMAT:
        raise ConfigError(f"{path}: was written by another version of understudy. Give --overwrite to start afresh.")


def _tensors(objective: nn.Module) -> dict[str, Tensor]:
    """Those of the model and the objective's own, each once, however many names it has."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in objective.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):  # and no extra state
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _weights(objective: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in _tensors(objective).items()}


def _put_back(objective: nn.Module, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(objective).items():
            tensor.copy_(weights[name])
