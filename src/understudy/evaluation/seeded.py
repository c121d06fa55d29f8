"""Whether one kind of model is better than another where each was trained with several seeds: seeds are a random effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from understudy.evaluation.intervals import affordable_resamples
from understudy.evaluation.paired import measured, resampled_scores
from understudy.functional.scoring import check_suits, scored_rows

Seeded = Mapping[str, Mapping[int, np.ndarray]]
"""By model and by seed, the outputs for the rows that report: ``(rows, outputs)``."""


class SeededDifference(NamedTuple):
    """How much higher the scores of one kind of model are than those of another, on average over the seeds."""

    difference: float
    low: float
    high: float
    """The ends of the interval."""
    p: float
    """How often at least so large a difference comes about if there is none."""
    rows: int
    """The rows that have a label."""
    seeds: int
    """Those with which both were trained."""
    error_of_rows: float
    """The standard error that comes from the choice of the rows."""
    error_of_seeds: float
    """That from the choice of the seeds; 0 with a single one, because it cannot be known."""


def seeded_differences(
    metric: str,
    answers: Seeded,
    labels: Mapping[int, np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[tuple[str, str], SeededDifference]:
    r"""The mean difference of a metric between each two models, for other rows and other seeds.

    .. math::
        \bar\Delta = \frac{1}{S} \sum_s \Delta_s, \qquad
        \widehat{\operatorname{Var}} \bar\Delta = \underbrace{\operatorname{Var}^*_{i} \bar\Delta^*}_{\text{rows}}
        + \frac{1}{S} \underbrace{\max\bigl(0,\; s^2_\Delta - \hat\sigma^2_{i \times s}\bigr)}_{\text{seeds}}

    Rows and seeds are crossed random effects. The variance due to the rows is that of the mean difference over bootstrap
    resamples of the rows, the same for all models and seeds. The sample variance :math:`s^2_\Delta` of the seeds'
    differences holds the variance between seeds and that of the interaction, which the resamples give as well and which
    is taken off. The test is Student's, with Satterthwaite's degrees of freedom: S − 1 for the seeds, n − 1 for the n
    rows. With one seed only the rows are a source of error.

    Where the rows differ from seed to seed (a validation part that the seed draws), the differences of the seeds are
    independent, and their sample variance alone is the error.

    Args:
        metric: a name, see :data:`understudy.functional.metrics.METRICS`.
        answers: by model and seed. A pair is compared by the seeds that both have.
        labels: by seed; rows without one are left out.
        level: the share of cases in which the interval holds the difference.
        resamples: number of times that all rows are drawn with replacement; fewer where average precision takes long.
        seed: of the draws.

    Returns:
        By pair of names, the one that comes first in `answers` first. A pair without a common seed is left out, and so
        is one whose only error could come from the seeds but has a single one.

    Raises:
        DataError: if no row has a label.
        ValueError: if the shapes do not fit, or an output is not finite.

    Reference:
        Satterthwaite 1946, "An approximate distribution of estimates of variance components"; Baayen, Davidson & Bates
        2008, "Mixed-effects modeling with crossed random effects for subjects and items".

    Example:
        >>> truth = np.array([0, 1] * 20)
        >>> right = np.where(truth[:, None] == np.arange(2), 1.0, 0.0)
        >>> half = np.where(np.arange(40)[:, None] < 20, right, 1 - right)
        >>> found = seeded_differences("accuracy", {"one": {0: right}, "other": {0: half}}, {0: truth})["one", "other"]
        >>> found.difference, found.seeds, found.p < 0.001
        (0.5, 1, True)
    """
    scored = {
        (name, number): scored_rows(outputs, labels[number])
        for name, seeds in answers.items()
        for number, outputs in seeds.items()
    }
    for outputs, known in scored.values():
        check_suits(metric, outputs, known)
    scores = {key: float(measured([metric], *rows)(np.ones((1, len(rows[1]))))[0]) for key, rows in scored.items()}
    known_labels = [known for _, known in scored.values()]
    shared = all(np.array_equal(known, known_labels[0]) for known in known_labels[1:])
    drawn: dict[tuple[str, int], np.ndarray] = {}
    if shared and scored:
        cells = max(outputs.size for outputs, _ in scored.values())
        enough = affordable_resamples(metric, cells, resamples)
        drawn = resampled_scores([metric], scored, resamples=enough, seed=seed)
    found = {}
    for one, other in combinations(answers, 2):
        both = [number for number in answers[one] if number in answers[other]]
        if not both or (not shared and len(both) == 1):
            continue
        apart = np.array([scores[one, number] - scores[other, number] for number in both])
        again = np.array([drawn[one, number] - drawn[other, number] for number in both]) if shared else None
        rows = len(scored[one, both[0]][1])
        found[one, other] = _difference(apart, again, rows=rows, level=level)
    return found


def _difference(apart: np.ndarray, again: np.ndarray | None, *, rows: int, level: float) -> SeededDifference:
    """The test of one pair.

    Args:
        apart: the difference of each seed, ``(seeds,)``.
        again: those of each resample of the rows, ``(seeds, resamples)``; None if the rows differ from seed to seed.
    """
    from scipy.stats import t as student

    seeds, middle = len(apart), float(apart.mean())
    between = float(apart.var(ddof=1)) if seeds > 1 else 0.0
    of_rows = 0.0
    if again is not None:
        of_rows = float(again.mean(0).var(ddof=1))
        if seeds > 1:
            of_each = float(again.var(axis=1, ddof=1).mean())
            interaction = max(0.0, of_each - of_rows) * seeds / (seeds - 1)
            between = max(0.0, between - interaction)
    of_seeds = between / seeds
    error = float(np.sqrt(of_rows + of_seeds))
    if error < 1e-12:  # the answers are the same, or there is nothing that could differ
        return SeededDifference(middle, middle, middle, float(abs(middle) < 1e-12), rows, seeds, 0.0, 0.0)
    freedom = _freedom([(of_rows, rows - 1), (of_seeds, seeds - 1)])
    reach = float(student.ppf((1 + level) / 2, freedom)) * error
    p = 2 * float(student.sf(abs(middle) / error, freedom))
    return SeededDifference(
        middle, middle - reach, middle + reach, p, rows, seeds, float(np.sqrt(of_rows)), float(np.sqrt(of_seeds))
    )


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    r"""Satterthwaite's degrees of freedom of a sum of variances: :math:`(\sum v_i)^2 / \sum (v_i^2 / \nu_i)`.

    Args:
        parts: each variance with its own degrees of freedom.
    """
    kept = [(variance, freedom) for variance, freedom in parts if variance > 0 and freedom > 0]
    return sum(variance for variance, _ in kept) ** 2 / sum(variance**2 / freedom for variance, freedom in kept)
