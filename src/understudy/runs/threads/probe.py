"""How long a training step takes on one thread, on two, and so on; nothing is left behind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import islice

import torch

from understudy.data.batches.contract import Batch, BatchSource
from understudy.inference.logits import device_of
from understudy.runs.devices import on_threads
from understudy.training.lr_finder.preserved import preserved
from understudy.training.unfreezing.plan import LearningPlan

_SECONDS, _MOST_ROUNDS, _BATCHES = 1.5, 12, 4
_HOPELESS = 1.5
"""A number of threads that takes so many times the best time is not measured again."""
_WORTH_IT = 0.9
"""More threads are taken if they need at most this share of the time: the others are left to whatever else runs."""


def step_seconds(plan: LearningPlan, batches: BatchSource, counts: Sequence[int]) -> dict[int, float]:
    """The median time of a forward and a backward pass of a real micro-batch, by the number of threads.

    The contenders take turns, batch by batch, for a second or two in all. Weights, buffers, gradients, extra state and
    random generators are as before.

    Args:
        plan: the objective, and which of its layers learn.
        batches: the first few of the first epoch are used.
        counts: numbers of threads.

    Returns:
        Seconds by number of threads, the highest number first. Numbers that are clearly too low are left out.
    """
    objective = plan.objective
    some = [window[0] for window in islice(batches.windows(0), _BATCHES)]
    untrained = torch.optim.SGD(objective.parameters(), lr=1.0)  # it takes no step
    with preserved(objective, untrained), plan.at_its_widest():
        objective.train()

        def seconds(count: int, batch: Batch) -> float:
            with on_threads(count):
                start = time.perf_counter()
                terms = objective(batch.to(device_of(objective)))  # a teacher that reads the batch counts
                sum((term.sum for term in terms), start=torch.zeros(())).backward()
                objective.zero_grad(set_to_none=True)
                return time.perf_counter() - start

        most = max(counts)
        first = seconds(most, some[0])  # memory is allocated, code is loaded: of a long step this is a small part
        found: dict[int, list[float]] = {}
        for count in sorted(counts, reverse=True):
            found[count] = [first if count == most and first > _SECONDS else seconds(count, some[0])]
            if found[count][0] > _HOPELESS * min(times[0] for times in found.values()):
                break  # with fewer still it takes longer still
        hopeful = [count for count in found if found[count][0] <= _HOPELESS * min(t[0] for t in found.values())]
        end = time.perf_counter() + _SECONDS
        times: dict[int, list[float]] = {count: [] for count in hopeful}
        for number in range(_MOST_ROUNDS):
            batch = some[number % len(some)]
            for place in range(len(hopeful)):
                count = hopeful[(number + place) % len(hopeful)]
                times[count].append(seconds(count, batch))
            if time.perf_counter() > end:
                break
    return {count: statistics.median(times.get(count) or found[count]) for count in found}


def fewest_of_the_fast(seconds: dict[int, float]) -> int:
    """The lowest number of threads that no higher one beats by more than a tenth.

    Args:
        seconds: of a step, by number of threads.

    Example:
        >>> fewest_of_the_fast({1: 1.0, 2: 0.95, 4: 0.97}), fewest_of_the_fast({1: 1.0, 2: 0.6, 4: 0.58})
        (1, 2)
    """
    best = min(seconds.values())
    return min(count for count, time_s in seconds.items() if time_s * _WORTH_IT <= best)
