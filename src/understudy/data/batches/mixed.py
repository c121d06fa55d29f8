"""Batches of several tasks, a task a step, in an order that is drawn for each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from understudy.data.batches.bucketed import windows_from
from understudy.data.batches.contract import Batch, BatchSource

_LAST_POWER = 0.2
"""The power of the sizes in the last epoch of annealed sampling."""


def sampling_powers(sampling: str, epochs: int, *, temperature: float = 1.0) -> list[float]:
    r"""The power of a task's size to which its share of the steps is proportional, epoch by epoch.

    .. math:: p_t \propto n_t^{\alpha_e}

    Args:
        sampling: ``proportional`` (1), ``sqrt`` (1/2), ``temperature`` (1/T), or ``annealed``: from 1 in the first epoch
            to 0.2 in the last, so that small tasks are seen more often towards the end.
        epochs: how many.
        temperature: T, at least 1. The larger, the more alike the tasks' shares.

    Reference:
        Stickland & Murray 2019, "BERT and PALs", arXiv 1902.02671, section 4.1 (annealed sampling).

    Example:
        >>> sampling_powers("temperature", 2, temperature=4)
        [0.25, 0.25]
    """
    if sampling == "annealed":
        return [1 - (1 - _LAST_POWER) * epoch / max(epochs - 1, 1) for epoch in range(epochs)]
    return [{"proportional": 1.0, "sqrt": 0.5, "temperature": 1 / temperature}[sampling]] * epochs


def task_steps(sizes: Sequence[int], power: float) -> np.ndarray:
    """How many steps of an epoch each task has: as many together as the tasks have by themselves, each at least one.

    Args:
        sizes: the steps of an epoch of each task by itself.
        power: of the sizes, see :func:`sampling_powers`.

    Returns:
        int64 ``(tasks,)``, by largest remainder; with a power of 1, the sizes.

    Example:
        >>> task_steps([90, 10], 1.0).tolist(), task_steps([90, 10], 0.5).tolist(), task_steps([90, 10], 0.0).tolist()
        ([90, 10], [75, 25], [50, 50])
    """
    total, weights = sum(sizes), np.array(sizes, np.float64) ** power
    exact = total * weights / weights.sum()
    found = np.maximum(np.floor(exact).astype(np.int64), 1)
    for place in np.argsort(found - exact, kind="stable"):  # largest remainder first
        found[place] += found.sum() < total
    while found.sum() > total:
        found[found.argmax()] -= 1
    return found


def task_order(steps: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """The task of every step of an epoch, int64 ``(steps,)``: a pure function of its arguments.

    Example:
        >>> sorted(task_order(np.array([2, 1]), seed=0, epoch=0).tolist())
        [0, 0, 1]
    """
    return np.random.default_rng([seed, epoch, 3]).permutation(np.repeat(np.arange(len(steps)), steps))


class MixedBatches:
    """The windows of several tasks' batches, a task a window.

    Each task's own epochs follow one another, whatever its share: no row is seen twice before all have been seen once.

    Args:
        parts: the batches of each task, by name.
        powers: of each epoch, see :func:`sampling_powers`; the last one holds for later epochs.
        seed: determines the order of the tasks.
    """

    def __init__(self, parts: Mapping[str, BatchSource], *, powers: Sequence[float], seed: int) -> None:
        self.parts, self.powers, self.seed = dict(parts), list(powers), seed
        self._sizes = [batches.steps(0) for batches in self.parts.values()]

    def task_steps(self, epoch: int) -> np.ndarray:
        """The steps of each task in an epoch: int64 ``(tasks,)``."""
        return task_steps(self._sizes, self.powers[min(epoch, len(self.powers) - 1)])

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch; the same for every epoch, and as many as of all tasks by themselves."""
        return sum(self._sizes)

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step, from step `start` on; all of one step are of one task, and say which."""
        order = task_order(self.task_steps(epoch), seed=self.seed, epoch=epoch)
        places = sum((self.task_steps(earlier) for earlier in range(epoch)), np.zeros(len(self.parts), np.int64))
        places = places + np.bincount(order[:start], minlength=len(self.parts))
        streams = [windows_from(part, int(place)) for part, place in zip(self.parts.values(), places)]
        names = list(self.parts)
        for task in order[start:]:
            yield [replace(batch, task=names[task]) for batch in next(streams[task])]

    def padding_ratio(self) -> float:
        """The mean of the tasks' padding ratios, weighted by their steps."""
        ratios = [part.padding_ratio() for part in self.parts.values()]
        return float(np.average(ratios, weights=self._sizes))
