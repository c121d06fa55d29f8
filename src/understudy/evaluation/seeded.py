"""Whether one kind of model is better than another where each was trained with several seeds: seeds are a random effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from understudy.evaluation.intervals import affordable_resamples, wilson
from understudy.evaluation.paired import measured, resampled_scores
from understudy.functional.scoring import check_suits, extent, scored_rows

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
        \widehat{\operatorname{Var}} \bar\Delta = \hat\sigma^2_{\text{rows}}
        + \frac{\hat\sigma^2_{\text{rows} \times \text{seeds}} + \hat\sigma^2_{\text{seeds}}}{S}

    Rows and seeds are crossed random effects. The variance due to the rows, and that of the interaction, come from bootstrap
    resamples of the rows, the same for all models and seeds. What the sample variance of the seeds' scores exceeds the
    interaction by is the variance between seeds. Three seeds tell little of it, and by chance often that it is almost
    nothing: so it is pooled over all models, and a pair's own is taken where that is larger. The test is Student's, with
    Satterthwaite's degrees of freedom: those of the pooled variance for the seeds and the interaction, n − 1 for the n
    rows. With one seed only the rows are a source of error. A model whose answers do not depend on the seed has no
    variance between seeds.

    Where the rows differ from seed to seed (a validation part that the seed draws), the differences of the seeds are
    independent: each has the variance of its own rows, and what the sample variance exceeds their mean by is that between
    seeds.

    Where no source of error is seen, because every row and seed tells the same, the test is that of a sign: each of the n rows
    is a fair coin.

    Args:
        metric: a name, see :data:`understudy.functional.metrics.METRICS`.
        answers: by model and seed. A pair is compared by the seeds that both have.
        labels: by seed; rows without one are left out.
        level: the share of cases in which the interval holds the difference.
        resamples: number of times that all rows are drawn with replacement; fewer where average precision takes long.
        seed: of the draws.

    Returns:
        By pair of names, the one that comes first in `answers` first. A pair without a common seed is left out.

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
    found = {}
    again = _Again(metric, answers, labels, resamples=resamples, seed=seed)
    least, most = extent(metric)
    for one, other in combinations(answers, 2):
        both = [number for number in answers[one] if number in answers[other]]
        if not both:
            continue
        apart = again.scores(one, both) - again.scores(other, both)
        drawn = again.drawn(one, both) - again.drawn(other, both)
        tested = again.difference(apart, drawn, (one, other), both, level=level)
        found[one, other] = _within(tested, least - most, most - least)
    return found


def seeded_scores(
    metric: str,
    answers: Seeded,
    labels: Mapping[int, np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, SeededDifference]:
    """The mean score of each model over its seeds, with its interval for other rows and other seeds.

    The same as :func:`seeded_differences` from a score of 0; ``p`` says nothing. Where all answers are right, or none is,
    the interval of the accuracy is Wilson's.

    Example:
        >>> truth = np.array([0, 1] * 20)
        >>> right = np.where(truth[:, None] == np.arange(2), 1.0, 0.0)
        >>> found = seeded_scores("accuracy", {"one": {0: right}}, {0: truth})["one"]
        >>> found.difference, round(found.low, 2), found.high
        (1.0, 0.91, 1.0)
    """
    again = _Again(metric, answers, labels, resamples=resamples, seed=seed)
    found = {}
    for name, seeds in answers.items():
        numbers = list(seeds)
        if not numbers:
            continue
        scores = again.scores(name, numbers)
        tested = again.difference(scores, again.drawn(name, numbers), (name,), numbers, level=level)
        if metric == "accuracy" and scores.min() == scores.max() and scores[0] in (0, 1):
            rows = again.rows(name, numbers)
            low, high = wilson(round(rows * scores[0]), rows)
            tested = tested._replace(low=low, high=high)
        found[name] = _within(tested, *extent(metric))
    return found


def _within(found: SeededDifference, least: float, most: float) -> SeededDifference:
    """The same with an interval that ends where the values do."""
    return found._replace(low=max(least, found.low), high=min(most, found.high))


class _Again:
    """The scores of all models, and those on resampled rows."""

    def __init__(
        self, metric: str, answers: Seeded, labels: Mapping[int, np.ndarray], *, resamples: int, seed: int
    ) -> None:
        scored = {
            (name, number): scored_rows(outputs, labels[number])
            for name, seeds in answers.items()
            for number, outputs in seeds.items()
        }
        for outputs, known in scored.values():
            check_suits(metric, outputs, known)
        self._rows = {key: len(known) for key, (_, known) in scored.items()}
        self._scores = {
            key: float(measured([metric], *rows)(np.ones((1, len(rows[1]))))[0]) for key, rows in scored.items()
        }
        known_labels = [known for _, known in scored.values()]
        self._same_rows = all(np.array_equal(known, known_labels[0]) for known in known_labels[1:])
        self._drawn: dict[tuple[str, int], np.ndarray] = {}
        cells = max((outputs.size for outputs, _ in scored.values()), default=0)
        enough = affordable_resamples(metric, cells, resamples)
        for numbers in [set(labels)] if self._same_rows else [{number} for number in labels]:
            if some := {key: rows for key, rows in scored.items() if key[1] in numbers}:
                self._drawn |= resampled_scores([metric], some, resamples=enough, seed=seed)
        self._pool(answers)

    def rows(self, name: str, numbers: Sequence[int]) -> int:
        """How many rows a model answered for with these seeds; those of all seeds count once if they are the same."""
        if self._same_rows:
            return self._rows[name, numbers[0]]
        return sum(self._rows[name, number] for number in numbers)

    def scores(self, name: str, numbers: Sequence[int]) -> np.ndarray:
        """Of a model with each of the seeds, ``(seeds,)``."""
        return np.array([self._scores[name, number] for number in numbers])

    def drawn(self, name: str, numbers: Sequence[int]) -> np.ndarray:
        """The same on resampled rows, ``(seeds, resamples)``."""
        return np.array([self._drawn[name, number] for number in numbers])

    def _pool(self, answers: Seeded) -> None:
        """The variance between seeds, pooled over the models that depend on the seed, and its degrees of freedom."""
        self._depends: set[str] = set()
        self._pooled, self._freedom = 0.0, 0
        for name, seeds in answers.items():
            numbers = list(seeds)
            if len(numbers) < 2:
                continue
            first = seeds[numbers[0]]
            if self._same_rows and all(np.array_equal(first, seeds[number]) for number in numbers[1:]):
                continue
            self._depends.add(name)
            scores = self.scores(name, numbers)
            _, single = self._of_rows(self.drawn(name, numbers))
            self._pooled += (len(numbers) - 1) * (float(scores.var(ddof=1)) - single)
            self._freedom += len(numbers) - 1
        self._pooled = max(0.0, self._pooled / max(self._freedom, 1))

    def difference(
        self, apart: np.ndarray, again: np.ndarray, names: Sequence[str], numbers: Sequence[int], *, level: float
    ) -> SeededDifference:
        """The test of a difference, or of a score.

        Args:
            apart: by seed, ``(seeds,)``.
            again: the same on each resample of the rows, ``(seeds, resamples)``.
            names: of the one or two models.
            numbers: the seeds.
        """
        seeds, rows = len(apart), self.rows(names[0], numbers)
        own = float(apart.var(ddof=1)) if seeds > 1 else 0.0
        shared, single = self._of_rows(again)
        between = max(self._pooled * len(self._depends & set(names)), own - single)
        parts = _Parts(
            rows=shared,
            mixed=single / seeds,
            seeds=between / seeds,
            freedom_of_rows=rows - 1,
            freedom_of_seeds=self._freedom,
        )
        middle = float(apart.mean())
        tested = _tested(middle, level, parts) or _told_alike(middle, level, rows)
        of_rows, of_seeds = float(np.sqrt(parts.rows + parts.mixed)), float(np.sqrt(parts.seeds))
        return SeededDifference(middle, *tested, self._rows[names[0], numbers[0]], seeds, of_rows, of_seeds)

    def _of_rows(self, again: np.ndarray) -> tuple[float, float]:
        """The variance of the mean over seeds due to rows that all seeds have, and that of a single seed due to its own answers.

        Args:
            again: ``(seeds, resamples)``.
        """
        seeds, of_mean, of_one = len(again), float(again.mean(0).var(ddof=1)), float(again.var(axis=1, ddof=1).mean())
        if seeds == 1:
            return of_mean, 0.0
        if not self._same_rows:
            return 0.0, of_one
        interaction = max(0.0, of_one - of_mean) * seeds / (seeds - 1)
        return max(0.0, of_mean - interaction / seeds), interaction


class _Parts(NamedTuple):
    """The parts of the variance of a mean over seeds."""

    rows: float
    """That of the choice of the rows alone."""
    mixed: float
    """That of rows and seeds together."""
    seeds: float
    """That of the choice of the seeds alone."""
    freedom_of_rows: int
    freedom_of_seeds: int
    """Of the last two together."""


class _Tested(NamedTuple):
    """The interval of a mean, and its p value."""

    low: float
    high: float
    p: float


def _tested(middle: float, level: float, parts: _Parts) -> _Tested | None:
    """Student's test of a mean over seeds against 0, from the parts of its variance; None if there is none."""
    from scipy.stats import t as student

    error = float(np.sqrt(parts.rows + parts.mixed + parts.seeds))
    if error < 1e-12:
        return None
    each = [(parts.rows, parts.freedom_of_rows), (parts.mixed + parts.seeds, parts.freedom_of_seeds)]
    kept = [(variance, own) for variance, own in each if variance > 0 and own > 0]
    satterthwaite = error**4 / sum(variance**2 / own for variance, own in kept)
    reach = float(student.ppf((1 + level) / 2, satterthwaite)) * error
    return _Tested(middle - reach, middle + reach, 2 * float(student.sf(abs(middle) / error, satterthwaite)))


def _told_alike(middle: float, level: float, rows: int) -> _Tested:
    """The test where every row tells the same: how likely it is that n fair coins fall alike.

    At least a share q of all rows is like these with :math:`q^n = (1 - level) / 2` (Clopper & Pearson 1934); the others
    are at worst the other way round.
    """
    if abs(middle) < 1e-12:  # the answers are the same
        return _Tested(middle, middle, 1.0)
    worst = middle * (2 * ((1 - level) / 2) ** (1 / rows) - 1)
    return _Tested(min(middle, worst), max(middle, worst), min(1.0, 2 * 0.5**rows))
