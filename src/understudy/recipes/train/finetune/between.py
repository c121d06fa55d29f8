"""Where between its start and its end a fine-tuning is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from understudy.data.tasks import Task
from understudy.functional.scoring import scored_rows
from understudy.functional.temperature import FEWEST_ROWS, HIGHEST, LOWEST, fit_temperature
from understudy.models.folds import row_losses
from understudy.training.interpolation import interpolate, numbers_of

HALFWAY = 0.5
"""The share that is kept where both training and validation rows are few."""
FEW_ROWS = 450
"""Labelled training rows up to which they are."""
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
    began, ended = numbers_of(start), {name: value.clone() for name, value in numbers_of(model).items()}
    losses = {}
    for share in shares if len(shares) > 1 else ():
        interpolate(model, began, ended, share)
        losses[share] = validation_loss(answer(), labels, task)
    best = min(losses, key=losses.__getitem__, default=shares[0])
    interpolate(model, began, ended, best)
    return Kept(best, {f"{share:g}": loss for share, loss in losses.items()})


def validation_loss(outputs: np.ndarray, labels: np.ndarray, task: Task) -> float:
    """The mean loss of logits ``(rows, outputs)`` over the rows with a label, at the temperature that suits them best.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> round(validation_loss(np.array([[0.1, 0.0]] * 60), np.array([0] * 60), task), 3)  # unsure, but never wrong
        0.0
    """
    outputs, known = scored_rows(outputs, labels)
    if task.kind == "regression":
        return float(row_losses(outputs, known, task).mean())
    # where no temperature is the best one, the loss falls towards an end of those that are searched
    tried = {fit_temperature(outputs, known).value, LOWEST, HIGHEST} if len(known) >= FEWEST_ROWS else {1.0}
    return min(float(row_losses(outputs / value, known, task).mean()) for value in tried)
