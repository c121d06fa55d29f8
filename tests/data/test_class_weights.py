"""Weights of classes, against scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from understudy.data.class_weights import balanced_weights, class_weight_faults, class_weights
from understudy.data.tasks import Task
from understudy.errors import ConfigError


def _task(kind: str, *labels: str) -> Task:
    return Task(text=(("text",),), label="label", kind=kind, labels=labels)  # type: ignore[arg-type]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_balanced_are_those_of_scikit_learn(classes: list[int]) -> None:
    labels = np.array(classes)
    seen = np.unique(labels)
    found = np.array(balanced_weights(labels, 6))
    np.testing.assert_allclose(found[seen], compute_class_weight("balanced", classes=seen, y=labels))
    assert (np.delete(found, seen) == 1).all()
    assert found[labels].mean() == pytest.approx(1)


def test_rows_without_a_label_count_for_nothing() -> None:
    assert balanced_weights(np.array([0, 1, 1, -100]), 2) == balanced_weights(np.array([0, 1, 1]), 2)


def test_some_classes_by_name() -> None:
    task, labels = _task("single_label", "a=b", "c", "d"), np.array([0, 1, 2])
    assert class_weights(["a=b=2", "d=0.5"], labels, task) == (2.0, 1.0, 0.5)
    assert class_weights([], labels, task) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["c=0"], "positive numbers, but that of 'c' is '0'"),
        (["c=nan"], "positive numbers"),
        (["c=x"], "positive numbers"),
        (["c=1", "c=2"], "'c' more than once"),
        (["balancd"], "Did you mean 'balanced'?"),
        (["balanced", "c=2"], "CLASS=NUMBER"),
        (["cc=2"], "names 'cc', which is none of the classes a, c.*Did you mean 'c'?"),
    ],
)
def test_mistakes(asked: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        class_weights(asked, np.array([0, 1]), _task("single_label", "a", "c"))
    assert bool(class_weight_faults(asked)) == (asked != ["cc=2"])


def test_only_for_rows_of_one_class() -> None:
    with pytest.raises(ConfigError, match="one class each, but the labels in column 'label' are numbers"):
        class_weights(["balanced"], np.zeros(3), _task("regression"))
    with pytest.raises(ConfigError, match="several labels a row"):
        class_weights(["balanced"], np.zeros((3, 2)), _task("multi_label", "a", "b"))
