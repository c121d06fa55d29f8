"""The temperature against scipy.optimize, and where there is none to be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from understudy.functional.temperature import FEWEST_ROWS, fit_temperature


def classes(seed: int, scale: float, *, rows: int = 400, outputs: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is `scale`, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(rows, outputs)) * 2
    labels = np.array([rng.choice(outputs, p=row) for row in softmax(true, axis=1)])
    return (true * scale).astype(np.float32), labels


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 6))
def test_the_temperature_of_classes_is_the_minimum_that_scipy_finds(seed: int, scale: float) -> None:
    logits, labels = classes(seed, scale)

    def loss(inverse: float) -> float:
        return -log_softmax(inverse * logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()

    expected = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits, labels)
    assert found.reason is None
    assert found.value == pytest.approx(1 / expected.x, rel=2e-3)
    assert loss(1 / found.value) <= expected.fun + 1e-7


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 6))
def test_the_temperature_of_several_labels_minimises_the_binary_cross_entropy(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(300, 3)) * 2
    labels = (rng.random(true.shape) < expit(true)).astype(np.float32)
    logits = true * scale

    def loss(inverse: float) -> float:
        return float(np.mean(np.logaddexp(0, inverse * logits) - labels * inverse * logits))

    expected = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels).value == pytest.approx(1 / expected.x, rel=2e-3)


def test_rows_without_a_label_do_not_count() -> None:
    logits, labels = classes(0, 3.0)
    some = labels.copy()
    some[::3] = -100
    assert fit_temperature(logits, some) == fit_temperature(logits[some >= 0], labels[some >= 0])


def test_it_stays_at_one_with_few_rows() -> None:
    logits, labels = classes(0, 3.0, rows=FEWEST_ROWS - 1)
    found = fit_temperature(logits, labels)
    assert found.value == 1.0
    assert f"{FEWEST_ROWS - 1} validation rows" in str(found.reason)
    assert fit_temperature(logits, np.full(len(labels), -100)).value == 1.0


def test_it_stays_at_one_at_a_border() -> None:
    logits, _ = classes(0, 3.0)
    right = fit_temperature(logits, logits.argmax(1))
    assert right.value == 1.0
    assert "errs on no validation row" in str(right.reason)
    wrong = fit_temperature(logits, logits.argmin(1))
    assert wrong.value == 1.0
    assert "too little" in str(wrong.reason)
    assert fit_temperature(np.zeros((100, 3)), np.zeros(100, np.int64)).value == 1.0
