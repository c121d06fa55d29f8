"""Seeds as a random effect, against the mean squares of a crossed analysis of variance, SciPy and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from understudy.evaluation.paired import paired_differences
from understudy.evaluation.seeded import seeded_differences, seeded_scores
from understudy.evaluation.significance import holm, mcnemar

RNG = np.random.default_rng(0)
ROWS, SEEDS = 400, 4
LABELS = RNG.integers(0, 2, ROWS)


def outputs(right: np.ndarray, labels: np.ndarray = LABELS) -> np.ndarray:
    """Two logits a row that are right where they are to be."""
    return np.where((labels == right)[:, None] == np.arange(2), 1.0, 0.0)


def drawn(rng: np.random.Generator, level: float, *, spread: float, hard: np.ndarray) -> dict[int, np.ndarray]:
    """Answers of one kind of model with several seeds, whose levels vary and whose rows are differently hard."""
    found = {}
    for seed in range(SEEDS):
        chance = np.clip(level + spread * rng.normal() - hard, 0, 1)
        found[seed] = outputs((rng.random(ROWS) < chance).astype(int))
    return found


HARD = 0.3 * RNG.random(ROWS)
ONE = drawn(RNG, 0.95, spread=0.05, hard=HARD)
OTHER = drawn(RNG, 0.85, spread=0.05, hard=HARD)
ALL = dict.fromkeys(range(SEEDS), LABELS)


def mean_squares(right: np.ndarray) -> tuple[float, float, float]:
    """Of ``(rows, seeds)``: the variance of the mean by rows alone, a seed's by the interaction, and that between seeds."""
    middle = right.mean()
    rows = SEEDS * ((right.mean(1) - middle) ** 2).sum() / (ROWS - 1)
    seeds = ROWS * ((right.mean(0) - middle) ** 2).sum() / (SEEDS - 1)
    rest = right - right.mean(1, keepdims=True) - right.mean(0) + middle
    residual = (rest**2).sum() / ((ROWS - 1) * (SEEDS - 1))
    return (rows - residual) / (ROWS * SEEDS), residual / ROWS, (seeds - residual) / ROWS


def test_the_variance_is_that_of_the_mean_squares() -> None:
    right = [np.array([answers[s].argmax(1) == LABELS for s in range(SEEDS)], float).T for answers in (ONE, OTHER)]
    apart = right[0] - right[1]
    rows, interaction, own = mean_squares(apart)
    pooled = mean_squares(right[0])[2] + mean_squares(right[1])[2]  # the mean of both, for two models
    seeds = max(own, pooled)
    assert seeds > 0

    found = seeded_differences("accuracy", {"one": ONE, "other": OTHER}, ALL, resamples=20_000)["one", "other"]
    assert found.difference == pytest.approx(apart.mean())
    of_rows = max(0.0, rows) + interaction / SEEDS
    assert found.error_of_rows**2 == pytest.approx(of_rows, rel=0.05)
    assert found.error_of_seeds**2 == pytest.approx(seeds / SEEDS, rel=0.05)
    error = np.sqrt(of_rows + seeds / SEEDS)
    mixed = (seeds + interaction) / SEEDS
    freedom = error**4 / (max(0.0, rows) ** 2 / (ROWS - 1) + mixed**2 / (2 * (SEEDS - 1)))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(apart.mean()) / error, freedom), rel=0.2)
    reach = stats.t.ppf(0.975, freedom) * error
    ends = (apart.mean() - reach, apart.mean() + reach)
    assert (found.low, found.high) == pytest.approx(ends, abs=0.05 * reach)


def test_a_model_that_does_not_depend_on_the_seed_adds_no_variance_of_seeds() -> None:
    fixed = dict.fromkeys(range(SEEDS), OTHER[0])
    pairs = seeded_differences("accuracy", {"one": ONE, "other": OTHER, "fixed": fixed, "twin": fixed}, ALL)
    assert pairs["fixed", "twin"].p == 1.0
    assert 0 < pairs["one", "fixed"].error_of_seeds < pairs["one", "other"].error_of_seeds
    assert seeded_scores("accuracy", {"fixed": fixed}, ALL)["fixed"].error_of_seeds == 0.0


