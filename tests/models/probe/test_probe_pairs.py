"""Linear models on compared vectors, against scikit-learn's ridge on the same features and one heavy column."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from understudy.data.tasks import Task
from understudy.models.probe.choice import Difference, Probe, above, cross_validated, serves_apart
from understudy.models.probe.pairs import cross_validated_pairs, fit_linear_pairs, with_cosine, without_cosine

NUMBERS = Task(text=(("a",), ("b",)), label="score", kind="regression")
RNG = np.random.default_rng(0)
U, V = RNG.normal(size=(2, 80, 6))
FEATURES = np.hstack([np.abs(U - V), U * V])
COSINE = (U * V).mean(1)


def standard(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(0)) / features.std(0)


@pytest.mark.parametrize("strength", [0.001, 0.3])
def test_the_cosine_is_one_column_of_ten_times_the_spread(strength: float) -> None:
    """A column that stands there a hundred times is as one that is ten times as large."""
    labels = (3 * COSINE + RNG.normal(size=80)).astype(np.float32)
    found = cross_validated_pairs(FEATURES, labels, NUMBERS, seed=0, grid=(strength,))
    told = np.hstack([standard(FEATURES), 10 * standard(COSINE[:, None])])
    expected = Ridge(alpha=1 / strength).fit(told, labels).predict(told)
    np.testing.assert_allclose(FEATURES @ found.weight[0] + found.bias[0], expected, rtol=1e-4, atol=1e-4)


def test_where_the_cosine_says_all_few_rows_say_it_sooner() -> None:
    labels = COSINE.astype(np.float32)
    few = slice(0, 16)
    plain = cross_validated(FEATURES[few], labels[few], NUMBERS, seed=0, grid=(0.03,))
    told = cross_validated_pairs(FEATURES[few], labels[few], NUMBERS, seed=0, grid=(0.03,))
    assert told.losses.mean() < 0.5 * plain.losses.mean()


def test_weights_are_folded_for_several_outputs() -> None:
    weight = RNG.normal(size=(3, with_cosine(FEATURES).shape[1]))
    np.testing.assert_allclose(FEATURES @ without_cosine(weight).T, with_cosine(FEATURES) @ weight.T)


def test_the_penalty_is_chosen_on_validation_rows() -> None:
    labels = COSINE.astype(np.float32)
    weight, bias = fit_linear_pairs(FEATURES, labels, NUMBERS, validation=(FEATURES, labels))
    assert weight.shape == (1, 12)
    assert np.corrcoef(FEATURES @ weight[0] + bias[0], labels)[0, 1] > 0.99


def test_pairs_are_read_apart_where_that_has_the_lower_loss() -> None:
    nothing = np.zeros((1, 1)), np.zeros(1), 0.1
    good, bad = (Probe(*nothing, np.array(losses), {}) for losses in ([0.1, 0.4, 0.2], [0.5, 0.7, 0.6]))
    chosen, difference = serves_apart(good, bad)
    assert chosen
    assert difference.mean == pytest.approx(np.mean([0.4, 0.3, 0.4]))
    assert not serves_apart(bad, good)[0]
    assert above(Difference(0.25, 0.2, 0.3)) == "0.250 ± 0.050 above"
