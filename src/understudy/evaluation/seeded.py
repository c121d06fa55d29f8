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
    found = {}
    again = _Again(metric, answers, labels, resamples=resamples, seed=seed)
    for one, other in combinations(answers, 2):
        both = [number for number in answers[one] if number in answers[other]]
        if not both or (not again.same_rows and len(both) == 1):
            continue
        apart = again.scores(one, both) - again.scores(other, both)
        drawn = again.drawn(one, both) - again.drawn(other, both) if again.same_rows else None
        found[one, other] = again.difference(apart, drawn, (one, other), both, level=level)
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

    The same as :func:`seeded_differences` from a score of 0; ``p`` says nothing. A model with one seed, on rows that differ
    from those of other models' seeds, is left out.

    Example:
        >>> truth = np.array([0, 1] * 20)
        >>> right = np.where(truth[:, None] == np.arange(2), 1.0, 0.0)
        >>> seeded_scores("accuracy", {"one": {0: right}}, {0: truth})["one"][:3]
        (1.0, 1.0, 1.0)
    """
    again = _Again(metric, answers, labels, resamples=resamples, seed=seed)
    found = {}
    for name, seeds in answers.items():
        numbers = list(seeds)
        if numbers and (again.same_rows or len(numbers) > 1):
            drawn = again.drawn(name, numbers) if again.same_rows else None
            found[name] = again.difference(again.scores(name, numbers), drawn, (name,), numbers, level=level)
    return found


class _Again:
    """The scores of all models, and those on resampled rows where all models answered for the same ones."""

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
        self.same_rows = all(np.array_equal(known, known_labels[0]) for known in known_labels[1:])
        self._drawn: dict[tuple[str, int], np.ndarray] = {}
        if self.same_rows and scored:
            cells = max(outputs.size for outputs, _ in scored.values())
            enough = affordable_resamples(metric, cells, resamples)
            self._drawn = resampled_scores([metric], scored, resamples=enough, seed=seed)

        self._pool(answers)

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
            if not self.same_rows or len(numbers) < 2:
                continue
            first = seeds[numbers[0]]
            if all(np.array_equal(first, seeds[number]) for number in numbers[1:]):
                continue
            self._depends.add(name)
            scores = self.scores(name, numbers)
            _, interaction = _of_rows(self.drawn(name, numbers))
            self._pooled += (len(numbers) - 1) * (float(scores.var(ddof=1)) - interaction)
            self._freedom += len(numbers) - 1
        self._pooled = max(0.0, self._pooled / max(self._freedom, 1))

    def difference(
        self,
        apart: np.ndarray,
        again: np.ndarray | None,
        names: Sequence[str],
        numbers: Sequence[int],
        *,
        level: float,
    ) -> SeededDifference:
        """The test of a difference, or of a score.

        Args:
            apart: by seed, ``(seeds,)``.
            again: the same on each resample of the rows, ``(seeds, resamples)``; None if the rows differ from seed to seed.
            names: of the one or two models.
            numbers: the seeds.
        """
        seeds, rows = len(apart), self._rows[names[0], numbers[0]]
        own = float(apart.var(ddof=1)) if seeds > 1 else 0.0
        if again is None:
            return _tested(apart, level, rows=rows, of_rows=0.0, mixed=0.0, of_seeds=own / seeds, freedom=seeds - 1)
        of_rows, interaction = _of_rows(again)
        pooled = self._pooled * len(self._depends & set(names))
        between = max(pooled, own - interaction)
        return _tested(
            apart,
            level,
            rows=rows,
            of_rows=max(0.0, of_rows - interaction / seeds),
            mixed=interaction / seeds,
            of_seeds=between / seeds,
            freedom=self._freedom,
        )


def _of_rows(again: np.ndarray) -> tuple[float, float]:
    """The variance of the mean over seeds that is due to the rows, and that of a single seed due to the interaction.

    Args:
        again: ``(seeds, resamples)``.
    """
    seeds, of_rows = len(again), float(again.mean(0).var(ddof=1))
    if seeds == 1:
        return of_rows, 0.0
    return of_rows, max(0.0, float(again.var(axis=1, ddof=1).mean()) - of_rows) * seeds / (seeds - 1)


def _tested(
    apart: np.ndarray, level: float, *, rows: int, of_rows: float, mixed: float, of_seeds: float, freedom: int
) -> SeededDifference:
    """Student's test of a mean over seeds against 0, from the parts of its variance.

    Args:
        of_rows, mixed, of_seeds: the parts that are due to the rows alone, to both together, and to the seeds alone.
        freedom: the degrees of freedom of the last two.
    """
    from scipy.stats import t as student

    seeds, middle = len(apart), float(apart.mean())
    error = float(np.sqrt(of_rows + mixed + of_seeds))
    if error < 1e-12:  # the answers are the same, or there is nothing that could differ
        return SeededDifference(middle, middle, middle, float(abs(middle) < 1e-12), rows, seeds, 0.0, 0.0)
    parts = [(of_rows, rows - 1), (mixed + of_seeds, freedom)]
    kept = [(variance, own) for variance, own in parts if variance > 0 and own > 0]
    satterthwaite = error**4 / sum(variance**2 / own for variance, own in kept)
    reach = float(student.ppf((1 + level) / 2, satterthwaite)) * error
    p = 2 * float(student.sf(abs(middle) / error, satterthwaite))
    ends = (middle - reach, middle + reach)
    return SeededDifference(middle, *ends, p, rows, seeds, float(np.sqrt(of_rows + mixed)), float(np.sqrt(of_seeds)))
