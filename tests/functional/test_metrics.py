"""Metrics against their definitions in plain loops, and on degenerate data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from understudy.functional.metrics import METRICS
from understudy.functional.scoring import score

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(60, 4)).astype(np.float32)
CLASSES = RNG.integers(4, size=60)
SEVERAL = (RNG.random((60, 4)) < 0.3).astype(np.float32)


def _f1(wanted: np.ndarray, predicted: np.ndarray) -> float:
    right = sum(bool(a and b) for a, b in zip(wanted, predicted))
    return 2 * right / (wanted.sum() + predicted.sum()) if wanted.sum() + predicted.sum() else math.nan


def _average_precision(wanted: np.ndarray, scores: np.ndarray) -> float:
    """The mean, over the positives, of the precision among all rows scored at least as high."""
    return float(np.mean([wanted[scores >= scores[row]].mean() for row in np.flatnonzero(wanted)]))


def _matthews(wanted: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """The correlation of the two indicator matrices (Gorodkin 2004), two classes being the phi coefficient."""
    one, other = np.eye(classes)[wanted], np.eye(classes)[predicted]
    covariance = lambda a, b: ((a - a.mean(0)) * (b - b.mean(0))).sum()  # noqa: E731
    return covariance(one, other) / math.sqrt(covariance(one, one) * covariance(other, other))


def test_one_class_a_row() -> None:
    predicted = LOGITS.argmax(1)
    assert score("accuracy", LOGITS, CLASSES) == pytest.approx(sum(predicted == CLASSES) / 60)
    assert score("f1_micro", LOGITS, CLASSES) == pytest.approx(sum(predicted == CLASSES) / 60)
    each = [_f1(c == CLASSES, predicted == c) for c in range(4)]
    assert score("f1_macro", LOGITS, CLASSES) == pytest.approx(np.mean(each))
    assert score("matthews", LOGITS, CLASSES) == pytest.approx(_matthews(CLASSES, predicted, 4))
    probabilities = scipy.special.softmax(LOGITS.astype(np.float64), axis=1)
    areas = [_average_precision(c == CLASSES, probabilities[:, c]) for c in range(4)]
    assert score("average_precision", LOGITS, CLASSES) == pytest.approx(np.mean(areas))


def test_two_classes_mean_the_second_one() -> None:
    logits, labels = LOGITS[:, :2], CLASSES % 2
    positive = logits[:, 1] > logits[:, 0]
    assert score("f1", logits, labels) == pytest.approx(_f1(labels == 1, positive))
    assert score("f1", logits, labels) != pytest.approx(_f1(labels == 0, ~positive))
    assert score("matthews", logits, labels) == pytest.approx(np.corrcoef(labels, positive)[0, 1])
    expected = _average_precision(labels == 1, logits[:, 1].astype(np.float64) - logits[:, 0])
    assert score("average_precision", logits, labels) == pytest.approx(expected)


def test_several_labels_a_row() -> None:
    answered = LOGITS > 0
    assert score("accuracy", LOGITS, SEVERAL) == pytest.approx(np.mean((answered == SEVERAL).all(1)))
    assert score("f1_micro", LOGITS, SEVERAL) == pytest.approx(_f1(SEVERAL.ravel(), answered.ravel()))
    each = [_f1(SEVERAL[:, c], answered[:, c]) for c in range(4)]
    assert score("f1_macro", LOGITS, SEVERAL) == pytest.approx(np.mean(each))
    areas = [_average_precision(SEVERAL[:, c] == 1, LOGITS[:, c]) for c in range(4)]
    assert score("average_precision", LOGITS, SEVERAL) == pytest.approx(np.mean(areas))


def test_a_label_that_nobody_has_or_answers_counts_for_nothing() -> None:
    wider = np.hstack([LOGITS, np.full((60, 1), -40, np.float32)])
    padded = np.hstack([SEVERAL, np.zeros((60, 1), np.float32)])
    for metric in ("f1_macro", "f1_micro", "average_precision", "accuracy"):
        assert score(metric, wider, padded) == pytest.approx(score(metric, LOGITS, SEVERAL))
    reference = sklearn.metrics.f1_score(padded, wider > 0, average="macro", zero_division=np.nan)
    assert score("f1_macro", wider, padded) == pytest.approx(reference)
    for metric in ("f1_macro", "average_precision"):
        assert score(metric, wider, CLASSES) == pytest.approx(score(metric, LOGITS, CLASSES))


def test_average_precision_tells_nearly_certain_rows_apart() -> None:
    """In float32 both of the first two rows have probability 1 and would tie."""
    certain = np.array([[0.0, 30.0, 0.0], [0.0, 20.0, 0.0], [5.0, 0.0, 0.0]], np.float32)
    assert score("average_precision", certain, np.array([1, 0, 0])) == 1.0


def test_regression() -> None:
    predicted, wanted = LOGITS[:, :1], (LOGITS[:, 0] + LOGITS[:, 1]).round(1)
    x, y = predicted[:, 0].astype(np.float64), wanted.astype(np.float64)
    assert score("pearson", predicted, wanted) == pytest.approx(np.corrcoef(x, y)[0, 1])
    ranks = np.corrcoef(scipy.stats.rankdata(x), scipy.stats.rankdata(y))[0, 1]
    assert score("spearman", predicted, wanted) == pytest.approx(ranks)
    assert score("mse", predicted, wanted) == pytest.approx(sum((a - b) ** 2 for a, b in zip(x, y)) / 60)
    assert score("mse", predicted[:, 0], wanted) == score("mse", predicted, wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("value", [0, 1])
def test_constant_answers_and_constant_labels_give_a_number(metric: str, rows: int, value: int) -> None:
    """Warnings are errors here, so this also shows that none escapes."""
    logits = np.tile(np.array([[0.1, 0.3]], np.float32), (rows, 1))
    if metric in ("pearson", "spearman", "mse"):
        found = score(metric, logits[:, :1], np.full(rows, value, np.float32))
        assert found == pytest.approx((value - 0.1) ** 2) if metric == "mse" else found == 0.0
        return
    found = score(metric, logits, np.full(rows, value))
    assert found == (0.0 if value == 0 or metric == "matthews" else 1.0)
    if metric not in ("f1", "matthews"):
        assert 0 <= score(metric, logits, np.full((rows, 2), value, np.float32)) <= 1
        assert score(metric, -logits, np.zeros((rows, 2), np.float32)) in (0.0, 1.0)


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro"])
@pytest.mark.parametrize("found", [0, 3])
def test_one_label_of_several_is_that_label_or_not(metric: str, found: int) -> None:
    """scikit-learn takes a matrix of one column for two classes, of which the second is "not"."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0], np.float32)[:, None]
    logits = np.where(np.arange(9) < found, 1.0, -1.0)[:, None]
    assert score(metric, logits, labels) == (1.0 if found == 3 else 0.0)
