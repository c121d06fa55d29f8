"""The same treatment for every model: which texts it is given and how the clock's numbers become results."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from understudy.data.texts import Texts
from understudy.evaluation.cost import measure

SUMMARY = {"parameters": 5, "trainable_parameters": 4, "embedding_parameters": 3, "size_bytes": 20}


class Clock:
    """A model that takes 2 ms a text by a clock of its own; every tenth call takes 50 ms more."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[list[tuple[str, ...]]] = []

    def logits(self, texts):
        """Answer, and let time pass."""
        self.calls.append(list(texts))
        self.now += 0.002 * len(texts) + (0.05 if len(self.calls) % 10 == 0 else 0)
        return np.zeros((len(texts), 2))

    def summary(self) -> dict[str, int]:
        """Its size."""
        return dict(SUMMARY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A model whose clock is the clock."""
    model = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: model.now)
    return model


def test_latency_and_throughput_from_the_clock(clock: Clock) -> None:
    texts = Texts.of([str(i) for i in range(100)])
    result = measure(clock, texts, latency_texts=50, throughput_texts=80, warmup=0)
    assert result == SUMMARY | {
        "texts_per_second": pytest.approx(80 / 0.16),
        "latency_ms": {"p50": pytest.approx(2), "p99": pytest.approx(52)},
        "threads": torch.get_num_threads(),
    }
    singles, together = clock.calls[:50], clock.calls[50:]
    assert all(len(call) == 1 for call in singles)
    assert singles[0] == [("0",)]
    assert singles[-1] == [("99",)]
    assert len(together) == 5
    assert all(call == together[0] and len(call) == 80 for call in together)


def test_few_texts_are_gone_through_again_and_slow_models_once(clock: Clock) -> None:
    result = measure(clock, ["a", "b"], latency_texts=7, throughput_texts=1000, warmup=3)
    assert [call[0][0] for call in clock.calls[3:10]] == list("abababa")
    assert all(call == [("a",), ("b",)] for call in clock.calls[10:])
    clock.calls.clear()
    measure(clock, ["a"] * 600, latency_texts=1, throughput_texts=600, warmup=0)
    assert len(clock.calls) == 1 + 1  # a pass of 1.2 s is enough
    assert result["latency_ms"]["p50"] == pytest.approx(2)


def test_of_a_slow_model_fewer_texts_are_enough(clock: Clock) -> None:
    """Still at even distances; the quick one gets all that are asked for."""
    texts = [str(i) for i in range(3000)]
    measure(clock, texts, latency_texts=800, throughput_texts=2500, warmup=8)  # 2 ms a text
    singles, together = clock.calls[8:-1], clock.calls[-1]
    assert (len(singles), len(together)) == (500, 1000)
    assert [singles[0][0], singles[-1][0], together[0], together[-1]] == [("0",), ("2999",)] * 2
    clock.calls.clear()
    measure(clock, texts, latency_texts=50, throughput_texts=600, warmup=8)
    assert [len(call) for call in clock.calls[8:]] == [1] * 50 + [600]


def test_nothing_to_measure_with() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        measure(Clock(), [])
