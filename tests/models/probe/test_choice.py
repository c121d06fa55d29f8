"""The probe's choice of penalty and pooling, against scikit-learn, closed forms and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from understudy.data.tasks import Task
from understudy.models.probe.choice import (
    FOLDS,
    Probe,
    choose_pooling,
    cross_validated,
    deal_folds,
    paired,
    row_losses,
)

CLASSES = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c"))
TWO = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b"))
SEVERAL = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
NUMBERS = Task(text=(("text",),), label="score", kind="regression")
RNG = np.random.default_rng(0)


def separable(rows: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % 3
    return np.eye(width)[labels] + 0.3 * np.random.default_rng(1).normal(size=(rows, width)), labels


def test_folds_spread_the_classes() -> None:
    labels = RNG.permutation(np.repeat(np.arange(4), [40, 10, 5, 7]))
    dealt = deal_folds(labels, FOLDS, seed=3)
    counts = np.array([np.bincount(dealt[labels == label], minlength=FOLDS) for label in range(4)])
    assert (counts.max(1) - counts.min(1) <= 1).all()
    assert np.ptp(np.bincount(dealt, minlength=FOLDS)) <= 1
    assert (dealt == deal_folds(labels, FOLDS, seed=3)).all()
    assert (dealt != deal_folds(labels, FOLDS, seed=4)).any()


def test_losses_are_scikit_learns() -> None:
    logits, labels = RNG.normal(size=(20, 3)), RNG.integers(3, size=20)
    losses = row_losses(logits, labels, CLASSES)
    expected = log_loss(labels, np.exp(log_softmax(logits, axis=1)), labels=[0, 1, 2])
    np.testing.assert_allclose(losses.mean(), expected, rtol=1e-9)
    several = RNG.integers(2, size=(20, 3)).astype(np.float32)
    each = [log_loss(several[:, k], 1 / (1 + np.exp(-logits[:, k])), labels=[0, 1]) for k in range(3)]
    np.testing.assert_allclose(row_losses(logits, several, SEVERAL).mean(), np.mean(each), rtol=1e-6)
    np.testing.assert_allclose(row_losses(logits[:, :1], logits[:, 1], NUMBERS), (logits[:, 0] - logits[:, 1]) ** 2)


def test_held_out_losses_are_those_of_a_slow_loop() -> None:
    """Ridge regression, fold by fold, by scikit-learn."""
    vectors = RNG.normal(size=(40, 5))
    labels = (vectors @ RNG.normal(size=5) + 0.5 * RNG.normal(size=40)).astype(np.float32)
    found = cross_validated(vectors, labels, NUMBERS, seed=0, grid=(0.1,))
    dealt, expected = deal_folds(labels, FOLDS, 0), np.zeros(40)
    for fold in range(FOLDS):
        inside = vectors[dealt != fold]
        standard = (vectors - inside.mean(0)) / inside.std(0)
        ridge = Ridge(alpha=10.0).fit(standard[dealt != fold], labels[dealt != fold].astype(np.float64))
        expected[dealt == fold] = (ridge.predict(standard[dealt == fold]) - labels[dealt == fold]) ** 2
    np.testing.assert_allclose(found.losses, expected, rtol=1e-8)
    assert found.weight.shape == (1, 5)


def test_the_penalty_with_the_lowest_loss_is_chosen() -> None:
    vectors, labels = separable(60)
    grid = (1e-4, 0.01, 1.0)
    each = {strength: cross_validated(vectors, labels, CLASSES, seed=0, grid=(strength,)) for strength in grid}
    found = cross_validated(vectors, labels, CLASSES, seed=0, grid=grid)
    assert found.strength == min(each, key=lambda strength: each[strength].losses.mean())
    noise = cross_validated(RNG.normal(size=(60, 30)), labels, CLASSES, seed=0, grid=grid)
    assert noise.strength == 1e-4
    assert found.scores["accuracy"] > 0.9 > 0.6 > noise.scores["accuracy"]


@pytest.mark.parametrize("task", [TWO, CLASSES, SEVERAL, NUMBERS], ids=lambda task: f"{task.kind} {task.outputs}")
@pytest.mark.parametrize("rows", [2, 3, 16])
def test_few_rows_of_any_kind(task: Task, rows: int) -> None:
    labels = np.arange(rows) % task.outputs if task.kind == "single_label" else np.arange(rows, dtype=np.float32)
    if task.kind == "multi_label":
        labels = (np.arange(rows)[:, None] % 3 == np.arange(3)).astype(np.float32)
    found = cross_validated(np.random.default_rng(2).normal(size=(rows, 4)), labels, task, seed=0)
    assert np.isfinite(found.losses).all()
    assert np.isfinite(found.weight).all()
    assert found.weight.shape == (task.outputs, 4)


def test_rows_without_a_label_and_dead_dimensions_count_for_nothing() -> None:
    vectors, labels = separable(30)
    more = np.vstack([vectors, 100 * np.ones((2, 6))])
    dead = np.hstack([more, 1e-30 * RNG.normal(size=(32, 1)), np.ones((32, 1))])
    found = cross_validated(dead, np.append(labels, [-100, -100]), CLASSES, seed=0)
    assert len(found.losses) == 30
    assert np.abs(found.weight).max() < 1e3


def test_a_paired_interval_is_one_standard_error() -> None:
    one, other = RNG.normal(size=50), RNG.normal(size=50)
    found = paired(one, other)
    error = (one - other).std(ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(
        found, [(one - other).mean(), (one - other).mean() - error, (one - other).mean() + error]
    )


def probe(losses: np.ndarray) -> Probe:
    return Probe(np.zeros((1, 1)), np.zeros(1), 0.1, losses, {})


def test_the_head_is_read_where_it_is_shown_to_serve_as_well() -> None:
    losses = RNG.uniform(0.3, 0.9, size=400)
    noise = 0.01 * RNG.normal(size=400)
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + noise)})[0] == "head"
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + 0.1 + noise)})[0] == "mean"
    shuffled = RNG.permutation(losses)[:10]
    assert choose_pooling({"mean": probe(losses[:10]), "head": probe(shuffled)})[0] == "mean", "ten rows show little"
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + 1), "linear head": probe(losses)})[0] == (
        "linear head"
    )
    assert choose_pooling({"head": probe(losses)}) == ("head", None)
