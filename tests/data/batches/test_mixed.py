"""Steps of several tasks: shares, order, and that an epoch goes on where it was cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.batches.contract import Batch
from understudy.data.batches.mixed import MixedBatches, sampling_powers, task_order, task_steps

LAWS = settings(max_examples=100, deadline=None, derandomize=True)


class Numbered:
    """Batches that say their own epoch and step."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def steps(self, epoch: int) -> int:
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        for step in range(start, self._steps):
            yield [Batch(inputs={}, counts={"epoch": epoch, "step": step})]

    def padding_ratio(self) -> float:
        return 1.0 + self._steps


def seen(mixed: MixedBatches, epoch: int, start: int = 0) -> list[tuple[str, int, int]]:
    return [(w[0].task, w[0].counts["epoch"], w[0].counts["step"]) for w in mixed.windows(epoch, start)]


@LAWS
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.floats(0, 1))
def test_shares_add_up_and_follow_the_power(sizes: list[int], power: float) -> None:
    found = task_steps(sizes, power)
    assert found.sum() == sum(sizes)
    assert found.min() >= 1
    exact = sum(sizes) * np.array(sizes) ** power / (np.array(sizes, float) ** power).sum()
    assert np.all(np.abs(found - exact) <= len(sizes))
    assert task_steps(sizes, 1.0).tolist() == sizes


def test_powers() -> None:
    assert sampling_powers("proportional", 2) == [1.0, 1.0]
    assert sampling_powers("sqrt", 1) == [0.5]
    assert sampling_powers("temperature", 1, temperature=5.0) == [0.2]
    # the formula of the paper: 1 - 0.8 (e - 1) / (E - 1), epochs counted from 1
    assert sampling_powers("annealed", 5) == pytest.approx([1 - 0.8 * (e - 1) / 4 for e in range(1, 6)])
    assert sampling_powers("annealed", 1) == [1.0]


def test_an_epoch_in_proportion_has_every_batch_once() -> None:
    mixed = MixedBatches({"a": Numbered(5), "b": Numbered(2)}, powers=[1.0], seed=3)
    for epoch in range(3):
        expected = {("a", epoch, step) for step in range(5)} | {("b", epoch, step) for step in range(2)}
        assert set(seen(mixed, epoch)) == expected
        assert len(seen(mixed, epoch)) == mixed.steps(epoch) == 7
    assert [task for task, *_ in seen(mixed, 0)] != [task for task, *_ in seen(mixed, 1)]


@LAWS
@given(st.integers(0, 4), st.integers(0, 12), st.sampled_from(["proportional", "sqrt", "annealed"]))
def test_an_epoch_goes_on_where_it_was_cut(epoch: int, start: int, sampling: str) -> None:
    mixed = MixedBatches({"a": Numbered(9), "b": Numbered(3)}, powers=sampling_powers(sampling, 3), seed=1)
    assert seen(mixed, epoch, start) == seen(mixed, epoch)[start:]


def test_no_row_comes_twice_before_all_came_once() -> None:
    """Whatever its share, a task's own epochs follow one another without a gap."""
    mixed = MixedBatches({"a": Numbered(9), "b": Numbered(2)}, powers=sampling_powers("annealed", 4), seed=1)
    found = [place for epoch in range(4) for place in seen(mixed, epoch)]
    for task, size in (("a", 9), ("b", 2)):
        own = [(epoch, step) for name, epoch, step in found if name == task]
        assert own == [divmod(place, size) for place in range(len(own))]


def test_the_order_is_drawn_by_the_seed() -> None:
    steps = np.array([20, 20])
    orders = [task_order(steps, seed=seed, epoch=epoch).tolist() for seed, epoch in ((0, 0), (0, 0), (1, 0), (0, 1))]
    assert orders[0] == orders[1]
    assert orders[0] not in orders[2:]
    assert MixedBatches({"a": Numbered(3), "b": Numbered(1)}, powers=[1.0], seed=0).padding_ratio() == 3.5
