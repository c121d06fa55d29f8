"""How good are logits against labels: scikit-learn's and SciPy's metrics, by the names that people use for them.

Labels come in three shapes, as everywhere: ``(rows,)`` integers (one class a row, negative where there is none),
``(rows, labels)`` zeros and ones (any number of labels a row) and ``(rows,)`` floats (regression); NaN says that a
float row has none. Rows without a label are not scored.

Every metric is a finite number: where the textbook has 0/0, it is 0.0 here, as each docstring says (NaN is no JSON, and
no model is to be selected by it).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from understudy.errors import ConfigError, DataError, nearest

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Logits ``(rows, outputs)`` and labels to a number."""


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows answered rightly; with several labels a row, of rows with all of them right. Higher is better.

    Example:
        >>> accuracy(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
        0.5
    """
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels.astype(np.int64), decisions(logits, labels)))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 of the second of two classes (index 1). 0.0 if it is neither there nor predicted. Higher is better.

    Example:
        >>> round(f1(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 0, 0])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    return float(f1_score(labels, decisions(logits, labels), pos_label=1, average="binary", zero_division=0))


def f1_macro(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the classes' F1, over the classes that occur in labels or predictions. Higher is better.

    With several labels a row: over the labels so, and 0.0 if there is none at all.

    Example:
        >>> round(f1_macro(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 0, 0])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    predicted = decisions(logits, labels)
    if labels.ndim == 1:
        return float(f1_score(labels, predicted, average="macro", zero_division=0))
    occurring = (labels == 1).any(0) | (predicted == 1).any(0)
    if not occurring.any():
        return 0.0
    return float(np.mean(f1_score(labels, predicted, average=None, zero_division=0)[occurring]))


def f1_micro(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 over all decisions pooled; with one class a row that is the accuracy. Higher is better.

    0.0 if there are no positives, neither true nor predicted.

    Example:
        >>> round(f1_micro(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])), 4)
        0.6667
    """
    from sklearn.metrics import f1_score

    return float(f1_score(labels.astype(np.int64), decisions(logits, labels), average="micro", zero_division=0))


def matthews(logits: np.ndarray, labels: np.ndarray) -> float:
    """Matthews' correlation coefficient, for any number of classes. Higher is better.

    0.0 if the labels or the predictions are all of one class.

    Example:
        >>> matthews(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
        1.0
    """
    from sklearn.metrics import matthews_corrcoef

    predicted = decisions(logits, labels)
    if _constant(predicted) or _constant(labels):
        return 0.0
    return float(matthews_corrcoef(labels, predicted))


def average_precision(logits: np.ndarray, labels: np.ndarray) -> float:
    """Area under precision against recall, by steps. Higher is better; chance is the share of positives.

    Of two classes, that of the second one (index 1). Of more classes or several labels a row, the mean of one against
    the rest over those that occur in the labels. 0.0 if there are no positives.

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
    """Pearson's correlation. Higher is better. 0.0 if either side is constant.

    Example:
        >>> round(pearson(np.array([[1.0], [2.0], [3.0]]), np.array([10.0, 20.0, 30.0])), 6)
        1.0
    """
    from scipy.stats import pearsonr

    predicted, wanted = _as_column(logits), labels.astype(np.float64)
    if _constant(predicted) or _constant(wanted):
        return 0.0
    return float(pearsonr(predicted, wanted).statistic)


def spearman(logits: np.ndarray, labels: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank. Higher is better. 0.0 if either side is constant.

    Example:
        >>> round(spearman(np.array([[1.0], [2.0], [9.0]]), np.array([1.0, 2.0, 3.0])), 6)
        1.0
    """
    from scipy.stats import spearmanr

    predicted, wanted = _as_column(logits), labels.astype(np.float64)
    if _constant(predicted) or _constant(wanted):
        return 0.0
    return float(spearmanr(predicted, wanted).statistic)


def mse(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared error. Lower is better: the one metric of which that is so.

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
"""What is said of a language model: nats a token, their exponential, and the share of tokens that it finds likeliest."""
DISTANCE = "distance"
"""What is said of a student beside its teacher: the value of its objective."""
_LOWER_IS_BETTER = {"mse", "loss", "perplexity", DISTANCE}
_LARGEST_EXPONENT = 700.0
"""The exponential of more does not fit a float, and a record holds finite numbers alone."""

_SUITS: dict[str, tuple[str, ...]] = {
    "two classes": ("accuracy", "f1", "f1_macro", "f1_micro", "matthews", "average_precision"),
    "one class a row": ("accuracy", "f1_macro", "f1_micro", "matthews", "average_precision"),
    "several labels a row": ("accuracy", "f1_macro", "f1_micro", "average_precision"),
    "regression": ("pearson", "spearman", "mse"),
}


def perplexity(loss: float) -> float:
    """Among how many equally likely tokens a model with this loss, in nats a token, hesitates.

    Example:
        >>> round(perplexity(math.log(50)), 6)
        50.0
    """
    return math.exp(min(loss, _LARGEST_EXPONENT))


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of this metric is the better one.

    Raises:
        ConfigError: if there is no such metric.

    Example:
        >>> higher_is_better("accuracy"), higher_is_better("mse"), higher_is_better("loss")
        (True, False, False)
    """
    if metric not in (*LANGUAGE_MODEL_METRICS, DISTANCE):
        _check_known(metric)
    return metric not in _LOWER_IS_BETTER


def score(metric: str, logits: np.ndarray, labels: np.ndarray) -> float:
    """One metric by its name, over the rows that carry a label.

    Args:
        metric: a key of :data:`METRICS`.
        logits: ``(rows, outputs)``; for regression ``(rows,)`` will do. Log-probabilities are logits too.
        labels: see the top of this module.

    Raises:
        ConfigError: if there is no such metric, or it does not suit these labels.
        DataError: if no row carries a label.
        ValueError: if the shapes do not fit, a logit is not finite or a class is not among the outputs.

    Example:
        >>> score("accuracy", np.array([[2.0, 1.0], [0.0, 1.0], [5.0, 5.0]]), np.array([0, 1, -100]))
        1.0
    """
    _check_known(metric)
    logits, labels = scored_rows(logits, labels)
    check_suits(metric, logits, labels)
    return METRICS[metric](logits, labels)


def scored_rows(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that carry a label, checked.

    Raises:
        DataError: if no row does.
        ValueError: if the shapes do not fit, a logit is not finite or a class is not among the outputs.

    Example:
        >>> scored_rows(np.array([[1.0], [2.0]]), np.array([np.nan, 3.0]))[1]
        array([3.])
    """
    single = np.issubdtype(labels.dtype, np.integer)
    fits = logits.shape == labels.shape or (labels.ndim == 1 and logits.ndim == 2 and (single or logits.shape[1] == 1))
    if not fits or len(logits) != len(labels) or (single and labels.ndim != 1):
        raise ValueError(f"logits and labels must fit, but are {logits.shape} and {labels.shape} ({labels.dtype})")
    labelled = labels >= 0 if single else ~np.isnan(labels).reshape(len(labels), -1).any(1)
    if not labelled.any():
        raise DataError(f"there is nothing to score: none of the {len(labels)} rows carries a label.")
    logits, labels = logits[labelled], labels[labelled]
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).reshape(len(logits), -1).any(1).sum())
        raise ValueError(f"logits must be finite, but {broken} of {len(logits)} rows hold NaN or infinity")
    if single and labels.max() >= logits.shape[-1]:
        raise ValueError(f"labels must be classes below {logits.shape[-1]}, but {labels.max()} is among them")
    return logits, labels


