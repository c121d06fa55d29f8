"""Evaluations against slow loops, SciPy's bootstrap and degenerate test splits."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from understudy.data.tasks import NO_LABEL, Kind, Task
from understudy.errors import ConfigError, DataError
from understudy.evaluation import intervals
from understudy.evaluation.intervals import bootstrap
from understudy.evaluation.quality import Evaluation, agreement, as_entry, calibration, evaluate
from understudy.functional.resampling import resample_counts
from understudy.functional.scoring import score


def _task(kind: Kind, outputs: int = 0, metrics: tuple[str, ...] = ()) -> Task:
    return Task(text=(("text",),), label="y", kind=kind, labels=tuple(map(str, range(outputs))), metrics=metrics)


def _rows(rows: int, classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    return (rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]).astype(np.float32), labels


def test_metrics_are_the_tasks_and_in_its_order() -> None:
    logits, labels = _rows(50, 2)
    found = evaluate(logits, labels, _task("single_label", 2))
    assert list(found.metrics) == ["accuracy", "f1", "f1_macro", "matthews", "average_precision"]
    assert found.metrics == {metric: score(metric, logits, labels) for metric in found.metrics}
    assert found.intervals == {}


def test_intervals_are_percentiles_over_the_very_resamples() -> None:
    logits, labels = _rows(120, 3)
    found = evaluate(logits, labels, _task("single_label", 3), intervals=True, resamples=60, seed=5)
    drawn = [
        np.repeat(np.arange(120), row.astype(int))
        for block in resample_counts(120, resamples=60, seed=5)
        for row in block
    ]
    for metric, ends in found.intervals.items():
        slow = [score(metric, logits[rows], labels[rows]) for rows in drawn]
        assert ends == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=1e-9)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "mse"])
def test_intervals_agree_with_scipys_bootstrap(metric: str) -> None:
    rng = np.random.default_rng(1)
    wanted = rng.normal(size=200)
    predicted = wanted + rng.normal(size=200)
    low, high = bootstrap((metric,), predicted[:, None], wanted, resamples=2000)[metric]
    reference = scipy.stats.bootstrap(
        (predicted, wanted),
        lambda a, b: score(metric, a[:, None], b),
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.08 * width)
    assert high == pytest.approx(reference.high, abs=0.08 * width)


def test_the_interval_of_an_accuracy_covers_as_wald_says() -> None:
    labels = np.zeros(2000, np.int64)
    logits = np.tile([[0.0, 1.0]], (2000, 1))
    logits[:1600, 0] = 2.0
    low, high = bootstrap(("accuracy",), logits, labels, resamples=2000)["accuracy"]
    half = 1.96 * (0.8 * 0.2 / 2000) ** 0.5
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.002)


@pytest.mark.parametrize("rows", [1, 30, 99])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_below_a_hundred_rows_the_interval_of_an_accuracy_is_wilsons(rows: int, share: float) -> None:
    right = round(share * rows)
    labels = np.zeros(rows, np.int64)
    logits = np.where(np.arange(rows)[:, None] < right, [[1.0, 0.0]], [[0.0, 1.0]])
    reference = scipy.stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert bootstrap(("accuracy",), logits, labels)["accuracy"] == pytest.approx(tuple(reference))


def test_average_precision_may_take_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = _rows(140, 3)
    monkeypatch.setattr(intervals, "_RANKED_CELLS", 0)
    metrics = ("average_precision", "accuracy")
    few = bootstrap(metrics, logits, labels, resamples=300)
    assert few["average_precision"] == bootstrap(metrics, logits, labels, resamples=100)["average_precision"]
    assert few["accuracy"] != bootstrap(metrics, logits, labels, resamples=100)["accuracy"]


def test_confusion() -> None:
    logits, labels = _rows(60, 3)
    labels[:10] = NO_LABEL
    found = evaluate(logits, labels, _task("single_label", 3)).confusion
    assert found == sklearn.metrics.confusion_matrix(labels[10:], logits[10:].argmax(1), labels=range(3)).tolist()


def test_calibration_by_loop() -> None:
    logits, labels = _rows(300, 3)
    labels[:20] = NO_LABEL
    found = calibration(logits, labels)
    ece, bins = 0.0, []
    confidence = scipy.special.softmax(logits[20:].astype(np.float64), axis=1).max(1)
    right = logits[20:].argmax(1) == labels[20:]
    for number in range(15):
        here = [row for row in range(280) if number / 15 < confidence[row] <= (number + 1) / 15]
        if here:
            mean, share = np.mean(confidence[here]), np.mean(right[here])
            ece += len(here) / 280 * abs(mean - share)
            bins.append({"confidence": pytest.approx(mean), "accuracy": pytest.approx(share), "rows": len(here)})
    assert found["ece"] == pytest.approx(ece)
    assert found["bins"] == bins


def test_a_calibrated_model_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40_000, 3)) * 2
    labels = (scipy.special.softmax(logits, axis=1).cumsum(1) < rng.random((40_000, 1))).sum(1)
    assert calibration(logits, labels)["ece"] < 0.01
    assert calibration(logits * 3, labels)["ece"] > 0.1


def test_certainty_falls_into_the_last_bin() -> None:
    found = calibration(np.array([[1000.0, -1000.0]]), np.array([0]))
    assert found == {"ece": 0.0, "bins": [{"confidence": 1.0, "accuracy": 1.0, "rows": 1}]}


def test_agreement() -> None:
    one, other = np.array([[1.0, 0.0]] * 4), np.array([[9.0, 8.0]] * 3 + [[0.0, 1.0]])
    assert agreement(one, other) == 0.75
    with pytest.raises(ValueError, match="both must be"):
        agreement(one, other[:3])


@pytest.mark.parametrize("kind", ["two", "four", "several", "regression"])
@pytest.mark.parametrize("rows", [1, 6])
def test_degenerate_splits_give_finite_plain_numbers(kind: str, rows: int) -> None:
    """Constant answers, one class in the test split; warnings are errors here."""
    logits = np.zeros((rows, {"two": 2, "four": 4, "several": 3, "regression": 1}[kind]), np.float32)
    if kind == "regression":
        task, labels = _task("regression"), np.full(rows, 2.5, np.float32)
    elif kind == "several":
        task, labels = _task("multi_label", 3), np.zeros((rows, 3), np.float32)
    else:
        task, labels = _task("single_label", logits.shape[1]), np.ones(rows, np.int64)
    found = asdict(evaluate(logits, labels, task, intervals=True, resamples=50))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["metrics"] == found["metrics"]
    for metric, value in found["metrics"].items():
        assert type(value) is float
        low, high = found["intervals"][metric]
        if metric == "accuracy":  # so few rows do not tell, even where all are alike
            assert low <= value <= high
            assert high - low > 0.3
            continue
        assert low == pytest.approx(value)
        assert high == pytest.approx(value)


def test_only_single_label_tasks_have_a_confusion_matrix() -> None:
    several = evaluate(np.ones((2, 3)), np.ones((2, 3)), _task("multi_label", 3))
    assert several.confusion is None
    number = evaluate(np.ones((2, 1)), np.ones(2, np.float32), _task("regression", 0))
    assert number.confusion is None
    assert number.calibration is None


def test_several_labels_are_calibrated_decision_by_decision() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)) * 3, rng.integers(0, 2, (40, 3)).astype(np.float32)
    found = evaluate(logits, labels, _task("multi_label", 3)).calibration
    decisions = np.stack([-logits.ravel(), logits.ravel()], axis=1) / 2  # a sigmoid is a softmax of two
    assert found is not None
    assert found["ece"] == pytest.approx(calibration(decisions, labels.ravel().astype(int))["ece"])


def test_the_calibration_is_that_after_the_temperature_and_the_scores_are_not() -> None:
    logits, labels = _rows(80, 3)
    plain = evaluate(logits, labels, _task("single_label", 3))
    cooled = evaluate(logits, labels, _task("single_label", 3), temperature=2.5)
    assert plain.calibration is not None
    assert cooled.calibration is not None
    assert cooled.metrics == plain.metrics
    assert cooled.calibration["ece_before"] == plain.calibration["ece"]
    assert cooled.calibration["ece"] == pytest.approx(calibration(logits / 2.5, labels)["ece"])
    assert cooled.calibration["temperature"] == 2.5


def test_faults() -> None:
    logits, labels = _rows(5, 3)
    with pytest.raises(DataError, match="none of the 5 rows carries a label"):
        evaluate(logits, np.full(5, NO_LABEL), _task("single_label", 3))
    with pytest.raises(ConfigError, match="metric 'f1' does not suit"):
        evaluate(logits, labels, _task("single_label", 3, metrics=("f1",)))


def test_an_entry_of_labelled_rows_has_everything_that_is_known() -> None:
    logits, labels = _rows(40, 3)
    found = evaluate(logits, labels, _task("single_label", 3), intervals=True, resamples=50)
    entry = as_entry({"test": found})
    assert list(entry) == ["metrics", "intervals", "confusion", "calibration"]
    assert entry["metrics"] == {"test": found.metrics}
    assert entry["intervals"]["test"]["accuracy"] == list(found.intervals["accuracy"])
    assert (entry["confusion"], entry["calibration"]) == (found.confusion, found.calibration)
    assert json.loads(json.dumps(entry)) == entry


def test_an_entry_of_a_language_model_has_metrics_alone() -> None:
    scores = {"validation": Evaluation({"loss": 2.0, "accuracy": 0.5}), "test": Evaluation({"loss": 3.0})}
    assert as_entry(scores) == {"metrics": {"validation": {"loss": 2.0, "accuracy": 0.5}, "test": {"loss": 3.0}}}


def test_an_entry_of_a_number_has_no_confusion_matrix() -> None:
    found = evaluate(np.ones((3, 1)), np.arange(3.0), _task("regression"), intervals=True, resamples=50)
    assert set(as_entry({"test": found})) == {"metrics", "intervals"}
