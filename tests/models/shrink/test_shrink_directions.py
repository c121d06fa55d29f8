"""Directions and factors of a lower rank against numpy's singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.shrink.directions import lower_rank, principal_directions


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(2, 12).flatmap(lambda wide: st.tuples(st.just(wide), st.integers(1, wide))), st.integers(0, 99))
def test_principal_directions_are_optimal_and_keep_the_mean(sizes: tuple[int, int], seed: int) -> None:
    wide, width = sizes
    table = np.random.default_rng(seed).normal(size=(20, wide)) + 0.3
    basis = principal_directions(torch.from_numpy(table), width).numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(width), atol=1e-9)
    lost = np.linalg.norm(table - table @ basis @ basis.T)
    singular = np.linalg.svd(table, compute_uv=False)
    assert lost == pytest.approx(np.sqrt((singular[width:] ** 2).sum()), abs=1e-7)
    mean = basis.T @ np.ones(wide)
    np.testing.assert_allclose(mean, np.full(width, mean.mean()), atol=1e-9)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 5), st.integers(0, 99))
def test_truncation_is_numpys(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(9, 5)), rng.normal(size=(5, 7))
    first, second = lower_rank(torch.from_numpy(left), torch.from_numpy(right), rank)
    assert first.shape == (9, rank)
    u, s, vh = np.linalg.svd(left @ right)
    np.testing.assert_allclose(first @ second, (u[:, :rank] * s[:rank]) @ vh[:rank], atol=1e-9)
