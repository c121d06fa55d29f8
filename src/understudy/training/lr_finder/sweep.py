"""The learning rate by experiment: train for a while at rates that grow, watch the loss, put everything back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel

from understudy.data.batches.bucketed import Batch, BatchSource
from understudy.errors import ConfigError, Interrupted
from understudy.models.structure.layers import base_model
from understudy.training.checkpoint import ProgressLog, Stop
from understudy.training.loop import Stage
from understudy.training.lr_finder.preserved import preserved
from understudy.training.progress.trackers import Display
from understudy.training.trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
"""The sweep where nothing else is said."""

TRANSFORMER_CAP = 1e-4
"""The highest rate that is suggested for the pretrained blocks of a transformer under Adam.

A sweep lasts a hundred steps: it sees the loss fall, not what is forgotten meanwhile. For pretrained transformers it
points to about 1e-3, where long training fails or ends worse (huggingface/transformers, issue 16013; Mosbach et al.
2021, arXiv 2006.04884). 1e-4 is the upper end of what their authors fine-tune base models with: 2e-5 to 5e-5 for BERT
(Devlin et al. 2019, appendix A.3), 1e-5 to 3e-5 for RoBERTa (Liu et al. 2019, arXiv 1907.11692, table 10), 1e-4 for
ELECTRA (Clark et al. 2020, arXiv 2003.10555, appendix B).
"""

_MEMORY = 0.15
"""The share of the sweep that the average loss remembers: it then lags behind by as much on the axis of rates, however
many steps there are."""

_HALF_WINDOW = 0.05
"""The share of the sweep, to either side, over which a slope is taken."""

_SURE = 3.0
"""By how many of its standard errors the average loss must fall to be said to fall."""

_DIVERGED = 4.0
"""How many times its best the average loss may reach."""


@dataclass(frozen=True)
class Curve:
    """A sweep: the loss before the step that was taken at each rate.

    ``rates``, ``losses`` and ``smoothed`` are ``(steps,)``: as many as were taken, of the `planned`. The rate is that
    of the highest group.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    planned: int
    diverged: bool


@dataclass(frozen=True)
class Suggestion:
    """What a curve suggests, for the highest group.

    Attributes:
        steepest: where the average loss falls fastest.
        tenth: a tenth of the rate at which it is lowest.
        cap: the highest rate that is trusted, where there is such a limit.
        rate: between the two (their geometric mean), and no higher than the cap.
    """

    steepest: float
    tenth: float
    cap: float | None = None

    @property
    def between(self) -> float:
        """The geometric mean of the two readings."""
        return float(np.sqrt(self.steepest * self.tenth))

    @property
    def rate(self) -> float:
        """The one to train with, to two digits."""
        rate = self.between if self.cap is None else min(self.between, self.cap)
        return float(f"{rate:.1e}")

    def warning(self) -> str | None:
        """What to say where the cap holds the suggestion down."""
        if self.cap is None or self.between <= self.cap:
            return None
        return (
            f"the sweep points to a learning rate of {self.between:.1e}, but on pretrained transformers it overshoots: "
            f"{self.cap:.0e} is suggested instead. Name a rate with --learning_rate to go beyond."
        )


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
    display: Display | None = None,
) -> Curve:
    r"""Train with a rate that grows from step to step, and put everything back (see :func:`preserved`).

    .. math:: \eta_i = \eta_{lowest} \left( \eta_{highest} / \eta_{lowest} \right)^{i / (steps - 1)}

    The steps are the loop's own: whole windows, terms divided by their counts, clipped gradients, rates multiplied by
    the batch's. Groups keep their proportions; the rate of the curve is that of the highest. It ends early where the
    average loss reaches four times its best, or is not finite.

    Args:
        objective: as for :func:`understudy.training.loop.fit`.
        batches: taken from the beginning, over as many epochs as the steps need.
        optimizer: its groups carry ``initial_lr``.
        lowest, highest: rates of the first and the last step.
        steps: how many there are in between and with them.
        clip: the largest 2-norm of the gradient; 0 for no limit.
        stop: signals; :class:`Interrupted` is raised, everything put back.

    Raises:
        ConfigError: if the very first loss is not finite.
        Interrupted: on SIGTERM or Ctrl-C.

    Reference:
        Smith 2017, arXiv 1506.01186, section 3.3, with rates that grow exponentially.
    """
    accelerator, display = accelerator or Accelerator(cpu=True), display or Display(visible=False)
    rates, losses = np.geomspace(lowest, highest, steps), np.empty(steps)
    top = max(group["initial_lr"] for group in optimizer.param_groups)
    log = ProgressLog(Path("sweep"), [], writes=False)
    stage = Stage("sweep", 1, lambda: optimizer)
    display.start("learning rate", steps)
    taken, smoothed, diverged = 0, np.empty(0), False
    objective.to(accelerator.device)
    with preserved(objective, optimizer, accelerator):
        trainer = Trainer(objective, [stage], accelerator, Path("sweep"), log, "sweep")
        trainer.enter(0)
        try:
            for rate, window in zip(rates, _endless(batches)):
                loss = accelerator.reduce(trainer.step(window, float(rate) / top, None, clip), reduction="mean").item()
                if not np.isfinite(loss):
                    diverged = True
                    break
                losses[taken] = loss
                taken += 1
                smoothed = smooth(losses[:taken], _memory(steps))
                diverged = bool(smoothed[-1] > _DIVERGED * smoothed.min())
                display.update(taken, f"rate {rate:.1e}  loss {smoothed[-1]:.4f}")
                if trainer.agree(stop is not None and stop.signal_number is not None):
                    raise Interrupted((stop and stop.signal_number) or 15, saved=False)
                if diverged:
                    break
        finally:
            trainer.leave()
    display.close()
    if not taken:
        raise ConfigError(f"the loss is {loss} before the first step. Check the data, or train in full precision.")
    return Curve(rates[:taken], losses[:taken], smoothed, steps, diverged)