def check_suits(metric: str, logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise a ConfigError that names the alternatives if `metric` means nothing for such labels.

    Example:
        >>> check_suits("f1", np.zeros((1, 2)), np.array([1]))
    """
    if labels.ndim == 2:
        kind = "several labels a row"
    elif not np.issubdtype(labels.dtype, np.integer):
        kind = "regression"
    else:
        kind = "two classes" if logits.shape[1] == 2 else "one class a row"
    if metric not in _SUITS[kind]:
        raise ConfigError(f"metric '{metric}' does not suit this task ({kind}). Use one of {', '.join(_SUITS[kind])}.")


def decisions(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the model answers: the likeliest class of a row, or (labels 2-D) every label whose logit is above 0.

    Example:
        >>> decisions(np.array([[0.5, -0.5]]), np.array([[1.0, 1.0]]))
        array([[1, 0]])
    """
    return logits.argmax(-1) if labels.ndim == 1 else (logits > 0).astype(np.int64)


def ranked_columns(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What average precision ranks: scores ``(rows, columns)`` and whether each is a positive.

    One column for two classes (the second one's log-odds), else one a class (its log-probability: a softmax in float32
    would tie all that is nearly certain) or one a label (its logit).

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


def _check_known(metric: str) -> None:
    if metric not in METRICS:
        raise ConfigError(f"there is no metric '{metric}'.{nearest(metric, METRICS)} There are {', '.join(METRICS)}.")
