"""What a model costs: size, throughput and latency, measured in the same way for every model."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from understudy.data.texts import Texts

_MIN_SECONDS = 1.0
_MAX_PASSES = 5
_SINGLES_S, _TOGETHER_S, _FEWEST = 1.0, 2.0, 100
"""A model gets as many texts as it answers in this time one by one (those given together are quicker), but not fewer than that."""


class Measurable(Protocol):
    """Anything that answers for raw texts and knows its own size."""

    def logits(self, texts: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Outputs for texts, ``(texts, outputs)``."""
        ...

    def summary(self) -> dict[str, int]:
        """``parameters``, ``trainable_parameters``, ``embedding_parameters`` and ``size_bytes``."""
        ...


def measure(
    predictor: Measurable,
    texts: Texts | Sequence[str] | Sequence[tuple[str, ...]],
    *,
    latency_texts: int = 200,
    throughput_texts: int = 512,
    warmup: int = 20,
) -> dict[str, Any]:
    """Size and speed of a model, from raw text to logits: tokenisation is included everywhere.

    Throughput is measured on texts that are given together (the model batches them by length): the median of up to five
    passes, which end once they have taken a second in all. Latency is measured on one text at a time. Every model gets
    texts at even distances from those given: all the same ones, unless it is so slow that a hundred are enough to tell.

    Args:
        texts: at least one; latency goes through them repeatedly where they are fewer than asked for.
        latency_texts: number of single texts that are timed, at most.
        throughput_texts: number of texts that are given together, at most.
        warmup: single texts answered beforehand. How long they take says how many texts are enough of a slow model.

    Returns:
        The entries of ``summary``, ``texts_per_second``, ``latency_ms`` (``p50``, ``p99``) and ``threads``.

    Raises:
        ValueError: if there are no texts.
    """
    if not len(texts):
        raise ValueError("measuring needs at least one text")
    one = float(np.median(_one_by_one(predictor, texts, warmup))) if warmup else 0.0
    latencies = _one_by_one(predictor, texts, _enough(latency_texts, one, _SINGLES_S))
    together = spread_texts(texts, _enough(throughput_texts, one, _TOGETHER_S))
    passes: list[float] = []
    while not passes or (sum(passes) < _MIN_SECONDS and len(passes) < _MAX_PASSES):
        passes.append(_seconds(predictor, together))
    p50, p99 = (1000 * np.percentile(latencies, [50, 99])).tolist()
    return {
        **predictor.summary(),
        "texts_per_second": len(together) / float(np.median(passes)),
        "latency_ms": {"p50": p50, "p99": p99},
        "threads": torch.get_num_threads(),
    }


def spread_texts(texts: Texts | Sequence[str] | Sequence[tuple[str, ...]], count: int) -> list[tuple[str, ...]]:
    """`count` texts at even distances, or all of them where there are fewer.

    Example:
        >>> spread_texts(["a", "b", "c"], 2)
        [('a',), ('c',)]
    """
    chosen = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(count, len(texts)))]
    return [(text,) if isinstance(text, str) else text for text in chosen]


def _one_by_one(
    predictor: Measurable, texts: Texts | Sequence[str] | Sequence[tuple[str, ...]], count: int
) -> list[float]:
    """The seconds of each of so many single texts."""
    singles = [[text] for text in spread_texts(texts, count)]
    return [_seconds(predictor, single) for single in itertools.islice(itertools.cycle(singles), count)]


def _enough(most: int, one: float, seconds: float) -> int:
    """How many texts are enough of a model that takes a time for one.

    Example:
        >>> _enough(512, 0.0001, 2.0), _enough(512, 0.01, 2.0), _enough(512, 0.1, 2.0), _enough(60, 0.1, 2.0)
        (512, 200, 100, 60)
    """
    return min(most, max(_FEWEST, int(seconds / one)) if one else most)


def _seconds(predictor: Measurable, texts: Sequence[tuple[str, ...]]) -> float:
    start = time.perf_counter()
    predictor.logits(texts)
    return time.perf_counter() - start