def _endless(batches: BatchSource) -> Iterator[Sequence[Batch]]:
    for epoch in itertools.count():
        yield from batches.windows(epoch)


def smooth(losses: Sequence[float] | np.ndarray, memory: float) -> np.ndarray:
    r"""Exponential moving average, corrected for its start.

    .. math:: a_i = \beta a_{i-1} + (1 - \beta) \ell_i, \quad \bar\ell_i = a_i / (1 - \beta^i), \quad \beta = 1 - 1/m

    Args:
        losses: ``(steps,)``.
        memory: m > 1, about how many losses the average remembers.

    Returns:
        ``(steps,)``.

    Reference:
        Kingma & Ba 2015, arXiv 1412.6980, section 3, for the correction.

    Example:
        >>> smooth([1.0, 1.0, 4.0], memory=2).round(3).tolist()
        [1.0, 1.0, 2.714]
    """
    if memory <= 1:
        raise ValueError(f"memory must be above 1, but is {memory}")
    beta, average, smoothed = 1 - 1 / memory, 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = beta * average + (1 - beta) * float(loss)
        smoothed.append(average / (1 - beta**step))
    return np.array(smoothed)


def suggest(curve: Curve, *, cap: float | None = None) -> Suggestion:
    r"""Read a rate off a curve.

    .. math:: \eta_{steep} = \arg\min_\eta \frac{d \bar\ell}{d \log \eta}, \qquad
              \eta_{tenth} = \tfrac1{10} \arg\min_\eta \bar\ell(\eta)

    The slope is that of the least-squares line over a twentieth of the sweep to either side, up to the minimum and not
    before the average has its full memory: between neighbours it would be the noise of single batches. On a quadratic
    bowl the first errs low (the more so the more steps are taken: by then the loss has fallen already), and the second
    depends on how soon divergence shows; between them lies the suggestion.

    Raises:
        ConfigError: if the loss did not fall, or there is too little of the curve to tell.

    Reference:
        Smith 2017, arXiv 1506.01186, section 3.3 (the sweep); the readings are those of fast.ai's course.
    """
    start = round(_memory(curve.planned))
    lowest = start + int(curve.smoothed[start:].argmin()) if len(curve.rates) > start else 0
    if lowest <= start + 1 or curve.smoothed[start] - curve.smoothed[lowest] < _SURE * _noise(curve, start):
        raise ConfigError(
            f"the loss did not fall while the learning rate went from {curve.rates[0]:.0e} to {curve.rates[-1]:.0e}: "
            "there is no rate to suggest. Begin lower or take more steps (understudy lr-find has --lowest and --steps), "
            "or name a --learning_rate."
        )
    half, logs = max(1, round(_HALF_WINDOW * curve.planned)), np.log(curve.rates)

    def slope(i: int) -> float:
        window = slice(max(0, i - half), i + half + 1)
        return float(np.polyfit(logs[window], curve.smoothed[window], 1)[0])

    steepest = min(range(start, lowest + 1), key=slope)
    return Suggestion(steepest=float(curve.rates[steepest]), tenth=float(curve.rates[lowest]) / 10, cap=cap)


def _noise(curve: Curve, start: int) -> float:
    """The standard error of the average loss, from the first losses, in which nothing has been learnt yet."""
    return float(np.std(curve.losses[:start]) / np.sqrt(start))


def _memory(steps: int) -> float:
    return max(2.0, _MEMORY * steps)


def rate_cap(model: nn.Module, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> float | None:
    """:data:`TRANSFORMER_CAP` where Adam is to move pretrained blocks of a transformer; None where a sweep is trusted.

    New heads alone, architectures of our own and plain SGD have no limit.

    Args:
        model: what is to be trained.
        parameters: all that will learn, in whatever stage.
        optimizer: the kind of optimizer that will move them.
    """
    base = base_model(model)
    foreign = isinstance(base, PreTrainedModel) and not base.config.model_type.startswith("understudy_")
    if not (isinstance(optimizer, torch.optim.Adam) and foreign):
        return None
    blocks = {id(parameter) for parameter in base.parameters()}
    return TRANSFORMER_CAP if any(id(parameter) in blocks for parameter in parameters) else None
