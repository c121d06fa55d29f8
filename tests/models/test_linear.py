"""Linear heads against scikit-learn on standardised features, also with missing labels and missing classes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from understudy.data.tasks import NO_LABEL, Kind, Task
from understudy.errors import DataError
from understudy.models.linear import fit_linear

RNG = np.random.default_rng(0)
FEATURES = (RNG.normal(size=(80, 5)) * [1, 10, 0.1, 3, 1] + [0, 50, 0, -2, 7]).astype(np.float32)
CONSTANT = np.hstack([FEATURES, np.full((80, 1), 4, np.float32)])


def _task(kind: Kind, outputs: int = 0, metrics: tuple[str, ...] = ()) -> Task:
    return Task(text=(("text",),), label="y", kind=kind, labels=tuple(map(str, range(outputs))), metrics=metrics)


@pytest.mark.parametrize("classes", [2, 3])
def test_standardisation_is_folded_in(classes: int) -> None:
    labels = RNG.integers(classes, size=80)
    weight, bias = fit_linear(CONSTANT, labels, _task("single_label", classes))
    assert weight.shape == (classes, 6)
    assert bias.shape == (classes,)
    assert weight.dtype == bias.dtype == np.float32
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=1000)).fit(
        CONSTANT, labels
    )
    found = scipy.special.softmax(CONSTANT @ weight.T + bias, axis=1)
    np.testing.assert_allclose(found, reference.predict_proba(CONSTANT), atol=1e-3)
    if classes == 2:
        assert not weight[0].any()
        assert bias[0] == 0


def test_regression_is_ridge() -> None:
    scores = RNG.normal(size=80).astype(np.float32)
    weight, bias = fit_linear(FEATURES, scores, _task("regression"))
    reference = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(FEATURES, scores)
    np.testing.assert_allclose(FEATURES @ weight[0] + bias[0], reference.predict(FEATURES), atol=1e-4)


@pytest.mark.parametrize(("wanted", "strength"), [("signal", 1.0), ("mean", 0.001)])
def test_the_penalty_that_validates_best(wanted: str, strength: float) -> None:
    scores = (FEATURES[:, 0] + FEATURES[:, 1]).astype(np.float32)
    fresh = FEATURES + RNG.normal(size=FEATURES.shape).astype(np.float32) * 0.01
    right = fresh[:, 0] + fresh[:, 1] if wanted == "signal" else np.full(80, scores.mean())
    task = _task("regression", metrics=("mse",))
    weight, bias = fit_linear(FEATURES, scores, task, validation=(fresh, right.astype(np.float32)))
    reference = make_pipeline(StandardScaler(), Ridge(alpha=1 / strength)).fit(FEATURES, scores)
    np.testing.assert_allclose(FEATURES @ weight[0] + bias[0], reference.predict(FEATURES), rtol=1e-3)


def test_unlabelled_validation_chooses_nothing() -> None:
    labels = RNG.integers(2, size=80)
    without = fit_linear(FEATURES, labels, _task("single_label", 2))
    blind = fit_linear(FEATURES, labels, _task("single_label", 2), validation=(FEATURES, np.full(80, NO_LABEL)))
    np.testing.assert_array_equal(without[0], blind[0])


@pytest.mark.parametrize("seen", [[0, 2, 3], [1, 3], [2]])
def test_a_class_that_training_lacks_is_never_answered(seen: list[int]) -> None:
    labels = RNG.choice(seen, size=80)
    weight, bias = fit_linear(FEATURES, labels, _task("single_label", 4))
    logits = FEATURES @ weight.T + bias
    missing = [number for number in range(4) if number not in seen]
    assert scipy.special.softmax(logits, axis=1)[:, missing].max() < 1e-4
    if len(seen) > 1:
        reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=1000))
        expected = reference.fit(FEATURES, labels).predict_proba(FEATURES)
        np.testing.assert_allclose(scipy.special.softmax(logits[:, seen], axis=1), expected, atol=1e-3)


@pytest.mark.parametrize("only", [0, 1])
def test_one_of_two_classes(only: int) -> None:
    weight, bias = fit_linear(FEATURES, np.full(80, only), _task("single_label", 2))
    assert ((FEATURES @ weight.T + bias).argmax(1) == only).all()


def test_a_label_that_all_rows_have_or_none() -> None:
    labels = np.column_stack([np.ones(80), np.zeros(80), RNG.integers(2, size=80)]).astype(np.float32)
    weight, bias = fit_linear(FEATURES, labels, _task("multi_label", 3))
    assert not weight[:2].any()
    assert scipy.special.expit(bias[:2]) == pytest.approx([81 / 82, 1 / 82], abs=1e-6)
    assert weight[2].any()


def test_rows_without_a_label() -> None:
    labels = RNG.integers(3, size=80)
    assert_same = np.testing.assert_allclose
    partly = np.where(np.arange(80) < 50, labels, NO_LABEL)
    weight, bias = fit_linear(FEATURES, partly, _task("single_label", 3))
    assert np.isfinite(weight).all()
    scaler = StandardScaler().fit(FEATURES)
    reference = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(scaler.transform(FEATURES[:50]), labels[:50])
    found = scipy.special.softmax(FEATURES @ weight.T + bias, axis=1)
    assert_same(found, reference.predict_proba(scaler.transform(FEATURES)), atol=1e-3)
    with pytest.raises(DataError, match="none of the 80 training rows"):
        fit_linear(FEATURES, np.full(80, np.nan), _task("regression"))
