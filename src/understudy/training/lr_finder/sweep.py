"""A sweep: train for some steps at growing learning rates, record the loss, and put everything back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from understudy.data.batches.bucketed import Batch
from understudy.data.batches.contract import BatchSource
from understudy.errors import ConfigError, Interrupted
from understudy.training.lr_finder.curve import Curve, memory, smooth
from understudy.training.lr_finder.preserved import preserved
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog
from understudy.training.progress.reporter import Reporter
from understudy.training.stages import Stage
from understudy.training.stop import Stop
from understudy.training.trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
"""The lowest and the highest learning rate of a sweep, and its number of steps, by default."""

_DIVERGED = 4.0
"""A sweep ends when the average loss is so many times its lowest value."""


class OutOfTime(ConfigError):
    """The time budget ended within a sweep."""


def sweep(
    objective: nn.Module,
    batches: BatchSource,
    optimizer: torch.optim.Optimizer,
    *,
    accelerator: Accelerator | None = None,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    clip: float = 1.0,
    stop: Stop | None = None,
    budget_s: float | None = None,
    display: Display | None = None,
) -> Curve:
    r"""Train with a learning rate that grows with every step, and put everything back (see :func:`preserved`).

    .. math:: \eta_i = \eta_{lowest} \left( \eta_{highest} / \eta_{lowest} \right)^{i / (steps - 1)}

    The steps are those of the training loop: whole windows, terms divided by their counts, clipped gradients, rates
    multiplied by the batch's. The rates of the groups keep their proportions; the curve has the highest of them. The
    sweep ends early if the average loss exceeds four times its lowest value, or if a loss is not finite.

    Args:
        objective: as for :func:`understudy.training.loop.fit`.
        batches: taken from the beginning, over as many epochs as the steps need.
        optimizer: its groups have ``initial_lr``.
        lowest, highest: the learning rates of the first and the last step.
        steps: the number of steps, including these two.
        clip: the largest 2-norm of the gradient; 0 for no limit.
        stop: when a signal has come, everything is put back and :class:`Interrupted` is raised.
        budget_s: seconds that the sweep may take.

    Raises:
        ConfigError: if the first loss is not finite, or the time ends before the sweep does.
        Interrupted: on SIGTERM or Ctrl-C.

    Reference:
        Smith 2017, arXiv 1506.01186, section 3.3, with rates that grow exponentially.
    """
    accelerator, display = accelerator or Accelerator(cpu=True), display or Display(visible=False)
    rates, losses = np.geomspace(lowest, highest, steps), np.empty(steps)
    end = None if budget_s is None else time.monotonic() + budget_s
    top = max(group["initial_lr"] for group in optimizer.param_groups)
    reporter = Reporter(ProgressLog(Path("sweep"), [], writes=False), accelerator, "sweep")
    stage = Stage("sweep", 1, lambda: optimizer, learns=[p for g in optimizer.param_groups for p in g["params"]])
    display.start("learning rate", steps)
    taken, smoothed, diverged = 0, np.empty(0), False
    objective.to(accelerator.device)
    with preserved(objective, optimizer, accelerator):
        trainer = Trainer(objective, [stage], accelerator, reporter)
        trainer.enter(0)
        try:
            for rate, window in zip(rates, _endless(batches)):
                loss = accelerator.reduce(trainer.step(window, float(rate) / top, None, clip), reduction="mean").item()
                if not np.isfinite(loss):
                    diverged = True
                    break
                losses[taken] = loss
                taken += 1
                smoothed = smooth(losses[:taken], memory(steps))
                diverged = bool(smoothed[-1] > _DIVERGED * smoothed.min())
                display.update(taken, f"rate {rate:.1e}  loss {smoothed[-1]:.4f}")
                if trainer.agree(stop is not None and stop.signal_number is not None):
                    raise Interrupted((stop and stop.signal_number) or 15, saved=False)
                if diverged or taken == steps:
                    break
                if end is not None and trainer.agree(time.monotonic() > end):
                    raise OutOfTime(
                        f"the time budget ended after {taken} of {steps} steps of the sweep. Name a --learning_rate, or give a longer --time_budget."
                    )
        finally:
            trainer.leave()
    display.close()
    if not taken:
        raise ConfigError(f"the loss is {loss} before the first step. Check the data, or train in full precision.")
    return Curve(rates[:taken], losses[:taken], smoothed, steps, diverged)


def _endless(batches: BatchSource) -> Iterator[Sequence[Batch]]:
    for epoch in itertools.count():
        yield from batches.windows(epoch)
