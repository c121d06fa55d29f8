"""The cosines of a batch, against a slow loop over pairs in the form that sentence-transformers has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cosine

from understudy.functional.pair_distances import pairwise_cosine_error


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    vectors=arrays(np.float64, (5, 3), elements=st.floats(0.1, 8)),
    labels=arrays(np.int64, 5, elements=st.integers(0, 2)),
)
def test_each_pair_has_the_squared_error_of_its_cosine(vectors: np.ndarray, labels: np.ndarray) -> None:
    alike = labels[:, None] == labels
    found = pairwise_cosine_error(torch.tensor(vectors), torch.tensor(alike))
    for i in range(5):
        for j in range(5):
            expected = (1 - cosine(vectors[i], vectors[j]) - float(labels[i] == labels[j])) ** 2
            assert found[i, j].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_mean_over_pairs_and_its_gradient_are_those_of_cosine_similarity_loss() -> None:
    """``CosineSimilarityLoss``: ``mse_loss(cosine_similarity(u, v), label)``, u and v encoded pair by pair."""
    torch.manual_seed(0)
    vectors = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 0])
    one, other = torch.triu_indices(4, 4, 1)
    alike = labels[:, None] == labels
    theirs = torch.nn.functional.mse_loss(
        torch.cosine_similarity(vectors[one], vectors[other]), alike[one, other].double()
    )
    ours = pairwise_cosine_error(vectors, alike)[one, other].mean()
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, vectors)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_length_changes_nothing_and_a_vector_of_zeros_has_no_nan() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]], requires_grad=True)
    found = pairwise_cosine_error(vectors, torch.ones(3, 3, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    found.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_half_precision_is_computed_in_float32_and_shapes_are_checked() -> None:
    assert pairwise_cosine_error(torch.ones(2, 3, dtype=torch.bfloat16), torch.eye(2).bool()).dtype == torch.float32
    with pytest.raises(ValueError, match="3 vectors, but its shape is"):
        pairwise_cosine_error(torch.ones(3, 2), torch.ones(3, 2, dtype=torch.bool))