def test_a_score_has_the_interval_of_its_rows_and_seeds() -> None:
    right = np.array([ONE[s].argmax(1) == LABELS for s in range(SEEDS)], float).T
    rows, interaction, seeds = mean_squares(right)
    found = seeded_scores("accuracy", {"one": ONE}, ALL, resamples=20_000)["one"]
    assert found.difference == pytest.approx(right.mean())
    error = np.sqrt(rows + (interaction + seeds) / SEEDS)
    assert np.hypot(found.error_of_rows, found.error_of_seeds) == pytest.approx(error, rel=0.05)
    assert found.low < found.difference < found.high


def test_with_one_seed_it_agrees_with_the_bootstrap_and_with_mcnemar() -> None:
    one, other = ONE[0], OTHER[0]
    found = seeded_differences("accuracy", {"one": {7: one}, "other": {7: other}}, {7: LABELS}, resamples=20_000)
    single = found["one", "other"]
    assert (single.seeds, single.error_of_seeds) == (1, 0.0)
    pair = paired_differences("accuracy", {"one": one, "other": other}, LABELS, level=0.95, resamples=20_000)
    assert single[:3] == pytest.approx(pair["one", "other"][:3], abs=0.003)
    rights = np.array([one.argmax(1) == LABELS, other.argmax(1) == LABELS])
    theirs = stats.bootstrap(
        rights.astype(float),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        random_state=np.random.default_rng(0),
    )
    assert single.error_of_rows == pytest.approx(theirs.standard_error, rel=0.03)
    exact = mcnemar(one, other, LABELS)
    assert exact is not None
    middle = stats.binom.pmf(exact.only_first, exact.only_first + exact.only_second, 0.5)  # it counts whole
    assert single.p == pytest.approx(exact.p - middle, abs=0.02)


def test_only_seeds_that_both_have_are_compared() -> None:
    some = {seed: ONE[seed] for seed in (0, 2)}
    found = seeded_differences("accuracy", {"one": some, "other": OTHER, "late": {3: ONE[3]}}, ALL)
    assert {pair: difference.seeds for pair, difference in found.items()} == {("one", "other"): 2, ("other", "late"): 1}


def apart(
    rng: np.random.Generator, seeds: int, rows: int, *, names: str = "ab", level: float = 0.9
) -> tuple[dict, dict]:
    """Equally good models, each seed with rows of its own of which half are told alike by all; and the labels."""
    labels = {seed: rng.integers(0, 2, rows) for seed in range(seeds)}
    answers: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
    for seed, known in labels.items():
        alike, told = rng.random(rows) < 0.5, rng.random(rows) < level
        for found in answers.values():
            found[seed] = outputs(np.where(alike, told, rng.random(rows) < level).astype(int), known)
    return answers, labels


def test_rows_that_differ_from_seed_to_seed_have_variances_of_their_own() -> None:
    rng = np.random.default_rng(3)
    answers, labels = apart(rng, SEEDS, ROWS)
    right = {name: np.array([found[s].argmax(1) == labels[s] for s in found], float) for name, found in answers.items()}
    found = seeded_differences("accuracy", answers, labels, resamples=20_000)["a", "b"]
    by_seed = right["a"] - right["b"]
    assert found.difference == pytest.approx(by_seed.mean())
    of_rows = by_seed.var(axis=1).mean() / ROWS
    assert found.error_of_rows**2 == pytest.approx(of_rows / SEEDS, rel=0.05)
    excess = [scores.mean(1).var(ddof=1) - scores.var(axis=1).mean() / ROWS for scores in right.values()]
    between = max(sum(excess), by_seed.mean(1).var(ddof=1) - of_rows, 0)
    assert found.error_of_seeds**2 == pytest.approx(between / SEEDS, abs=0.02 * of_rows)
    single = {name: {0: seeds[0]} for name, seeds in answers.items()}
    one = seeded_differences("accuracy", {**single, "third": {1: answers["a"][1]}}, labels)
    assert one.keys() == {("a", "b")}  # the third has other rows
    assert one["a", "b"].p > 0


