"""The loss of the best constant answer, against a search for it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from understudy.functional.chance import chance_loss

RNG = np.random.default_rng(0)


def test_it_is_the_least_loss_of_a_constant() -> None:
    labels = RNG.integers(3, size=50) ** 2 % 3
    best = scipy.optimize.minimize(lambda z: -scipy.special.log_softmax(z)[labels].mean(), np.zeros(3))
    assert chance_loss(labels) == pytest.approx(best.fun, abs=1e-6)
    numbers = RNG.normal(size=50).astype(np.float32)
    best = scipy.optimize.minimize_scalar(lambda c: ((numbers - c) ** 2).mean())
    assert chance_loss(numbers) == pytest.approx(best.fun, rel=1e-5)
    several = (RNG.random((50, 2)) < 0.3).astype(np.float32)
    share = several.mean(0).astype(np.float64)
    bce = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean()
    assert chance_loss(several) == pytest.approx(bce)


def test_rows_without_a_label_and_labels_that_are_all_alike() -> None:
    assert chance_loss(np.array([0, 1, -100, -100])) == pytest.approx(np.log(2))
    assert chance_loss(np.array([1.0, 3.0, np.nan], np.float32)) == pytest.approx(1.0)
    assert chance_loss(np.array([2, 2, 2])) == 1.0
    assert chance_loss(np.full(4, 2.5, np.float32)) == 1.0
