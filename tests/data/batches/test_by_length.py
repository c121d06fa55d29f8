"""Laws of the plans by length: every row once, within the budget, whatever the number of processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.batches.by_length import bucketed_plan, length_batches

lengths_of = st.lists(st.integers(1, 60), min_size=8, max_size=120).map(np.array)
law = settings(deadline=None, derandomize=True)


@law
@given(
    lengths=lengths_of,
    batch_size=st.integers(4, 20),
    budget=st.integers(8, 400),
    world=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_row_once_whatever_the_number_of_processes(
    lengths: np.ndarray, batch_size: int, budget: int, world: int, seed: int
) -> None:
    options = {"batch_size": batch_size, "max_tokens": budget, "seed": seed, "epoch": 3}
    one = bucketed_plan(lengths, **options)
    ranks = [bucketed_plan(lengths, **options, world_size=world, rank=rank) for rank in range(world)]
    merged = [np.concatenate([np.concatenate(rank[i]) for rank in ranks]) for i in range(len(ranks[0]))]
    assert sorted(np.concatenate(merged)) == list(range(len(lengths)))
    if len(lengths) % batch_size >= world or len(lengths) % batch_size == 0:
        assert [sorted(np.concatenate(step)) for step in one] == [sorted(step) for step in merged]
    for steps in zip(*ranks):
        assert len({len(step) for step in steps}) == 1
        assert all(len(rows) for step in steps for rows in step)


@law
@given(lengths=lengths_of, batch_size=st.integers(1, 20), budget=st.integers(1, 400))
def test_micro_batches_stay_within_the_budget(lengths: np.ndarray, batch_size: int, budget: int) -> None:
    for step in bucketed_plan(lengths, batch_size=batch_size, max_tokens=budget, seed=0, epoch=0):
        for rows in step:
            assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget


def test_epochs_and_seeds_differ_and_repeat() -> None:
    lengths = np.random.default_rng(0).integers(5, 50, 500)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        steps = bucketed_plan(lengths, batch_size=8, max_tokens=999, seed=seed, epoch=epoch)
        return [step[0].tolist() for step in steps]

    assert plan(0, 0) == plan(0, 0)
    assert plan(0, 0) != plan(0, 1)
    assert plan(0, 0) != plan(1, 0)


def test_like_lengths_meet() -> None:
    lengths = np.random.default_rng(0).lognormal(3.6, 0.6, 20_000).astype(int) + 3
    plan = bucketed_plan(lengths, batch_size=32, max_tokens=8192, seed=0, epoch=0)
    computed = sum(len(rows) * lengths[rows].max() for step in plan for rows in step)
    assert computed / lengths.sum() < 1.10


@pytest.mark.parametrize(("rows", "batch_size"), [(100, 2), (2, 8)])
def test_fewer_rows_than_processes_is_refused(rows: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="3 processes need"):
        bucketed_plan(np.ones(rows, int), batch_size=batch_size, max_tokens=10, seed=0, epoch=0, world_size=3)


@law
@given(lengths=lengths_of, budget=st.integers(1, 300), rows=st.integers(1, 9))
def test_inference_batches_hold_every_row_once(lengths: np.ndarray, budget: int, rows: int) -> None:
    batches = length_batches(lengths, max_tokens=budget, max_rows=rows)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget
        assert len(batch) <= rows


@law
@given(lengths=lengths_of)
def test_tight_batches_hold_less_padding_than_one_more_row(lengths: np.ndarray) -> None:
    batches = length_batches(lengths, max_tokens=10**9, tight=True)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch, after in zip(batches, [*batches[1:], None]):
        longest = lengths[batch].max()
        assert (longest - lengths[batch]).sum() <= longest
        if after is not None and len(batch) < 256:  # the next row would have been too long for this batch
            longest = lengths[after].min()
            assert (longest - lengths[batch]).sum() > longest


def test_a_batch_of_texts_of_all_lengths_is_not_mostly_padding() -> None:
    lengths = np.random.default_rng(0).lognormal(3.6, 0.6, 32).astype(int) + 3

    def computed(*, tight: bool) -> float:
        batches = length_batches(lengths, max_tokens=10**9, tight=tight)
        return sum(len(rows) * lengths[rows].max() for rows in batches) / lengths.sum()

    assert computed(tight=False) > 2
    assert computed(tight=True) < 1.2
