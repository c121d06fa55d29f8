"""Contenders that answer in turn, by a clock of their own; and processes that start, answer and end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from understudy.errors import ModelError
from understudy.evaluation.cold_start import cold_start
from understudy.evaluation.in_turn import Contender, measure_in_turn

NOW = [0.0]
THREADS: list[int] = []


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    THREADS.append(count)
    yield
    THREADS.pop()


class Clock:
    """A model that takes so many milliseconds a call and a text; from a number of calls on, twice as many."""

    def __init__(
        self, name: str, call: float, text: float, log: list[tuple[str, int, int]], slow_from: int = 10**9
    ) -> None:
        self.name, self.call, self.text, self.log, self.slow_from = name, call, text, log, slow_from
        self.calls = 0

    def logits(self, texts: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Answer, and let time pass."""
        self.calls += 1
        self.log.append((self.name, len(texts), THREADS[-1]))
        NOW[0] += (self.call + self.text * len(texts)) / 1000 * (2 if self.calls >= self.slow_from else 1)
        return np.zeros((len(texts), 2))

    def summary(self) -> dict[str, int]:
        """Its size."""
        return {"parameters": 5, "size_bytes": 20}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: NOW[0])


@pytest.mark.usefixtures("clock")
def test_everyone_has_a_turn_in_each_round_and_its_own_threads() -> None:
    log: list[tuple[str, int, int]] = []
    texts = [str(i) for i in range(40)]
    contenders = [Contender("a", "pytorch", 2, Clock("a", 1, 2, log)), Contender("b", "onnx", 1, Clock("b", 0, 1, log))]
    one, other = measure_in_turn(contenders, [texts, texts], on_threads=on_threads, batch_sizes=[16, 64], rounds=4)
    order = [name for i, (name, *_) in enumerate(log) if i == 0 or log[i - 1][0] != name]
    assert order == ["a", "b"] * 5  # four rounds after one to warm up
    assert {(name, threads) for name, _, threads in log} == {("a", 2), ("b", 1)}
    assert (one["name"], one["format"], one["threads"], one["parameters"]) == ("a", "pytorch", 2, 5)
    assert one["latency_ms"] == pytest.approx({"p50": 3, "p90": 3, "p99": 3})
    assert one["texts_per_second"] == pytest.approx(40 / 0.081)
    assert one["batches"] == pytest.approx({"16": 16 / 0.033, "64": 64 / 0.129})
    assert other["texts_per_second"] == pytest.approx(1000)
    assert len([1 for name, rows, _ in log if (name, rows) == ("a", 1)]) == 10 + 40


@pytest.mark.usefixtures("clock")
def test_the_spread_is_that_of_the_rounds() -> None:
    log: list[tuple[str, int, int]] = []
    contender = Contender(
        "a", "onnx", 1, Clock("a", 0, 1, log, slow_from=11 + 21 + 1)
    )  # after warming up and one round
    (entry,) = measure_in_turn([contender], [["x"] * 60], on_threads=on_threads, rounds=3)
    assert entry["spread"]["texts_per_second"] == pytest.approx([500, 1000])
    assert entry["spread"]["p50"] == pytest.approx([1, 2])
    assert "batches" not in entry


def test_without_texts_there_is_nothing_to_measure() -> None:
    contender = Contender("a", "onnx", 1, Clock("a", 0, 1, []))
    with pytest.raises(ValueError, match="at least one text"):
        measure_in_turn([contender], [[]], on_threads=on_threads)


LOAD = """
class model:
    predict = logits = staticmethod(lambda texts: len(texts))
"""


def test_a_process_is_timed_to_its_first_answer_and_its_memory_read(tmp_path: Path) -> None:
    large = LOAD + "block = bytearray(80_000_000)\n"
    small, big = (cold_start(str(tmp_path), "a", load=load, threads=1, times=1) for load in (LOAD, large))
    assert small["cold_start_s"] > 0
    assert 60e6 < big["peak_bytes"] - small["peak_bytes"] < 120e6


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not answer in a process of its own: .*no such thing"):
        cold_start(str(tmp_path), ("a", "b"), load="raise SystemExit('no such thing')", threads=1, times=1)
