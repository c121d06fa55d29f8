"""Which texts meet, and which of their pairs are alike."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.batches.pairs.batches import PairBatches
from understudy.data.batches.pairs.plan import alike, meetings, pair_steps
from understudy.data.tokens.encode import Encoded


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 6), min_size=2, max_size=70),
    batch_size=st.integers(2, 20),
    seed=st.integers(0, 5),
    unlabelled=st.integers(0, 3),
)
def test_every_labelled_row_meets_others_once_an_epoch(
    labels: list[int], batch_size: int, seed: int, unlabelled: int
) -> None:
    all_labels = np.array([-100] * unlabelled + labels)
    steps = pair_steps(all_labels, batch_size=batch_size, seed=seed, epoch=2)
    assert sorted(np.concatenate(steps)) == list(range(unlabelled, len(all_labels)))
    assert all(2 <= len(step) <= batch_size + 1 for step in steps)
    again = pair_steps(all_labels, batch_size=batch_size, seed=seed, epoch=2)
    assert all(np.array_equal(one, other) for one, other in zip(steps, again, strict=True))


def test_epochs_and_seeds_differ() -> None:
    labels = np.arange(40) % 4
    plans = [np.concatenate(pair_steps(labels, batch_size=8, seed=s, epoch=e)) for s, e in [(0, 0), (0, 1), (1, 0)]]
    assert not any(np.array_equal(one, other) for one, other in combinations(plans, 2))


@pytest.mark.parametrize(("classes", "each"), [(2, 8), (6, 8), (30, 8), (77, 4)])
def test_each_step_has_alike_pairs_and_others(classes: int, each: int) -> None:
    labels = np.repeat(np.arange(classes), each)
    for epoch in range(3):
        for step in pair_steps(labels, batch_size=16, seed=0, epoch=epoch):
            same = alike(labels[step])[np.triu_indices(len(step), 1)]
            assert same.sum() >= 6
            assert (~same).sum() >= 36


def test_a_rare_class_is_spread_over_the_epoch() -> None:
    labels = np.array([0] * 150 + [1] * 10)
    steps = pair_steps(labels, batch_size=16, seed=0, epoch=0)
    assert len(steps) == 10
    assert max((labels[step] == 1).sum() for step in steps) <= 4


def test_classes_of_one_row_have_only_pairs_that_are_not_alike() -> None:
    labels = np.array([0, 1, 2, 2])
    same = alike(labels[np.concatenate(pair_steps(labels, batch_size=4, seed=0, epoch=0))])
    assert np.triu(same, 1).sum() == 1


def test_rows_with_several_labels_are_alike_if_they_share_one() -> None:
    labels = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)
    expected = [[any(a and b for a, b in zip(one, other)) for other in labels] for one in labels]
    assert alike(labels).tolist() == expected
    missing = np.vstack([labels, np.full((1, 3), np.nan, np.float32)])
    assert sorted(np.concatenate(pair_steps(missing, batch_size=3, seed=0, epoch=0))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("labels", "batch_size", "said"),
    [([0, -100], 4, "2 labelled rows, but there are 1"), ([0, 1, 0], 1, "batch_size is 1")],
)
def test_what_cannot_be_paired_is_said(labels: list[int], batch_size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pair_steps(np.array(labels), batch_size=batch_size, seed=0, epoch=0)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=14), max_tokens=st.integers(8, 400))
def test_a_step_that_is_cut_keeps_every_pair_once(lengths: list[int], max_tokens: int) -> None:
    rows = np.arange(len(lengths)) + 3
    found = list(meetings(rows, np.array([9, 9, 9, *lengths]), max_tokens=max_tokens))
    pairs = [
        frozenset((int(meeting.rows[i]), int(meeting.rows[j])))
        for meeting in found
        for i, j in zip(*np.nonzero(meeting.counted))
    ]
    assert sorted(map(sorted, pairs)) == [list(pair) for pair in combinations(rows.tolist(), 2)]
    assert sum(meeting.fresh for meeting in found) == len(rows)
    longest = np.array([9, 9, 9, *lengths])
    assert all(
        len(meeting.rows) * longest[meeting.rows].max() <= max_tokens or len(meeting.rows) == 2 for meeting in found
    )
    if len(rows) * max(lengths) <= max_tokens:
        assert len(found) == 1


def batches(labels: np.ndarray, **options: int) -> PairBatches:
    """Rows of 1 to 4 tokens."""
    lengths = np.arange(len(labels)) % 4 + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    encoded = Encoded(np.arange(offsets[-1], dtype=np.int32), offsets, None, 0, "right", "")
    settings = {"batch_size": 6, "max_tokens": 100, "seed": 0} | options
    return PairBatches(encoded, labels, names=("input_ids", "attention_mask"), **settings)


def test_batches_go_on_in_the_middle_of_an_epoch_as_they_were() -> None:
    source = batches(np.arange(23) % 3)
    whole = list(source.windows(4))
    assert len(whole) == source.steps(4) == 4
    for one, other in zip(whole[2:], source.windows(4, 2), strict=True):
        assert (one[0].inputs["input_ids"] == other[0].inputs["input_ids"]).all()
        assert (one[0].alike == other[0].alike).all()  # type: ignore[attr-defined]


def test_a_batch_knows_its_pairs_and_encodes_each_text_once() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    [[batch]] = batches(labels).windows(0)
    assert batch.counts == {"rows": 5, "alike": 1 + 3, "apart": 2 * 3}
    assert batch.inputs["input_ids"].shape == (5, 4)
    [cut] = batches(labels, max_tokens=8).windows(0)
    assert len(cut) > 1
    assert {name: sum(part.counts[name] for part in cut) for name in batch.counts} == batch.counts
    assert batches(labels, max_tokens=8).padding_ratio() >= 1
