"""Labels in doubt, against loops over rows, and errors that were put in by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.evaluation.single_rows.doubts import (
    doubtful_classes,
    doubtful_numbers,
    doubtful_sets,
    suggested_classes,
)


def by_loop(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Confident learning as its paper states it: thresholds, the confident joint's class, the margin."""
    thresholds = {}
    for label in {int(label) for label in labels if label >= 0}:
        own = [row[label] for row, other in zip(probabilities, labels) if other == label]
        thresholds[label] = sum(own) / len(own)
    found = []
    for row, label in zip(probabilities, labels):
        candidates = [c for c, threshold in thresholds.items() if row[c] >= threshold]
        if label < 0 or not candidates:
            found.append(0.0)
            continue
        best = max(candidates, key=lambda c: (row[c], -c))
        found.append(max(row[best] - row[label], 0.0) if best != label else 0.0)
    return found


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), rows=st.integers(1, 40))
def test_doubts_are_those_of_the_loop(seed: int, classes: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), rows)
    labels = random.integers(-1, classes, rows)
    np.testing.assert_allclose(
        doubtful_classes(probabilities, labels), by_loop(probabilities, labels), rtol=1e-9, atol=1e-12
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), rows=st.integers(1, 40))
def test_the_doubt_is_the_margin_of_the_suggested_class(seed: int, classes: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    probabilities, labels = random.dirichlet(np.ones(classes), rows), random.integers(-1, classes, rows)
    suggested, doubts = suggested_classes(probabilities, labels), by_loop(probabilities, labels)
    for row, label, other, doubt in zip(probabilities, labels, suggested, doubts, strict=True):
        assert (other != label) == (doubt > 0)
        assert doubt == pytest.approx(row[other] - row[label])


def test_labels_that_were_changed_are_found() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 2000)
    logits = 3.0 * np.eye(4)[truth] + random.normal(size=(2000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    changed = random.random(2000) < 0.05
    labels = np.where(changed, (truth + random.integers(1, 4, 2000)) % 4, truth)
    doubts = doubtful_classes(probabilities, labels)
    found = doubts > 0
    assert found[changed].mean() > 0.75  # of what was changed
    assert changed[found].mean() > 0.95  # of what was found
    worst = np.argsort(-doubts)[:50]
    assert changed[worst].mean() > 0.95


def test_rows_without_a_label_are_in_no_doubt_and_change_nothing() -> None:
    random = np.random.default_rng(1)
    probabilities, labels = random.dirichlet(np.ones(3), 30), random.integers(0, 3, 30)
    more = np.concatenate([probabilities, random.dirichlet(np.ones(3), 5)])
    found = doubtful_classes(more, np.concatenate([labels, np.full(5, -100)]))
    np.testing.assert_array_equal(found[:30], doubtful_classes(probabilities, labels))
    assert not found[30:].any()


def test_each_label_of_a_set_is_a_task_of_two_classes() -> None:
    random = np.random.default_rng(2)
    shares, labels = random.random((40, 3)), (random.random((40, 3)) < 0.4).astype(np.float32)
    labels[7] = np.nan
    found = doubtful_sets(shares, labels)
    assert found.shape == (40, 3)
    assert not found[7].any()
    for place in range(3):
        classes = np.where(np.isnan(labels[:, place]), -1, np.nan_to_num(labels[:, place])).astype(int)
        pairs = np.column_stack([1 - shares[:, place], shares[:, place]])
        np.testing.assert_allclose(found[:, place], by_loop(pairs, classes), atol=1e-12)


def test_numbers_far_from_the_answers_by_scipys_deviation() -> None:
    random = np.random.default_rng(3)
    answers = random.normal(size=500)
    labels = answers + 0.1 * random.normal(size=500)
    labels[[3, 50]] += 4.0
    labels[9] = np.nan
    found = doubtful_numbers(answers, labels)
    apart = np.delete(labels - answers, 9)
    bound = 3 * scipy.stats.median_abs_deviation(apart, scale="normal")
    expected = np.abs(apart - np.median(apart))
    np.testing.assert_allclose(np.delete(found, 9), np.where(expected > bound, expected, 0.0), rtol=1e-4, atol=1e-6)
    assert set(np.argsort(-found)[:2]) == {3, 50}
    assert found[9] == 0.0


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_rows(rows: int) -> None:
    assert doubtful_classes(np.full((rows, 2), 0.5), np.zeros(rows, int)).tolist() == [0.0] * rows
    assert doubtful_numbers(np.zeros(rows), np.zeros(rows)).tolist() == [0.0] * rows
