"""Optimizer steps, and the change from one stage to the next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from understudy.data.batches.bucketed import Batch
from understudy.objectives.terms import Term
from understudy.training.dropout import FastDropout
from understudy.training.optimizers.lazy_adamw import clip_gradients
from understudy.training.progress.reporter import Reporter
from understudy.training.stages import Stage, State, may_learn


class Trainer:
    """Takes optimizer steps under the optimizer of a stage, in all processes.

    Args:
        objective: called with a :class:`Batch`, returns terms. It is put in training mode.
        stages: what learns, how long, and by which optimizer.
        accelerator: devices, precision and processes.
        reporter: is told the losses of every step.
    """

    def __init__(
        self, objective: nn.Module, stages: Sequence[Stage], accelerator: Accelerator, reporter: Reporter
    ) -> None:
        self.accelerator = accelerator
        self.objective = objective
        objective.train()  # a loaded model is in evaluation mode, without dropout
        self.stages = stages
        self.learns = may_learn(objective, stages)
        self.wrapped: Any = None
        self.optimizer: Any = None
        self.parameters: list[nn.Parameter] = []
        self.reporter = reporter
        self.state = State()

    def enter(self, number: int) -> None:
        """Begin a stage: free the old optimizer, set what learns, make the new optimizer and wrap the objective.

        Entering the stage that :attr:`state` is in leaves the counts alone: that is how a run is resumed.

        Raises:
            ValueError: if the stage's optimizer has a parameter that no stage names in ``learns``.
        """
        state, stage = self.state, self.stages[number]
        kind, moments = self._moments()
        self.leave()
        if number != state.stage:
            state.epoch, state.step_in_epoch = state.epoch + bool(state.step_in_epoch), 0
            state.stage, state.stage_step, state.first_epoch, state.evaluations_since_best = number, 0, state.epoch, 0
        optimizer = stage.optimizer()
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        learns = set(self.parameters)
        if not learns <= self.learns:
            raise ValueError(
                f"the stage {stage.name!r} trains parameters that are frozen at first; name them in `learns`"
            )
        for name, parameter in self.objective.named_parameters():
            if type(optimizer) is kind and parameter in learns and name in moments:
                optimizer.state[parameter] = moments[name]
        self.wrapped = self.accelerator.prepare_model(self.objective)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer, device_placement=True)

    def _moments(self) -> tuple[type | None, dict[str, Any]]:
        """The class of the optimizer, and its state by the name of the parameter."""
        if self.optimizer is None:
            return None, {}
        known = self.optimizer.state
        named = {name: known[p] for name, p in self.objective.named_parameters() if p in known}
        return type(self.optimizer.optimizer), named

    def leave(self) -> None:
        """Unwrap the objective; free the optimizer and all gradients."""
        if self.accelerator.num_processes > 1 and self.wrapped is not None:
            # with a single process there is only autocast, which stays: accelerate would not add it a second time
            self.accelerator.unwrap_model(self.wrapped, keep_fp32_wrapper=False)
        self.wrapped, self.optimizer, self.parameters = None, None, []
        self.objective.zero_grad(set_to_none=True)
        self.accelerator.free_memory()

    def step(self, window: Sequence[Batch], multiplier: float, momentum: float | None, clip: float) -> Tensor:
        """Take one optimizer step over a window of micro-batches.

        Args:
            window: this process's micro-batches.
            multiplier: of the ``initial_lr`` of every group.
            momentum: of every group, or Adam's first beta; None to leave it.
            clip: the largest 2-norm of the gradient; 0 for no limit.

        Returns:
            This process's share of the loss before the step, a scalar.
        """
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
        self._set_rates(multiplier, window[0].rate, momentum)
        if accelerator.scaler is not None:
            accelerator.unscale_gradients(self.optimizer)
        if clip:
            clip_gradients(self.parameters, clip)
        self.optimizer.step()
        rows, state = int(totals["rows"]), self.state
        state.step, state.stage_step = state.step + 1, state.stage_step + 1
        state.step_in_epoch, state.rows = state.step_in_epoch + 1, state.rows + rows
        self.reporter.step_done(rows)
        return whole

    def _set_rates(self, multiplier: float, of_batch: float, momentum: float | None) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier * of_batch
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif momentum is not None:
                group["momentum"] = momentum

    def _totals(self, window: Sequence[Batch]) -> dict[str, float]:
        """The counts of the window, summed over its micro-batches and all processes, before any forward pass."""
        names = list(window[0].counts)
        totals = [float(sum(batch.counts[name] for batch in window)) for name in names]
        if self.accelerator.num_processes > 1:
            reduced = self.accelerator.reduce(torch.tensor(totals, device=self.accelerator.device), reduction="sum")
            totals = reduced.tolist()
        return dict(zip(names, totals))

    def agree(self, mine: bool) -> bool:
        """Whether `mine` is true in any process. All processes must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return mine
        wish = torch.tensor(int(mine), device=self.accelerator.device)
        return bool(self.accelerator.reduce(wish, reduction="sum").item())
