"""Distances against SciPy in float64, their laws, and their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.functional.logit_distances import (
    bernoulli_kl,
    forward_kl,
    hard_cross_entropy,
    jensen_shannon,
    logit_mse,
    reverse_kl,
    soft_cross_entropy,
)

SOFTENED = [soft_cross_entropy, forward_kl, reverse_kl, jensen_shannon, bernoulli_kl]
VANISHING = [forward_kl, reverse_kl, jensen_shannon, bernoulli_kl, logit_mse]
logits = arrays(np.float64, (4, 3), elements=st.floats(-8, 8))
temperatures = st.floats(0.5, 8)
many = settings(deadline=None, derandomize=True, max_examples=40)


def _softened(values: np.ndarray, temperature: float) -> np.ndarray:
    return scipy.special.softmax(values / temperature, axis=-1)


@many
@given(s=logits, t=logits, temperature=temperatures)
def test_soft_cross_entropy_is_kl_plus_entropy(s: np.ndarray, t: np.ndarray, temperature: float) -> None:
    p, q = _softened(t, temperature), _softened(s, temperature)
    expected = temperature**2 * (scipy.stats.entropy(p, q, axis=-1) + scipy.stats.entropy(p, axis=-1))
    found = soft_cross_entropy(torch.tensor(s), torch.tensor(t), temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@many
@given(s=logits, t=logits, temperature=temperatures)
def test_kl_both_ways(s: np.ndarray, t: np.ndarray, temperature: float) -> None:
    p, q = _softened(t, temperature), _softened(s, temperature)
    forward = forward_kl(torch.tensor(s), torch.tensor(t), temperature=temperature)
    reverse = reverse_kl(torch.tensor(s), torch.tensor(t), temperature=temperature)
    np.testing.assert_allclose(forward, temperature**2 * scipy.stats.entropy(p, q, axis=-1), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(reverse, temperature**2 * scipy.stats.entropy(q, p, axis=-1), rtol=1e-8, atol=1e-10)


@many
@given(s=logits, t=logits, temperature=temperatures)
def test_jensen_shannon_is_scipys_distance_squared(s: np.ndarray, t: np.ndarray, temperature: float) -> None:
    p, q = _softened(t, temperature), _softened(s, temperature)
    # SciPy takes a square root, which gives NaN if rounding made the sum negative.
    middle = (p + q) / 2
    by_hand = (scipy.stats.entropy(p, middle, axis=-1) + scipy.stats.entropy(q, middle, axis=-1)) / 2
    found = jensen_shannon(torch.tensor(s), torch.tensor(t), temperature=temperature).numpy() / temperature**2
    np.testing.assert_allclose(found, by_hand, atol=1e-12)
    apart = found > 1e-9
    distance = scipy.spatial.distance.jensenshannon(p[apart], q[apart], axis=-1)
    np.testing.assert_allclose(found[apart], distance**2, rtol=1e-5)


@many
@given(s=logits, t=logits)
def test_logit_mse_by_loop(s: np.ndarray, t: np.ndarray) -> None:
    plain = [sum((a - b) ** 2 for a, b in zip(one, two)) / len(one) for one, two in zip(s, t)]
    np.testing.assert_allclose(logit_mse(torch.tensor(s), torch.tensor(t)), plain, rtol=1e-12, atol=1e-12)
    without_mean = [np.mean(((one - one.mean()) - (two - two.mean())) ** 2) for one, two in zip(s, t)]
    np.testing.assert_allclose(
        logit_mse(torch.tensor(s), torch.tensor(t), centre=True), without_mean, rtol=1e-9, atol=1e-12
    )


def test_centred_mse_ignores_what_softmax_ignores() -> None:
    s, t = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    shifted = s + torch.randn(4, 1, dtype=torch.float64)
    torch.testing.assert_close(logit_mse(shifted, t, centre=True), logit_mse(s, t, centre=True))
    assert (logit_mse(shifted, t) != logit_mse(s, t)).all()


@many
@given(s=logits, t=logits, temperature=temperatures)
def test_bernoulli_kl_is_the_two_way_kl_of_each_label(s: np.ndarray, t: np.ndarray, temperature: float) -> None:
    p, q = scipy.special.expit(t / temperature), scipy.special.expit(s / temperature)
    expected = (scipy.special.rel_entr(p, q) + scipy.special.rel_entr(1 - p, 1 - q)).mean(-1) * temperature**2
    found = bernoulli_kl(torch.tensor(s), torch.tensor(t), temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("distance", VANISHING)
def test_vanishes_for_equal_logits_and_nowhere_else(distance) -> None:
    s = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(distance(s, s), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (distance(s, s.roll(1, -1)) > 0.01).all()


@pytest.mark.parametrize("distance", [*SOFTENED, logit_mse])
def test_gradient(distance) -> None:
    torch.manual_seed(0)
    s, t = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    options = {} if distance is logit_mse else {"temperature": 2.5}
    assert torch.autograd.gradcheck(lambda student: distance(student, t.detach(), **options), (s,))
    distance(s, t, **options).sum().backward()
    assert t.grad is None, "the teacher is a constant"


def test_hintons_gradient_and_its_limit_at_high_temperature() -> None:
    """Section 2: the gradient is T (q - p); section 2.1: for large T that is the centred difference over the classes."""
    s = torch.tensor([[1.0, -0.5, 0.25]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.5, 1.5, -1.0]], dtype=torch.float64)
    forward_kl(s, t, temperature=3.0).sum().backward()
    torch.testing.assert_close(s.grad, 3.0 * ((s / 3).softmax(-1) - (t / 3).softmax(-1)).detach())
    s.grad = None
    forward_kl(s, t, temperature=1e4).sum().backward()
    difference = (s - t).detach()
    torch.testing.assert_close(s.grad, (difference - difference.mean()) / 3, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("distance", SOFTENED)
def test_extreme_logits_stay_finite(distance) -> None:
    s = torch.tensor([[90.0, -90.0]], requires_grad=True)
    value = distance(s, -s.detach(), temperature=1.0)
    value.sum().backward()
    assert value.isfinite().all()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize("distance", [*SOFTENED, logit_mse])
def test_leading_dimensions_stay(distance) -> None:
    s, t = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    torch.testing.assert_close(distance(s, t).flatten(), distance(s.flatten(0, 1), t.flatten(0, 1)))
    assert distance(s[:0], t[:0]).shape == (0, 5)


@pytest.mark.parametrize("distance", [*SOFTENED, logit_mse])
def test_shapes_must_agree(distance) -> None:
    with pytest.raises(ValueError, match=r"student's is \(2, 3\) and the teacher's \(3,\)"):
        distance(torch.zeros(2, 3), torch.zeros(3))


@pytest.mark.parametrize("distance", SOFTENED)
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(distance, temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive, but is"):
        distance(torch.zeros(2, 3), torch.zeros(2, 3), temperature=temperature)


def test_hard_cross_entropy_is_that_of_the_likeliest_class() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 20, 4))
    found = hard_cross_entropy(torch.tensor(student), torch.tensor(teacher))
    expected = -scipy.special.log_softmax(student, axis=-1)[np.arange(20), teacher.argmax(-1)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="one shape"):
        hard_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 4))
