"""Tables of static embeddings, against scikit-learn's PCA, a slow loop and the closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from transformers import AutoTokenizer

from understudy.models.files.classifiers import load_encoder
from understudy.models.vocabulary.static_table import (
    fitted_to_vectors,
    principal_directions,
    seen_along,
    sif_weights,
    single_token_states,
    zipf_shares,
)

RNG = np.random.default_rng(0)


def test_principal_components_are_those_of_scikit_learn() -> None:
    rows = RNG.normal(size=(40, 6)) * [5, 4, 3, 2, 1, 0.5] + 7
    ours, theirs = (
        seen_along(rows, principal_directions(rows, 3)),
        PCA(3, svd_solver="full").fit_transform(rows),
    )
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)
    np.testing.assert_array_equal(principal_directions(rows, 3), principal_directions(rows.copy(), 3))
    assert principal_directions(rows, 99).shape == (6, 6)


def test_weights_fall_with_frequency() -> None:
    shares = zipf_shares(1000)
    assert abs(shares.sum() - 1) < 1e-12
    assert (np.diff(sif_weights(shares)) > 0).all()


def test_states_of_single_tokens_are_those_of_one_text_each(tiny_bert: Path) -> None:
    encoder, tokenizer = load_encoder(str(tiny_bert)), AutoTokenizer.from_pretrained(tiny_bert)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    words = ["film", "good"]
    found = single_token_states(encoder, tokenizer, tokenizer.convert_tokens_to_ids(words), names=names)
    with torch.inference_mode():
        expected = [encoder(**tokenizer(word, return_tensors="pt")).last_hidden_state[0].mean(0) for word in words]
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-6)


def test_a_fitted_table_is_the_closed_form() -> None:
    shares = np.abs(RNG.normal(size=(30, 8))) * (RNG.random((30, 8)) < 0.5)
    shares[:, 7] = 0  # a token that no text has
    start, wanted = RNG.normal(size=(8, 3)), RNG.normal(size=(30, 3))
    found = fitted_to_vectors(start, csr_array(shares), wanted, penalty=0.3)
    closed = start + np.linalg.solve(shares.T @ shares + 0.3 * np.eye(8), shares.T @ (wanted - shares @ start))
    np.testing.assert_allclose(found, closed, atol=1e-8)
    np.testing.assert_array_equal(found[7], start[7])
