"""What people call the metrics, and how their values are written."""

from __future__ import annotations

from understudy.report.numbers import ABSENT, number

_NAMES = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1": ("F1", "F1"),
    "f1_macro": ("macro F1", "Macro F1"),
    "f1_micro": ("micro F1", "Micro F1"),
    "matthews": ("MCC", "Matthews correlation"),
    "average_precision": ("AP", "Average precision"),
    "pearson": ("Pearson", "Pearson correlation"),
    "spearman": ("Spearman", "Spearman correlation"),
    "average": ("average", "Average"),
    "mse": ("MSE", "Mean squared error"),
    "loss": ("loss", "Loss"),
    "perplexity": ("perplexity", "Perplexity"),
    "distance": ("distance", "Distance to the teacher"),
}
"""For each metric a short name for narrow columns and a long one."""
_SHARES = {"accuracy", "f1", "f1_macro", "f1_micro", "average_precision"}
"""Metrics between 0 and 1 that are shown as per cent; the others are shown unscaled."""
LOWER_IS_BETTER = {"mse", "loss", "perplexity", "distance"}
"""Metrics of which the smaller value is the better one."""


MISMATCHED = "_mm"
"""Ends the name of a metric on MNLI's mismatched half, as in GLUE's scripts."""


def metric_name(metric: str, *, short: bool = False) -> str:
    """The name of a metric in a heading; the short one fits a narrow column.

    Example:
        >>> metric_name("f1_macro"), metric_name("average_precision", short=True), metric_name("my_own")
        ('Macro F1', 'AP', 'My own')
        >>> metric_name("accuracy_mm")
        'Accuracy mm'
    """
    if metric.endswith(MISMATCHED):
        return f"{metric_name(metric.removesuffix(MISMATCHED), short=short)} mm"
    if metric in _NAMES:
        return _NAMES[metric][0 if short else 1]
    words = metric.replace("_", " ")
    return words if short else capitalised(words)


def capitalised(words: str) -> str:
    """The words with a capital first letter; the other letters stay as they are.

    Example:
        >>> capitalised("macro F1")
        'Macro F1'
    """
    return words[:1].upper() + words[1:]


def is_share(metric: str) -> bool:
    """Whether a metric is shown as per cent."""
    return metric.removesuffix(MISMATCHED) in _SHARES


def human_score(metric: str, value: object, *, unit: bool = True) -> str:
    """A score as people write it: shares as per cent with one decimal, correlations with three decimals.

    Example:
        >>> human_score("accuracy", 0.87349), human_score("accuracy", 0.87349, unit=False), human_score("pearson", 0.87349)
        ('87.3 %', '87.3', '0.873')
    """
    score = number(value)
    if score is None:
        return ABSENT
    if is_share(metric):
        return f"{100 * score:.1f} %" if unit else f"{100 * score:.1f}"
    if metric == "perplexity" and abs(score) < 1e6:
        return f"{score:,.1f}"
    return f"{score:.3f}" if abs(score) < 1000 else f"{score:.3g}"


def human_spread(metric: str, mean: object, sd: object) -> str:
    """A mean and its standard deviation, without units; the mean alone where one run has no standard deviation.

    Example:
        >>> human_spread("accuracy", 0.9123, 0.0041), human_spread("pearson", 0.8, 0.0123), human_spread("f1", 0.9, None)
        ('91.2 ± 0.4', '0.800 ± 0.012', '90.0')
    """
    parts = [human_score(metric, value, unit=False) for value in (mean, sd) if number(value) is not None]
    return " ± ".join(parts) or ABSENT
