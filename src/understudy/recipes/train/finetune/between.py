"""Where between its start and its end a fine-tuning is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from understudy.data.tasks import Task
from understudy.functional.scoring import scored_rows
from understudy.functional.temperature import fit_temperature
from understudy.models.folds import row_losses
from understudy.training.interpolation import interpolate, parameters_of

HALFWAY = 0.5
"""The share that is kept where validation rows are too few to choose one."""
SHARES = (HALFWAY, 0.75, 1.0)
"""Those that they choose among."""


class Kept(NamedTuple):
    """What was kept."""

    share: float
    """How much of the way from the start to the end."""
    losses: dict[str, float]
    """By share, the loss on the validation rows; empty where nothing was compared."""


def keep_between(
    model: Any, start: Any, shares: Sequence[float], answer: Callable[[], np.ndarray], labels: np.ndarray, task: Task
) -> Kept:
    """Give a trained model the weights between its start and its end that answer the validation rows with the least loss.

    Probabilities are first as sure as the rows say (temperature scaling): the end is nearly always too sure of itself, which the
    temperature that is stored with the model mends.

    Args:
        model: as it is at the end.
        start: the same model as it was before training.
        shares: of the way from start to end, rising. The first of equal losses is taken; a single one is taken as it is.
        answer: the model's logits for the validation rows, ``(rows, outputs)``.
        labels: of the validation rows.
    """
    began, ended = dict(start.named_parameters()), parameters_of(model)
    losses = {}
    for share in shares if len(shares) > 1 else ():
        interpolate(model, began, ended, share)
        losses[share] = validation_loss(answer(), labels, task)
    best = min(losses, key=losses.__getitem__, default=shares[0])
    interpolate(model, began, ended, best)
    return Kept(best, {f"{share:g}": loss for share, loss in losses.items()})


def validation_loss(outputs: np.ndarray, labels: np.ndarray, task: Task) -> float:
    """The mean loss of logits ``(rows, outputs)`` over the rows with a label, at the temperature that suits them best."""
    outputs, known = scored_rows(outputs, labels)
    if task.kind != "regression":
        outputs = outputs / fit_temperature(outputs, known).value
    return float(row_losses(outputs, known, task).mean())
