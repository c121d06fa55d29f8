"""GLUE's metrics on a thousand random cases against scikit-learn and SciPy, constants and ties included."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.functional.glue_score import average, task_score
from understudy.functional.metrics import METRICS, is_undefined

MANY = settings(max_examples=1000, deadline=None, derandomize=True)
ROWS = st.integers(2, 40)
SCORES = st.one_of(
    st.sampled_from([0.0, 1.0, 2.5, 5.0]),  # ties
    st.floats(-10, 10, allow_nan=False, width=32),
)


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows, classes = draw(ROWS), draw(st.integers(2, 3))
    column = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    constant = st.integers(0, classes - 1).map(lambda value: [value] * rows)
    labels, answers = (np.array(draw(st.one_of(column, constant))) for _ in range(2))
    return np.eye(classes)[answers], labels


@st.composite
def measured(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(ROWS)
    column = st.lists(SCORES, min_size=rows, max_size=rows)
    constant = SCORES.map(lambda value: [value] * rows)
    answers, labels = (np.array(draw(st.one_of(column, constant)), np.float32) for _ in range(2))
    return answers[:, None], labels


@MANY
@given(classified())
def test_classes(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    answers = logits.argmax(1)
    assert METRICS["accuracy"](logits, labels) == pytest.approx(sklearn.metrics.accuracy_score(labels, answers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's about 0/0
        expected = sklearn.metrics.matthews_corrcoef(labels, answers)
        if logits.shape[1] == 2:
            f1 = sklearn.metrics.f1_score(labels, answers, zero_division=0)
            assert METRICS["f1"](logits, labels) == pytest.approx(f1)
    found = METRICS["matthews"](logits, labels)
    assert found == pytest.approx(expected)
    if len(set(answers)) == 1 or len(set(labels)) == 1:
        assert found == 0.0
        assert is_undefined("matthews", logits, labels)


@MANY
@given(measured())
def test_correlations(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    answers = logits[:, 0].astype(np.float64)
    for metric, reference in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        found = METRICS[metric](logits, labels)
        assert math.isfinite(found)
        if len(set(answers)) == 1 or len(set(labels)) == 1:
            assert found == 0.0
            assert is_undefined(metric, logits, labels)
        elif not is_undefined(metric, logits, labels):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SciPy's about inputs that are nearly constant
                assert found == pytest.approx(reference(answers, labels.astype(np.float64)).statistic, abs=1e-9)


def test_the_average_is_glues() -> None:
    """BERT-base's row of the leaderboard, whose score is said there: tasks with two metrics count once."""
    rows = {
        "cola": [52.1],
        "sst2": [93.5],
        "mrpc": [88.9, 84.8],
        "stsb": [87.1, 85.8],
        "qqp": [71.2, 89.2],
        "mnli": [84.6, 83.4],
        "qnli": [90.5],
        "rte": [66.4],
    }
    scores = {name: task_score([dict(zip(("accuracy", "f1"), values))]) for name, values in rows.items()}
    found = average({**scores, "wnli": 65.1}, beside=("wnli",))
    by_hand = (
        52.1 + 93.5 + (88.9 + 84.8) / 2 + (87.1 + 85.8) / 2 + (71.2 + 89.2) / 2 + (84.6 + 83.4) / 2 + 90.5 + 66.4
    ) / 8
    assert found == pytest.approx(by_hand)
    nine = average({**scores, "wnli": 65.1})
    assert nine is not None
    assert round(nine, 1) == 78.3  # the score of that row on the leaderboard, which counts WNLI
    assert average({"wnli": 1.0}, beside=("wnli",)) is None
    with pytest.raises(ValueError, match="at least one metric"):
        task_score([{}])
    with pytest.raises(ValueError, match="at least one metric"):
        task_score([{"mse": 1.0}])
    assert task_score([{"pearson": 0.25, "spearman": 0.75, "mse": 90.0}]) == 0.5
