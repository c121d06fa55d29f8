"""The pooling and the penalty of a linear probe, by cross-validation on the training rows: arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from understudy.data.tasks import Task
from understudy.functional.scoring import score
from understudy.models.folds import FOLDS, deal_folds, row_losses
from understudy.models.linear import fit_linear, held_out, labelled_rows

GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse penalties for standardised vectors. From 8 labels a class to 1,000 rows of five sets the best one lay between
0.0003 and 0.3; a default of 0.1 costs up to 8 points."""
_ENOUGH = 2
"""The search ends after so many penalties in a row that are worse than the best: weaker ones only overfit more."""
MOST_ROWS = 5_000
"""Rows that a probe is fitted to; of more it would learn little, and the plan would keep people waiting."""
_MARGIN = 0.02
"""The share of the mean's loss by which the head may be worse and still serve as well."""


_ENOUGH_OF_A_CLASS = 50
"""Rows of every class that are among them, if it has so many: of a class that was not drawn a head would begin at never."""


def drawn_rows(labels: np.ndarray, seed: int, *, most: int = MOST_ROWS) -> np.ndarray:
    """The numbers of the labelled rows that a probe is fitted to: all of them, or some thousands and enough of every class.

    Args:
        labels: class indices, numbers, or 0 and 1 ``(rows, classes)``.
        seed: of the draw.
        most: rows from which on some are drawn.

    Example:
        >>> labels = np.repeat([0, 1, 2], [9_000, 4, 80])
        >>> drawn = drawn_rows(labels, seed=0)
        >>> np.bincount(labels[drawn])[1:].tolist(), len(drawn) < 5_100
        ([4, 50], True)
    """
    rows = np.flatnonzero(labelled_rows(labels))
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng([seed, 4])
    drawn = rng.choice(rows, most, replace=False)
    if labels.dtype.kind == "i":
        classes = [rows[labels[rows] == number] for number in np.unique(labels[rows])]
    else:
        classes = [rows[column == 1] for column in labels[rows].T] if labels.ndim == 2 else []
    for own in classes:
        missing = _ENOUGH_OF_A_CLASS - int(np.isin(own, drawn).sum())
        rest = np.setdiff1d(own, drawn)
        if missing > 0 and len(rest):
            drawn = np.append(drawn, rng.choice(rest, min(missing, len(rest)), replace=False))
    return np.sort(drawn)


class Difference(NamedTuple):
    """The mean of paired differences, and the interval of one standard error around it."""

    mean: float
    low: float
    high: float


def above(difference: Difference) -> str:
    """A difference and its standard error, in words.

    Example:
        >>> above(Difference(-0.2, -0.3, -0.1))
        '0.200 ± 0.100 below'
    """
    middle, error = difference.mean, difference.high - difference.mean
    return f"{abs(middle):.3f} ± {error:.3f} {'above' if middle > 0 else 'below'}"


class Probe(NamedTuple):
    """A linear model on one kind of vectors, and what it reaches on rows that it was not fitted to."""

    weight: np.ndarray
    """float32 ``(outputs, width)``."""
    bias: np.ndarray
    """float32 ``(outputs,)``."""
    strength: float
    """The inverse penalty."""
    losses: np.ndarray
    """The loss of each row that can be judged, by the fit without its fold: float64 ``(rows,)``. The other labelled rows are of a
    class that no other fold has; their loss is above 20 whatever the vectors are."""
    scores: Mapping[str, float]
    """The task's metrics of the same answers."""
    beyond: Difference | None = None
    """By how much the loss of answers that do not look at the text exceeds the probe's."""

    @property
    def learns(self) -> bool:
        """Whether the vectors are shown to say something about the labels, by more than one standard error."""
        return self.beyond is None or self.beyond.low > 0

    @property
    def loss(self) -> float:
        """The mean of the losses; NaN where no row can be judged."""
        return float(self.losses.mean()) if len(self.losses) else math.nan


