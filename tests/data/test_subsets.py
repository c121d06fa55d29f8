"""Draws: quotas are as equal as possible, and the cut is stratified."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.subsets import class_quotas, cut_validation, draw_rows
from understudy.data.tasks import NO_LABEL


@settings(deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), total=st.integers(1, 120), seed=st.integers(0, 9))
def test_quotas_are_as_equal_as_counts_allow(counts: list[int], total: int, seed: int) -> None:
    got = class_quotas(np.array(counts), total, np.random.default_rng(seed))
    assert got.sum() == min(total, sum(counts))
    # A class that could give more is at most one below any other.
    assert all(got[i] <= counts[i] for i in range(len(counts)))
    assert all(got[i] >= got.max() - 1 for i in range(len(counts)) if got[i] < counts[i])
    rows = np.arange(sum(counts)) * 3
    classes = np.repeat(np.arange(len(counts)), counts)
    drawn = draw_rows(rows, classes, total, seed)
    assert (np.diff(drawn) > 0).all()
    assert np.isin(drawn, rows).all()
    found = np.bincount(classes[drawn // 3], minlength=len(counts))
    np.testing.assert_array_equal(np.sort(found), np.sort(got))


@settings(deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    bare=st.integers(0, 5),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 9),
)
def test_the_cut_is_stratified(counts: list[int], bare: int, share: float, seed: int) -> None:
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(bare, NO_LABEL)]).astype(np.int64)
    labels = np.random.default_rng(seed).permutation(labels)
    stay, off = cut_validation(labels, share, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([stay, off])), np.arange(len(labels)))
    assert (labels[off] != NO_LABEL).all()
    total = min(max(1, round(sum(counts) * share)), sum(counts) - 1)
    assert len(off) <= total
    for i, count in enumerate(counts):
        taken = (labels[off] == i).sum()
        assert taken < count or taken == 0
        assert taken <= np.ceil(count * total / sum(counts))
        if count > 2:
            assert taken >= min(np.floor(count * total / sum(counts)), count - 1)
