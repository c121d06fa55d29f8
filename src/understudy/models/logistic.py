"""One fit of a linear model with one penalty: logistic regression, naive Bayes where there are very many weights, ridge."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from understudy.data.tasks import Task

_ITERATIONS = 75
"""The solver's maximum. 100 and 200 iterations changed AG News by at most 0.1 points."""
_UNSEEN = -20.0
"""The logit of a class that no training row has: practically excluded, but finite."""
_MANY_CLASSES = "The number of unique classes is greater than 50% of the number of samples"
"""What scikit-learn says of one or two rows a class, which folds have where few rows are labelled: that it may be a regression."""

_MOST_WEIGHTS = 5_000_000
"""With more weights (classes times terms), logistic regression takes minutes, and complement naive Bayes a second. On 150
classes with 6 rows each (the neighbourhoods of Wikipedia's paragraphs) and 50,000 terms, it was right for 33 % in 64 seconds,
naive Bayes for 34 % in one, the nearest mean of a class for 33 %."""

ClassWeights = Sequence[float] | None
"""What a row of each class counts, in the order of the task's labels; None: all count alike."""


class Linear(NamedTuple):
    """``features @ weight.T + bias``. Two classes share one column, the log-odds of the second class."""

    weight: np.ndarray
    """``(columns, features)``."""
    bias: np.ndarray
    """``(columns,)``."""


def fit_once(
    features: Any,
    labels: np.ndarray,
    task: Task,
    strength: float,
    models: dict[int, Any],
    class_weights: ClassWeights,
) -> Linear:
    """The fit with one inverse penalty.

    Args:
        features: ``(rows, dim)``, float64, dense or sparse (CSR).
        labels: as `task` describes them; every row has one.
        strength: the inverse penalty.
        models: fits that this one starts from, by output; empty at first.
        class_weights: of a single-label task.

    Example:
        >>> task = Task(text=(("text",),), label="score", kind="regression")
        >>> round(float(fit_once(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]), task, 1e9, {}, None).weight[0, 0]), 3)
        2.0
    """
    if task.kind == "regression":
        from sklearn.linear_model import Ridge

        ridge = Ridge(alpha=1 / strength).fit(features, labels.astype(np.float64))
        return Linear(ridge.coef_[None], np.array([ridge.intercept_]))
    if task.kind == "multi_label":
        each = [_logistic(features, column == 1, strength, models, number) for number, column in enumerate(labels.T)]
        return Linear(np.vstack([fit.weight for fit in each]), np.concatenate([fit.bias for fit in each]))
    seen = np.unique(labels)
    weights = None if class_weights is None else np.array(class_weights)[labels]
    if len(seen) * features.shape[1] > _MOST_WEIGHTS and features.min() >= 0:
        return _counted(features, labels, task, strength, weights)
    if len(seen) == task.outputs:
        return _logistic(features, labels, strength, models, weights=weights)
    weight, bias = np.zeros((task.outputs, features.shape[1])), np.full(task.outputs, _UNSEEN)
    if len(seen) == 1:
        bias[seen] = 0.0
    else:
        fit = _logistic(features, labels, strength, models, weights=weights)
        two = len(seen) == 2
        weight[seen[1:] if two else seen], bias[seen[1:] if two else seen] = fit.weight, fit.bias
        bias[seen[0]] = 0.0 if two else bias[seen[0]]
    return Linear(weight[1:] - weight[:1], bias[1:] - bias[:1]) if task.outputs == 2 else Linear(weight, bias)


def _logistic(
    features: Any,
    classes: np.ndarray,
    strength: float,
    models: dict[int, Any],
    number: int = 0,
    weights: np.ndarray | None = None,
) -> Linear:
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if classes.dtype == bool and classes.all() == classes.any():  # all rows have this label, or none: Laplace's rule
        odds = np.log(len(classes) + 1.0)
        return Linear(np.zeros((1, features.shape[1])), np.array([odds if classes[0] else -odds]))
    model = models.setdefault(number, LogisticRegression(tol=1e-5, max_iter=_ITERATIONS, warm_start=True))
    model.C = strength  # set_params and the check of parameters take as long as a small fit
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the maximum is intended
        warnings.filterwarnings("ignore", _MANY_CLASSES, UserWarning)
        model.fit(features, classes, sample_weight=weights)
    return Linear(model.coef_.copy(), model.intercept_.copy())


def _counted(features: Any, classes: np.ndarray, task: Task, strength: float, weights: np.ndarray | None) -> Linear:
    """Complement naive Bayes, smoothed by one over the inverse penalty: no steps, so many classes take a second.

    Reference:
        Rennie et al. 2003, "Tackling the poor assumptions of naive Bayes text classifiers", section 3.1.
    """
    from sklearn.naive_bayes import ComplementNB

    model = ComplementNB(alpha=1 / strength).fit(features, classes, sample_weight=weights)
    weight = np.zeros((task.outputs, features.shape[1]))
    bias = np.full(task.outputs, _UNSEEN)
    weight[model.classes_], bias[model.classes_] = model.feature_log_prob_, 0.0
    return Linear(weight, bias)
