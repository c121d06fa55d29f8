"""Metrics of logits against labels, under the names that people use: scikit-learn's and SciPy's functions.

Labels have one of three shapes, as everywhere in this library: ``(rows,)`` integers (one class a row, negative where
there is none), ``(rows, labels)`` zeros and ones (any number of labels a row) and ``(rows,)`` floats (regression). In
float labels NaN means that the row has no label. Rows without a label are not scored; see
:mod:`understudy.functional.scoring`.

Every metric is a finite number. Where its definition gives 0/0 it is 0.0, as each docstring says: JSON has no NaN, and
no model should be selected by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Logits ``(rows, outputs)`` and labels to a number."""


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows answered correctly. Higher is better.

    With several labels a row: the share of rows with every label correct.

    Example:
        >>> accuracy(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
        0.5
    """
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels.astype(np.int64), decisions(logits, labels)))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 of the second of two classes (index 1). Higher is better. 0.0 if that class is neither true nor predicted.

    Example:
        >>> round(f1(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 0, 0])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    return float(f1_score(labels, decisions(logits, labels), pos_label=1, average="binary", zero_division=0))


def f1_macro(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the classes' F1, over the classes that occur in labels or predictions. Higher is better.

    With several labels a row: the mean over the labels that occur, 0.0 if none does.

    Example:
        >>> round(f1_macro(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 0, 0])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    predicted = decisions(logits, labels)
    if labels.ndim == 1:
        return float(f1_score(labels, predicted, average="macro", zero_division=0))
    if labels.shape[1] == 1:  # scikit-learn takes one column for two classes
        return float(f1_score(labels[:, 0], predicted[:, 0], average="binary", zero_division=0))
    occurring = (labels == 1).any(0) | (predicted == 1).any(0)
    if not occurring.any():
        return 0.0
    return float(np.mean(f1_score(labels, predicted, average=None, zero_division=0)[occurring]))


def f1_micro(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 over all decisions pooled; with one class a row it equals the accuracy. Higher is better.

    0.0 if there are no positives, neither true nor predicted.

    Example:
        >>> round(f1_micro(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    wanted, predicted = labels.astype(np.int64), decisions(logits, labels)
    if labels.ndim == 2 and labels.shape[1] == 1:  # scikit-learn takes one column for two classes
        return float(f1_score(wanted[:, 0], predicted[:, 0], average="binary", zero_division=0))
    return float(f1_score(wanted, predicted, average="micro", zero_division=0))


def matthews(logits: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation coefficient, for any number of classes. Higher is better.

    0.0 if all labels or all predictions are of one class.

    Example:
        >>> matthews(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
        1.0
    """
    from sklearn.metrics import matthews_corrcoef

    predicted = decisions(logits, labels)
    if is_undefined("matthews", logits, labels):
        return 0.0
    return float(matthews_corrcoef(labels, predicted))


def average_precision(logits: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall curve, as a step function. Higher is better; chance is the share of positives.

    With two classes: of the second one (index 1). With more classes, or several labels a row: the mean, over the
    classes that occur in the labels, of each class against the rest. 0.0 if there are no positives.

    Example:
        >>> average_precision(np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0]]), np.array([1, 0, 0]))
        1.0
    """
    from sklearn.metrics import average_precision_score

    scores, truth = ranked_columns(logits, labels)
    columns = np.flatnonzero(truth.any(0))
    if not len(columns):
        return 0.0
    return float(np.mean([average_precision_score(truth[:, column], scores[:, column]) for column in columns]))


def pearson(logits: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation. Higher is better. 0.0 if either side is constant.

    Example:
        >>> round(pearson(np.array([[1.0], [2.0], [3.0]]), np.array([10.0, 20.0, 30.0])), 6)
        1.0
    """
    from scipy.stats import pearsonr

    predicted, wanted = _as_column(logits), labels.astype(np.float64)
    if is_undefined("pearson", logits, wanted):
        return 0.0
    return float(pearsonr(predicted, wanted).statistic)


def spearman(logits: np.ndarray, labels: np.ndarray) -> float:
    """Spearman rank correlation; ties share their mean rank. Higher is better. 0.0 if either side is constant.

    Example:
        >>> round(spearman(np.array([[1.0], [2.0], [9.0]]), np.array([1.0, 2.0, 3.0])), 6)
        1.0
    """
    from scipy.stats import spearmanr

    predicted, wanted = _as_column(logits), labels.astype(np.float64)
    if is_undefined("spearman", logits, wanted):
        return 0.0
    return float(spearmanr(predicted, wanted).statistic)


def is_undefined(metric: str, logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a correlation has no value, because all answers or all labels are equal. It is then reported as 0.0.

    Example:
        >>> is_undefined("spearman", np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
        True
        >>> is_undefined("accuracy", np.zeros((2, 2)), np.array([0, 0]))
        False
    """
    if metric not in ("matthews", "pearson", "spearman"):
        return False
    answers = decisions(logits, labels) if metric == "matthews" else _as_column(logits)
    return _constant(answers) or _constant(labels)


def mse(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared error. The only metric here of which lower is better.

    Example:
        >>> mse(np.array([[1.0], [2.0]]), np.array([1.0, 4.0]))
        2.0
    """
    return float(np.mean((_as_column(logits) - labels.astype(np.float64)) ** 2))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "f1_macro": f1_macro,
    "f1_micro": f1_micro,
    "matthews": matthews,
    "average_precision": average_precision,
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
}

LANGUAGE_MODEL_METRICS = ("loss", "perplexity", "accuracy")
"""What is reported of a language model: nats a token, their exponential, and the share of tokens ranked first."""

DISTANCE = "distance"
"""What is reported of a student beside its teacher: the value of its objective."""

AVERAGE = "average"
"""What is reported of a model for several tasks: the mean of their scores. Higher is better."""

_LARGEST_EXPONENT = 700.0
"""A larger exponent overflows a float, and a record holds only finite numbers."""


def perplexity(loss: float) -> float:
    """The exponential of a loss in nats a token: the number of equally likely tokens with the same loss.

    Example:
        >>> round(perplexity(math.log(50)), 6)
        50.0
    """
    return math.exp(min(loss, _LARGEST_EXPONENT))


def decisions(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the model answers: the most likely class of each row or, for 2-D labels, every label whose logit is above 0.

    Example:
        >>> decisions(np.array([[0.5, -0.5]]), np.array([[1.0, 1.0]]))
        array([[1, 0]])
    """
    return logits.argmax(-1) if labels.ndim == 1 else (logits > 0).astype(np.int64)


def ranked_columns(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What average precision ranks: scores and whether each is a positive, ``(rows, columns)`` both.

    Two classes make one column: the log-odds of the second. More classes make one column each: the log-probability,
    because a softmax in float32 would tie all rows that are nearly certain. Several labels make one column each: the
    logit.

    Example:
        >>> ranked_columns(np.array([[1.0, 3.0]]), np.array([1]))
        (array([[2.]]), array([[ True]]))
    """
    from scipy.special import log_softmax

    logits = logits.astype(np.float64)
    if labels.ndim == 2:
        return logits, labels == 1
    if logits.shape[1] == 2:
        return logits[:, 1:] - logits[:, :1], (labels == 1)[:, None]
    return log_softmax(logits, axis=1), labels[:, None] == np.arange(logits.shape[1])


def _as_column(logits: np.ndarray) -> np.ndarray:
    return logits.reshape(len(logits)).astype(np.float64)


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
