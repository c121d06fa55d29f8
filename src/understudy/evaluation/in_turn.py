"""Several models timed in turn, so that whatever else the machine does meets all of them alike; the spread is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from understudy.data.texts import Texts
from understudy.evaluation.cost import Measurable, spread_texts

_ALONE, _TOGETHER = 200, 512
"""Texts that are answered one by one, and together, over all rounds and in each round."""
_WARM = 10

OnThreads = Callable[[int], AbstractContextManager[None]]


class Contender(NamedTuple):
    """A model in one format, on a number of threads."""

    name: str
    format: str
    threads: int
    model: Measurable


def measure_in_turn(
    contenders: Sequence[Contender],
    texts: Sequence[Texts | Sequence[str] | Sequence[tuple[str, ...]]],
    *,
    on_threads: OnThreads,
    batch_sizes: Sequence[int] = (),
    rounds: int = 5,
) -> list[dict[str, Any]]:
    """Size and speed of models, from raw text to logits: tokenisation is included everywhere.

    In each round every contender answers its share of single texts, then all texts together, then as many of them as make
    a batch. What is reported of a round is its median; of the rounds, their median and the lowest and the highest.

    Args:
        texts: of each contender, at least one.
        on_threads: fixes the number of threads inside ``with``.
        batch_sizes: texts that are given together, beside all of them.
        rounds: how often each contender has its turn.

    Returns:
        A model's entry of a record for each: ``name``, ``format``, the entries of ``summary``, ``texts_per_second``,
        ``latency_ms`` (``p50``, ``p90``, ``p99`` of the single texts of all rounds), ``threads``; ``batches``, texts a
        second by batch size; ``spread``, the lowest and the highest round of ``texts_per_second`` and of ``p50``.

    Raises:
        ValueError: if there are no texts.
    """
    if not all(map(len, texts)):
        raise ValueError("measuring needs at least one text")
    alone = [[[text] for text in spread_texts(some, _ALONE)] for some in texts]
    together = [spread_texts(some, _TOGETHER) for some in texts]
    singles: list[list[np.ndarray]] = [[] for _ in contenders]
    rates: list[dict[int | None, list[float]]] = [{size: [] for size in (None, *batch_sizes)} for _ in contenders]
    for number in range(-1, rounds):  # the first only warms up
        for i, contender in enumerate(contenders):
            with on_threads(contender.threads):
                mine = alone[i][:_WARM] if number < 0 else _share(alone[i], number, rounds)
                milliseconds = np.array([1000 * _seconds(contender, single) for single in mine])
                passes = {size: _rate(contender, together[i], size) for size in rates[i]}
            if number >= 0:
                singles[i].append(milliseconds)
                for size, rate in passes.items():
                    rates[i][size].append(rate)
    return [_entry(*row) for row in zip(contenders, singles, rates)]


def _share(items: list[Any], number: int, rounds: int) -> list[Any]:
    """The share of a round: every `rounds`-th of them, or all where they are few."""
    return items[number::rounds] if len(items) >= rounds else items


def _seconds(contender: Contender, texts: Sequence[tuple[str, ...]]) -> float:
    start = time.perf_counter()
    contender.model.logits(texts)
    return time.perf_counter() - start


def _rate(contender: Contender, texts: list[tuple[str, ...]], size: int | None) -> float:
    """Texts a second, given in batches of `size` or all together."""
    size = size or len(texts)
    batches = [(texts * (size // len(texts) + 1))[:size]] if size > len(texts) else _cut(texts, size)
    return sum(map(len, batches)) / sum(_seconds(contender, batch) for batch in batches)


def _cut(texts: list[tuple[str, ...]], size: int) -> list[list[tuple[str, ...]]]:
    """Full batches of texts; what is left over is not measured."""
    return [texts[i : i + size] for i in range(0, len(texts) - size + 1, size)]


def _entry(contender: Contender, singles: list[np.ndarray], rates: dict[int | None, list[float]]) -> dict[str, Any]:
    p50, p90, p99 = np.percentile(np.concatenate(singles), [50, 90, 99]).tolist()
    medians = [float(np.median(one)) for one in singles]
    entry: dict[str, Any] = {
        "name": contender.name,
        "format": contender.format,
        **contender.model.summary(),
        "texts_per_second": float(np.median(rates[None])),
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99},
        "threads": contender.threads,
        "spread": {
            "texts_per_second": [min(rates[None]), max(rates[None])],
            "p50": [min(medians), max(medians)],
        },
    }
    if batches := {str(size): float(np.median(some)) for size, some in rates.items() if size is not None}:
        entry["batches"] = batches
    return entry