def cross_validated(
    vectors: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    seed: int,
    grid: Sequence[float] = GRID,
    class_weights: Sequence[float] | None = None,
    groups: np.ndarray | None = None,
) -> Probe:
    """A linear model on `vectors` whose penalty has the lowest loss over held-out folds of the same rows.

    The loss chooses, not the metric: of a hundred rows a metric takes few values, and what a training starts from should
    not be overconfident. Rows of a class that no other fold has are certainly wrong, and judge nothing.

    Args:
        vectors: ``(rows, width)``.
        labels: as `task` describes them; rows without one are left out.
        seed: deals the rows into folds.
        grid: inverse penalties, rising. If losses are equal, the stronger penalty is taken.
        class_weights: what a row of each class counts in the fits and in the losses; 1 by default.
        groups: rows with one value are in one fold, ``(rows,)``: copies of a text.

    Raises:
        DataError: if no row has a label.
    """
    known = labelled_rows(labels)
    rows, wanted = vectors[known].astype(np.float64), labels[known]
    kept = None if groups is None else groups[known]
    counts = np.ones(len(rows)) if class_weights is None else np.array(class_weights)[wanted]
    judged = _can_be_judged(wanted, seed, kept)
    some = judged if judged.any() else ~judged  # where no row can be judged, all of them are wrong alike
    best, losses, answers = grid[0], np.zeros(len(rows)), np.zeros((len(rows), task.outputs))
    worse = 0
    for strength, logits in held_out(
        rows, wanted, task, seed=seed, grid=grid, standardise=True, class_weights=class_weights, groups=kept
    ):
        found = counts * row_losses(logits, wanted, task)
        better = not losses.any() or found[some].mean() < losses[some].mean()
        worse = 0 if better else worse + 1
        if better:
            best, losses, answers = strength, found, logits
        if worse == _ENOUGH:
            break
    weight, bias = fit_linear(vectors, labels, task, strength=best, class_weights=class_weights)
    scores = {metric: float(score(metric, answers[some], wanted[some])) for metric in task.metrics}
    blind = [
        counts * row_losses(logits, wanted, task)
        for _, logits in held_out(
            np.zeros((len(rows), 1)), wanted, task, seed=seed, grid=grid[:1], class_weights=class_weights, groups=kept
        )
    ]
    beyond = paired(blind[0][some], losses[some]) if blind else None
    return Probe(weight, bias, best, losses[judged], scores, beyond)


def _can_be_judged(labels: np.ndarray, seed: int, groups: np.ndarray | None) -> np.ndarray:
    """Which rows are of a class that another fold has too, bool ``(rows,)``; where there are no classes, all of them."""
    if labels.dtype.kind != "i":
        return np.ones(len(labels), bool)
    dealt = deal_folds(labels, FOLDS, seed, groups=groups)
    classes, _ = np.unique(np.stack([labels, dealt]), axis=1)
    return np.bincount(classes)[labels] > 1


def paired(losses: np.ndarray, others: np.ndarray) -> Difference | None:
    r"""The mean difference of two models' losses on the same rows, with one standard error to both sides; None for less than two rows.

    .. math:: \bar d \pm s_d / \sqrt{n}

    Args:
        losses, others: ``(rows,)``.

    Example:
        >>> [round(value, 3) for value in paired(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0]))]
        [0.667, 0.333, 1.0]
    """
    differences = losses - others
    if len(differences) < 2:
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    return Difference(mean, mean - error, mean + error)


def serves_apart(apart: Probe, joined: Probe) -> tuple[bool, Difference | None]:
    """Whether the texts of pairs are read apart: unless the best probe of the joined pairs has the lower loss.

    Args:
        apart, joined: probes of the same rows.

    Returns:
        The answer, which is no where no row can be judged; and by how much the loss of the joined pairs' probe exceeds that of the
        other, None for less than two rows.
    """
    difference = paired(joined.losses, apart.losses)
    return difference is not None and difference.mean > 0, difference


def choose_pooling(probes: Mapping[str, Probe]) -> tuple[str, Difference | None]:
    """Which vectors to read: the mean's, unless those of the head are shown to serve as well.

    They are if the upper end of the difference of the losses is at most two hundredths of the mean's loss. Few rows show
    little, and with few rows the mean was better or equal on each of six sets. Where no row can be judged, it is the mean.

    Args:
        probes: by pooling: ``mean``, and the ways in which a head reads a text. All have the same rows.

    Returns:
        The pooling; and by how much the loss of the head's best way exceeds that of the mean, where there are both and rows.

    Example:
        >>> rows = np.zeros((1, 1)), np.zeros(1), 0.1
        >>> head, mean = (Probe(*rows, np.array(losses), {}) for losses in ([0.5, 0.7, 0.6], [0.1, 0.4, 0.2]))
        >>> choose_pooling({"head": head, "mean": mean})[0], choose_pooling({"head": mean, "mean": head})[0]
        ('mean', 'head')
    """
    heads = [name for name in probes if name != "mean"]
    if not heads:
        return "mean", None
    best = min(heads, key=lambda name: probes[name].loss)
    if "mean" not in probes:
        return best, None
    difference = paired(probes[best].losses, probes["mean"].losses)
    serves = difference is not None and difference.high <= _MARGIN * probes["mean"].loss
    return (best if serves else "mean"), difference
