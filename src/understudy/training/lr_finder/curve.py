"""The curve of a sweep: the loss at every learning rate, and its average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MEMORY = 0.15
"""The memory of the average loss, as a share of the sweep. With a share, its lag on the axis of rates does not depend on
the number of steps."""


@dataclass(frozen=True)
class Curve:
    """The losses of a sweep; each is the loss before the step that was taken at that learning rate.

    Attributes:
        rates: ``(steps,)``, the learning rate of the highest group.
        losses: ``(steps,)``.
        smoothed: ``(steps,)``, the average loss (:func:`smooth`).
        planned: how many steps there would be if the sweep had not ended early.
        diverged: whether it ended early because the loss grew.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    planned: int
    diverged: bool


def smooth(losses: Sequence[float] | np.ndarray, memory: float) -> np.ndarray:
    r"""Exponential moving average, corrected for its start.

    .. math:: a_i = \beta a_{i-1} + (1 - \beta) \ell_i, \quad \bar\ell_i = a_i / (1 - \beta^i), \quad \beta = 1 - 1/m

    Args:
        losses: ``(steps,)``.
        memory: m > 1; the average goes over about so many losses.

    Returns:
        ``(steps,)``.

    Reference:
        Kingma & Ba 2015, arXiv 1412.6980, section 3 (the correction).

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


def memory(steps: int) -> float:
    """The `memory` of :func:`smooth` for a sweep that is planned to have so many steps."""
    return max(2.0, _MEMORY * steps)
