"""Folds and the losses of rows, against plain counts and scikit-learn."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from understudy.data.tasks import Task
from understudy.models.folds import FOLDS, deal_folds, row_losses

CLASSES = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c"))
SEVERAL = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
NUMBERS = Task(text=(("text",),), label="score", kind="regression")
RNG = np.random.default_rng(0)


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
