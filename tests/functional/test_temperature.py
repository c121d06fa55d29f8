"""The temperature against scipy.optimize, and what the prior does where rows are few or say too little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scipy.stats import gamma

from understudy.functional.temperature import HIGHEST, USUAL, WEIGHT, fit_temperature
from understudy.models.files.stored_task import checked_temperature


def classes(seed: int, scale: float, *, rows: int = 400, outputs: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is `scale`, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(rows, outputs)) * 2
    labels = np.array([rng.choice(outputs, p=row) for row in softmax(true, axis=1)])
    return (true * scale).astype(np.float32), labels


PRIOR = gamma(WEIGHT + 1, scale=1 / (WEIGHT * USUAL))
"""Of 1/T."""


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 6), rows=st.sampled_from([1, 10, 400]))
def test_the_temperature_of_classes_is_the_minimum_that_scipy_finds(seed: int, scale: float, rows: int) -> None:
    logits, labels = classes(seed, scale, rows=rows)

    def loss(inverse: float) -> float:
        likely = log_softmax(inverse * logits.astype(np.float64), axis=1)[np.arange(rows), labels]
        return float(-likely.sum() - PRIOR.logpdf(inverse))

    expected = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(1 / expected.x, rel=2e-3)
    assert loss(1 / found) <= expected.fun + 1e-6 * rows


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 6))
def test_the_temperature_of_several_labels_minimises_the_binary_cross_entropy(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(300, 3)) * 2
    labels = (rng.random(true.shape) < expit(true)).astype(np.float32)
    logits = true * scale

    def loss(inverse: float) -> float:
        likely = labels * inverse * logits - np.logaddexp(0, inverse * logits)
        return float(-likely.sum() - PRIOR.logpdf(inverse))

    expected = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(1 / expected.x, rel=2e-3)


def test_rows_without_a_label_do_not_count() -> None:
    logits, labels = classes(0, 3.0)
    some = labels.copy()
    some[::3] = -100
    assert fit_temperature(logits, some) == fit_temperature(logits[some >= 0], labels[some >= 0])


def test_no_row_leaves_the_usual_temperature_and_every_row_moves_it() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == USUAL
    assert fit_temperature(np.zeros((0, 3)), np.zeros((0, 3))) == USUAL
    logits, labels = classes(0, 3.0)
    assert fit_temperature(logits, np.full(len(labels), -100)) == USUAL
    assert fit_temperature(np.zeros((100, 3)), np.zeros(100, np.int64)) == USUAL  # the same for all classes
    right, wrong = np.array([[4.0, 0.0]]), np.array([0, 1])
    below, above = (fit_temperature(right, wrong[i : i + 1]) for i in (0, 1))
    assert below < USUAL < above


def test_rows_that_are_all_right_or_all_wrong_leave_a_finite_temperature() -> None:
    logits, _ = classes(0, 3.0)
    right, wrong = fit_temperature(logits, logits.argmax(1)), fit_temperature(logits, logits.argmin(1))
    assert 0.01 < right < USUAL < wrong <= HIGHEST


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_model_folder_may_hold_whatever_is_fitted(scale: float) -> None:
    logits, labels = classes(0, scale, rows=3000)
    for answers in (labels, logits.argmax(1), logits.argmin(1)):
        found = fit_temperature(logits, answers)
        assert checked_temperature(found) == found
