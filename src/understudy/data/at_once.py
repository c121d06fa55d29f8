"""Batches that threads compute side by side, and that come in their order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Found = TypeVar("Found")


def in_order(
    compute: Callable[[Batch], Found], batches: Sequence[Batch], *, workers: int
) -> Generator[Found, None, None]:
    """What is computed of each batch, in their order; as many as there are workers are computed at once.

    When it is closed early, batches that were begun are finished, and what came out of them is left.

    Args:
        workers: threads, each of which gives torch as many threads as the caller has.

    Example:
        >>> list(in_order(abs, [-1, 2, -3], workers=2))
        [1, 2, 3]
    """
    if workers == 1:
        yield from map(compute, batches)
        return
    # a thread takes its number of threads from torch when it first computes in parallel: too late for some libraries
    alone = partial(torch.set_num_threads, torch.get_num_threads())
    with ThreadPoolExecutor(workers, initializer=alone) as pool:
        begun = deque(pool.submit(compute, batch) for batch in batches[:workers])
        for later in itertools.count(workers):
            if not begun:
                return
            found = begun.popleft().result()
            if later < len(batches):
                begun.append(pool.submit(compute, batches[later]))
            yield found
