"""Curves with known features, and when a suggestion is capped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from understudy.adapters.design import design_of
from understudy.adapters.inject import adapter_tensors, add_adapter
from understudy.errors import ConfigError
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pooled import PooledClassifier
from understudy.training.lr_finder.curve import Curve, smooth
from understudy.training.lr_finder.suggestion import TRANSFORMER_CAP, Suggestion, rate_cap, suggest
from understudy.training.optimizers.lazy_adamw import LazyAdamW


def test_the_average_is_a_weighted_mean_of_all_before() -> None:
    losses = np.random.default_rng(0).normal(3, 1, 40)
    beta, i = 1 - 1 / 8, np.arange(40)
    weights = np.tril(beta ** (i[:, None] - i[None, :]).clip(0))
    np.testing.assert_allclose(smooth(losses, 8), weights @ losses / weights.sum(1), rtol=1e-12)


def valley(bottom: float, slope: float, *, steps: int = 100) -> Curve:
    """A curve that falls fastest at `slope`, is lowest at `bottom` and then rises steeply."""
    rates = np.geomspace(1e-7, 10, steps)
    u = np.log10(rates)
    fall = -np.tanh(2 * (u - math.log10(slope)))
    wall = np.exp(6 * (u - math.log10(bottom)))
    wall *= 2 / np.cosh(2 * math.log10(bottom / slope)) ** 2 / 6  # slope 0 at `bottom`
    return Curve(rates, fall + wall, fall + wall, steps, True)


@pytest.mark.parametrize("steps", [60, 100, 400])
def test_readings_of_a_curve_with_known_features(steps: int) -> None:
    found = suggest(valley(bottom=3e-2, slope=1e-3, steps=steps))
    between_steps = 10 ** (8 / (steps - 1))
    assert found.tenth == pytest.approx(3e-3, rel=between_steps - 1)
    assert found.steepest == pytest.approx(1e-3, rel=between_steps - 1)
    assert found.rate == pytest.approx(math.sqrt(3e-6), rel=between_steps - 1 + 0.05)


def test_noise_before_the_descent_does_not_lead_astray() -> None:
    clean = valley(bottom=3e-2, slope=1e-3)
    found = []
    for seed in range(20):
        noisy = clean.losses + np.random.default_rng(seed).normal(0, 0.3, clean.planned)
        found.append(suggest(Curve(clean.rates, noisy, smooth(noisy, 15), clean.planned, True)))
    assert all(3e-4 < reading.steepest < 3e-2 for reading in found)
    assert all(3e-4 < reading.rate < 3e-2 for reading in found)


def test_a_loss_that_never_falls_gives_no_rate() -> None:
    rates = np.geomspace(1e-7, 10, 100)
    rising = np.linspace(1, 4, 100)
    with pytest.raises(ConfigError, match=r"did not fall while the learning rate went from 1e-07 to 1e\+01.*--lowest"):
        suggest(Curve(rates, rising, rising, 100, True))


def test_the_cap_holds_the_suggestion_and_says_so() -> None:
    capped = suggest(valley(bottom=3e-2, slope=1e-3), cap=1e-4)
    assert capped.rate == 1e-4
    assert "overshoots: 1e-04 is suggested" in (capped.warning() or "")
    low = Suggestion(steepest=2e-5, tenth=2e-5, cap=1e-4)
    assert (low.rate, low.warning()) == (2e-5, None)


def test_only_pretrained_blocks_under_adam_have_a_cap(tiny_bert: Any) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    everything, head, block = (
        list(part.parameters()) for part in (model, model.classifier, model.bert.encoder.layer[3])
    )
    adam, sgd_ = LazyAdamW(head, fused=True), torch.optim.SGD(head, lr=1.0)
    assert rate_cap(model, everything, adam) == rate_cap(model, [*head, *block], adam) == TRANSFORMER_CAP
    assert rate_cap(model, head, adam) is None
    assert rate_cap(model, everything, sgd_) is None
    adapted = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    add_adapter(adapted, "task", design_of("houlsby"))
    learning = [*adapter_tensors(adapted, "task").values(), *adapted.classifier.parameters()]
    assert rate_cap(adapted, learning, adam) is None  # the encoder is as it was
    assert rate_cap(adapted, [*learning, *adapted.bert.encoder.layer[3].parameters()], adam) == TRANSFORMER_CAP
    pooled = PooledClassifier.assemble(model.bert, torch.zeros(2, 32), torch.zeros(2))
    assert rate_cap(pooled, pooled.parameters(), adam) == TRANSFORMER_CAP
    student = BiLSTM(BiLSTMConfig(vocab_size=9, num_labels=2))
    assert rate_cap(student, student.parameters(), adam) is None
