"""Scikit-learn's own checks of estimators. They give numbers, and with an estimator of texts they check almost nothing.

So numbers are spelt as words, and every check runs that scikit-learn has for a classifier and a regressor of numbers. Two
kinds cannot be shown this way, because they concern the numbers themselves and not the estimator: what a NaN, an infinite or
a sparse X is (here `validate_data` answers, see `_OfNumbers`), and names of columns. They are what
docs/scikit-learn.md lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import validate_data

from understudy import TextClassifier, TextRegressor


def _spelt(numbers: np.ndarray) -> list[str]:
    """Each row as a text: a word for each column and each tenth of its range."""
    return [" ".join(f"c{column}x{round(value * 4)}" for column, value in enumerate(row)) for row in numbers]


class _OfNumbers:
    """Numbers are checked as every estimator checks them, and then spelt."""

    def fit(self, X: Any, y: Any = None, **more: Any) -> Any:
        X, y = validate_data(self, X, y, y_numeric=isinstance(self, TextRegressor))
        return super().fit(_spelt(X), y, **more)  # type: ignore[misc]

    def _logits(self, X: Any) -> np.ndarray:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return super()._logits(_spelt(validate_data(self, X, reset=False)))  # type: ignore[misc]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string, tags.input_tags.two_d_array = False, True
        return tags


class ClassifierOfNumbers(_OfNumbers, TextClassifier):
    """A text classifier for numbers."""


class RegressorOfNumbers(_OfNumbers, TextRegressor):
    """A text regressor for numbers."""


@parametrize_with_checks([ClassifierOfNumbers(), RegressorOfNumbers()])
def test_of_scikit_learn(estimator: Any, check: Callable[[Any], None], quick: None) -> None:
    check(estimator)


def test_with_texts_alone_scikit_learn_checks_that_there_is_nothing_to_give(quick: None) -> None:
    with pytest.warns(SkipTestWarning, match="Can't test estimator TextClassifier which requires input"):
        check_estimator(TextClassifier(), on_skip=None)


def test_what_scikit_learn_cannot_be_given_is_refused_as_it_asks() -> None:
    for X in (np.array([[np.nan], [1.0]]), scipy.sparse.csr_array(np.eye(2)), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="X must be texts"):
            TextClassifier().fit(X, [0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TextClassifier().fit(["a film"], [0, 1])
