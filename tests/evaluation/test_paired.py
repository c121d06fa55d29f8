"""Paired differences against a slow loop over resamples, and against scipy.stats.bootstrap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import bootstrap

from understudy.errors import DataError
from understudy.evaluation.paired import paired_differences
from understudy.functional.resampling import resample_counts, resampled_kinds, resampler
from understudy.functional.scoring import score

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 300)
HARD = RNG.normal(size=(300, 1))
TRUE = np.eye(3)[LABELS] * 1.2


def model(noise: float, seed: int) -> np.ndarray:
    """Logits that err where other models err, and elsewhere."""
    rng = np.random.default_rng(seed)
    return TRUE + 0.6 * HARD * np.roll(TRUE, 1, axis=1) + noise * rng.normal(size=TRUE.shape)


ONE, OTHER = model(0.7, 1), model(1.0, 2)


def counted(metric: str, seed: int) -> Iterator[np.ndarray]:
    """The rows of each resample, one by one."""
    if metric == "average_precision":
        for counts in resample_counts(300, resamples=40, seed=seed):
            yield from (np.repeat(np.arange(300), row) for row in counts.astype(int))
        return
    kinds = np.stack([LABELS, ONE.argmax(1), OTHER.argmax(1)], axis=1)
    first, counts = resampled_kinds(kinds, resamples=40, seed=seed)
    assert len(first) == len({tuple(row) for row in kinds.tolist()})
    yield from (np.repeat(first, row) for row in counts.astype(int))


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "matthews", "average_precision"])
def test_differences_are_those_of_a_slow_loop(metric: str) -> None:
    found = paired_differences(metric, {"one": ONE, "other": OTHER}, LABELS, resamples=40, level=0.9, seed=3)
    drawn = [
        score(metric, ONE[rows], LABELS[rows]) - score(metric, OTHER[rows], LABELS[rows]) for rows in counted(metric, 3)
    ]
    pair = found["one", "other"]
    assert pair.difference == pytest.approx(score(metric, ONE, LABELS) - score(metric, OTHER, LABELS))
    assert (pair.low, pair.high) == pytest.approx(tuple(np.percentile(drawn, [5, 95])), abs=1e-9)
    assert pair.rows == 300


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "matthews"])
def test_kinds_of_rows_are_drawn_as_rows_are(metric: str) -> None:
    pair = paired_differences(metric, {"one": ONE, "other": OTHER}, LABELS, resamples=4000)["one", "other"]
    one, other = (resampler(metric, outputs, LABELS) for outputs in (ONE, OTHER))
    drawn = np.concatenate([one(c) - other(c) for c in resample_counts(300, resamples=4000, seed=1)])
    assert (pair.low, pair.high) == pytest.approx(tuple(np.percentile(drawn, [0.5, 99.5])), abs=0.015)


def test_the_interval_is_that_of_scipy() -> None:
    right = [(outputs.argmax(1) == LABELS).astype(float) for outputs in (ONE, OTHER)]
    expected = bootstrap(
        right,
        lambda one, other, axis=-1: one.mean(axis) - other.mean(axis),
        paired=True,
        vectorized=True,
        confidence_level=0.99,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    pair = paired_differences("accuracy", {"a": ONE, "b": OTHER}, LABELS, resamples=20_000)["a", "b"]
    assert pair.low == pytest.approx(expected.low, abs=0.006)
    assert pair.high == pytest.approx(expected.high, abs=0.006)


def test_a_model_does_not_differ_from_itself() -> None:
    pair = paired_differences("accuracy", {"a": ONE, "b": ONE.copy()}, LABELS)["a", "b"]
    assert (pair.difference, pair.low, pair.high) == (0.0, 0.0, 0.0)


def test_every_pair_is_compared_once_and_unlabelled_rows_are_left_out() -> None:
    labels = LABELS.copy()
    labels[::4] = -100
    three = {"a": ONE, "b": OTHER, "c": np.roll(ONE, 1, axis=1)}
    found = paired_differences("accuracy", three, labels, resamples=100)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    known = labels >= 0
    alone = paired_differences("accuracy", {k: v[known] for k, v in three.items()}, labels[known], resamples=100)
    assert found == alone
    assert paired_differences("accuracy", {"a": ONE}, labels) == {}
    with pytest.raises(DataError):
        paired_differences("accuracy", three, np.full(300, -100))


def test_regression_and_several_labels() -> None:
    wanted = HARD[:, 0].astype(np.float32)
    near, far = HARD + 0.1, HARD + 0.5
    pair = paired_differences("mse", {"near": near, "far": far}, wanted)["near", "far"]
    assert pair.difference == pytest.approx(0.01 - 0.25, abs=1e-6)
    assert pair.high < 0
    several = (TRUE > 0).astype(np.float32)
    pair = paired_differences("f1_micro", {"a": TRUE - 0.5, "b": -TRUE - 0.5}, several)["a", "b"]
    assert pair.difference == 1.0
