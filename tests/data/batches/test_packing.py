"""Laws of packing: every text once, little waste, and the best fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.batches.packing import pack_texts

law = settings(deadline=None, derandomize=True, max_examples=50)


def test_blocks_waste_little() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(3.0, 0.7, 4000).astype(int) + 3, None, 128)
    packed = pack_texts(lengths, max_length=128, seed=0, epoch=0)
    assert lengths.sum() / (len(packed) * 128) > 0.97
    another = pack_texts(lengths, max_length=128, seed=0, epoch=1)
    assert {tuple(sorted(block)) for block in packed[:100]} != {tuple(sorted(block)) for block in another[:100]}


def test_a_text_goes_where_it_leaves_the_least_room() -> None:
    """A text of 3 goes to the block with room for 3, not to that with room for 4, so that a text of 4 still fits."""
    packed = pack_texts(np.array([6, 7, 3, 2, 2]), max_length=10, seed=0, epoch=0)
    assert sorted(sorted(block.tolist()) for block in packed) == [[0, 3, 4], [1, 2]]


@law
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=150).map(np.array),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_text_is_in_exactly_one_block_and_fits(lengths: np.ndarray, seed: int, epoch: int) -> None:
    packed = pack_texts(lengths, max_length=30, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(packed).tolist()) == list(range(len(lengths)))
    assert all(0 < lengths[block].sum() <= 30 for block in packed)
    again = pack_texts(lengths, max_length=30, seed=seed, epoch=epoch)
    assert [block.tolist() for block in packed] == [block.tolist() for block in again]


def test_a_text_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="blocks have 8 tokens, but a text has 9"):
        pack_texts(np.array([3, 9]), max_length=8, seed=0, epoch=0)