@pytest.mark.parametrize(("seeds", "rows"), [(2, 30), (3, 100)])
def test_equal_kinds_with_rows_of_their_own_are_seldom_called_different(seeds: int, rows: int) -> None:
    rng = np.random.default_rng(8)
    rounds, alarms = 100, 0
    for _ in range(rounds):
        found = seeded_differences("accuracy", *apart(rng, seeds, rows, names="abcd"), resamples=200)
        alarms += min(holm({pair: one.p for pair, one in found.items()}).values()) < 0.05
    assert (
        stats.binom.sf(alarms - 1, rounds, 0.05) > 0.01
    )  # the sample variance of two seeds alone called half of them different


def test_a_few_rows_that_all_tell_the_same_are_coins_that_fall_alike() -> None:
    for rows in (1, 5, 6, 20):
        truth = np.zeros(rows, int)
        right, wrong = outputs(np.ones(rows), truth), outputs(np.zeros(rows), truth)
        found = seeded_differences("accuracy", {"one": {0: right}, "other": {0: wrong}}, {0: truth})["one", "other"]
        assert found.p == pytest.approx(stats.binomtest(0, rows).pvalue)
        assert (found.low > 0) == (found.p < 0.05)
        share = stats.binomtest(rows, rows).proportion_ci(0.95, method="exact").low
        assert found.low == pytest.approx(2 * share - 1)
        score = seeded_scores("accuracy", {"one": {0: right}}, {0: truth})["one"]
        assert score.low == pytest.approx(stats.binomtest(rows, rows).proportion_ci(0.95, method="wilson").low)


def test_intervals_end_where_the_values_do() -> None:
    rng = np.random.default_rng(4)
    answers, labels = apart(rng, 2, 8, level=0.95)
    for metric, least in (("accuracy", 0.0), ("matthews", -1.0)):
        found = seeded_scores(metric, answers, labels)["a"]
        assert least <= found.low <= found.high <= 1.0
    numbers = {seed: rng.normal(size=12) for seed in (0, 1)}
    guesses = {seed: known[:, None] + 3 * rng.random() * rng.normal(size=(12, 1)) for seed, known in numbers.items()}
    assert seeded_scores("mse", {"a": guesses}, numbers)["a"].low >= 0.0


def test_the_same_answers_do_not_differ() -> None:
    found = seeded_differences("accuracy", {"one": ONE, "twin": ONE}, ALL)["one", "twin"]
    assert (found.difference, found.p) == (0.0, 1.0)
    single = seeded_differences("accuracy", {"one": {0: ONE[0]}, "twin": {0: ONE[0]}}, ALL)["one", "twin"]
    assert single[:4] == (0.0, 0.0, 0.0, 1.0)


def test_equal_kinds_are_seldom_called_different() -> None:
    rng = np.random.default_rng(5)
    rounds, alarms = 200, 0
    for _ in range(rounds):
        pair = {name: drawn(rng, 0.9, spread=0.02, hard=HARD) for name in ("one", "other")}
        alarms += seeded_differences("accuracy", pair, ALL, resamples=300)["one", "other"].p < 0.05
    assert stats.binom.sf(alarms - 1, rounds, 0.065) > 0.001  # benchmarks/false_alarms.py has 2,000 rounds


@pytest.mark.parametrize("metric", ["f1_macro", "matthews", "average_precision"])
def test_every_metric_can_be_compared(metric: str) -> None:
    found = seeded_differences(metric, {"one": ONE, "other": OTHER}, ALL, resamples=200)["one", "other"]
    assert found.low < found.difference < found.high
