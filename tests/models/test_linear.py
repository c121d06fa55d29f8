"""Linear heads against scikit-learn on standardised features, also with missing labels and missing classes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from understudy.data.class_weights import balanced_weights
from understudy.data.tasks import NO_LABEL, Kind, Task
from understudy.errors import DataError
from understudy.functional.scoring import score
from understudy.models import logistic
from understudy.models.folds import FOLDS, deal_folds, row_losses
from understudy.models.linear import best_fit, fit_linear, linear_logits

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
    noise = RNG.normal(size=(160, 5)).astype(np.float32) * 0.01
    fresh = np.vstack([FEATURES, FEATURES]) + noise
    right = fresh[:, 0] + fresh[:, 1] if wanted == "signal" else np.full(160, scores.mean())
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


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_few_validation_rows_leave_the_choice_to_folds(kind: Kind) -> None:
    """Fold by fold with scikit-learn; the ten validation rows, whose labels are wrong, change nothing."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(60, 12))
    hidden = rows @ rng.normal(size=(12, 3)) + 4.0 * rng.normal(size=(60, 3))
    labels = {
        "single_label": hidden.argmax(1),
        "multi_label": (hidden > 0).astype(np.float32),
        "regression": hidden[:, 0],
    }[kind]
    task = _task(kind, 0 if kind == "regression" else 3)
    grid = (0.001, 0.01, 0.1, 1.0)

    def logits(inside: np.ndarray, outside: np.ndarray, strength: float) -> np.ndarray:
        if kind == "regression":
            return Ridge(alpha=1 / strength).fit(rows[inside], labels[inside]).predict(rows[outside])[:, None]
        columns = labels[:, None] == np.arange(3) if kind == "single_label" else labels == 1
        if kind == "multi_label":
            fits = [LogisticRegression(C=strength, tol=1e-8).fit(rows[inside], column[inside]) for column in columns.T]
            return np.stack([fit.decision_function(rows[outside]) for fit in fits], axis=1)
        return (
            LogisticRegression(C=strength, tol=1e-8).fit(rows[inside], labels[inside]).decision_function(rows[outside])
        )

    dealt, reached = deal_folds(labels, FOLDS, 0), []
    for strength in grid:
        held = np.zeros((60, task.outputs))
        for fold in range(FOLDS):
            held[dealt == fold] = logits(dealt != fold, dealt == fold, strength)
        reached.append((score(task.metrics[0], held, labels), -row_losses(held, labels, task).mean(), strength))
    expected = max(reached, key=lambda entry: entry[:2])[2]
    wrong = (rows[:10], {"single_label": (labels[:10] + 1) % 3}.get(kind, 1 - labels[:10]))
    found = best_fit(rows, labels, task, grid=grid, default=7.0, validation=wrong)
    everything = np.arange(60)
    held = logits(everything, everything, expected)
    np.testing.assert_allclose(linear_logits(found, rows, task), held, atol=2e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_are_those_of_scikit_learn(classes: int) -> None:
    labels = (RNG.random(80) ** 3 * classes).astype(int)
    weights = balanced_weights(labels, classes)
    rows = StandardScaler().fit_transform(FEATURES)  # or the solvers stop before they agree
    found = best_fit(rows, labels, _task("single_label", classes), grid=(), default=0.3, class_weights=weights)
    theirs = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-8, max_iter=1000).fit(rows, labels)
    np.testing.assert_allclose(found.weight, theirs.coef_, atol=2e-3)
    without = best_fit(rows, labels, _task("single_label", classes), grid=(), default=0.3)
    assert np.abs(without.weight - theirs.coef_).max() > 0.02


def test_naive_bayes_counts_rows_by_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "_MOST_WEIGHTS", 1)
    features, labels = np.abs(FEATURES), np.arange(80) % 3
    weights = (5.0, 1.0, 0.5)
    found = best_fit(features, labels, _task("single_label", 3), grid=(), default=2.0, class_weights=weights)
    theirs = ComplementNB(alpha=0.5).fit(features, labels, sample_weight=np.array(weights)[labels])
    np.testing.assert_allclose(found.weight, theirs.feature_log_prob_)


def test_few_rows_a_class_are_no_reason_to_warn() -> None:
    """scikit-learn takes more classes than half of the rows for a regression."""
    rng = np.random.default_rng(0)
    weight, _ = fit_linear(rng.normal(size=(30, 4)), np.arange(30) % 20, _task("single_label", 20))
    assert np.isfinite(weight).all()
