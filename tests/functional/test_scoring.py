"""Metrics by name: unlabelled rows, which way is better, and mistakes with names, kinds and arrays."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.errors import ConfigError, DataError
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS, METRICS
from understudy.functional.scoring import higher_is_better, score

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(60, 4)).astype(np.float32)
CLASSES = RNG.integers(4, size=60)
SEVERAL = (RNG.random((60, 4)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_without_a_label_are_not_scored(metric: str) -> None:
    if metric in ("pearson", "spearman", "mse"):
        logits, labels, none = LOGITS[:, :1], LOGITS[:, 1].copy(), np.nan
    else:
        logits, labels, none = LOGITS[:, :2], CLASSES % 2, -100
    expected = score(metric, logits[::2], labels[::2])
    labels[1::2] = none
    logits = logits.copy()
    logits[1::2] = np.nan
    assert score(metric, logits, labels) == expected


def test_rows_without_labels_in_a_multi_label_task() -> None:
    labels = SEVERAL.copy()
    labels[30:] = np.nan
    assert score("f1_micro", LOGITS, labels) == score("f1_micro", LOGITS[:30], SEVERAL[:30])


def test_only_an_error_is_better_when_lower() -> None:
    assert [metric for metric in METRICS if not higher_is_better(metric)] == ["mse"]


def test_an_unknown_metric_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"no metric 'acuracy'\. Did you mean 'accuracy'\?"):
        score("acuracy", LOGITS, CLASSES)
    with pytest.raises(ConfigError, match="no metric 'recall'"):
        higher_is_better("recall")


def test_of_a_language_model_less_loss_is_better() -> None:
    assert {name: higher_is_better(name) for name in LANGUAGE_MODEL_METRICS} == {
        "loss": False,
        "perplexity": False,
        "accuracy": True,
    }


@pytest.mark.parametrize(
    ("metric", "logits", "labels"),
    [
        ("f1", LOGITS, CLASSES),
        ("pearson", LOGITS, CLASSES),
        ("matthews", LOGITS, SEVERAL),
        ("accuracy", LOGITS[:, :1], SEVERAL[:, 0]),
    ],
)
def test_a_metric_that_does_not_suit_the_task(metric: str, logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=f"metric '{metric}' does not suit this task .* Use one of"):
        score(metric, logits, labels)


def test_faults_of_the_arrays() -> None:
    with pytest.raises(DataError, match="none of the 60 rows carries a label"):
        score("accuracy", LOGITS, np.full(60, -100))
    with pytest.raises(ValueError, match=r"must fit, but are \(60, 4\) and \(59,\)"):
        score("accuracy", LOGITS, CLASSES[:59])
    with pytest.raises(ValueError, match="must fit"):
        score("mse", LOGITS, LOGITS[:, 0])
    with pytest.raises(ValueError, match="classes below 2, but 3 is among them"):
        score("accuracy", LOGITS[:, :2], CLASSES)
    broken = LOGITS.copy()
    broken[3, 1] = np.inf
    with pytest.raises(ValueError, match="1 of 60 rows hold NaN or infinity"):
        score("accuracy", broken, CLASSES)
