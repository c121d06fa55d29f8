"""Drawn words: how often each is drawn, and that losses and gradients from them are unbiased."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.functional import chunks
from understudy.functional.drawn_words import chunked_cross_entropy_and_drawn_kl, draw_words, drawn_kl
from understudy.functional.logit_distances import forward_kl

POSITIONS, WORDS, COUNT, TEMPERATURE = 5, 30, 7, 2.0


@pytest.fixture
def teacher() -> Tensor:
    torch.manual_seed(0)
    return 4 * torch.randn(POSITIONS, WORDS, dtype=torch.float64)


def times(words: Tensor) -> Tensor:
    """How often each word was drawn, ``(positions, vocabulary)``."""
    return F.one_hot(words, WORDS).sum(1).double()


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.999999])
def test_every_word_comes_as_often_as_it_is_likely_but_for_one_time(teacher: Tensor, offset: float) -> None:
    words, entropy = draw_words(teacher, torch.full((POSITIONS,), offset), count=COUNT, temperature=TEMPERATURE)
    likely = (teacher / TEMPERATURE).softmax(-1)
    assert words.shape == (POSITIONS, COUNT)
    assert ((times(words) - COUNT * likely).abs() < 1).all()
    torch.testing.assert_close(
        entropy.double(), torch.distributions.Categorical(likely).entropy(), rtol=1e-6, atol=1e-6
    )


def test_draws_are_those_of_a_plain_loop(teacher: Tensor) -> None:
    offsets = torch.rand(POSITIONS, dtype=torch.float64)
    words, _ = draw_words(teacher, offsets, count=COUNT, temperature=TEMPERATURE)
    for position in range(POSITIONS):
        likely = np.exp(teacher[position].numpy() / TEMPERATURE)
        likely /= likely.sum()
        for j in range(COUNT):
            pick, word, end = (offsets[position].item() + j) / COUNT, 0, likely[0]
            while pick >= end:
                word += 1
                end += likely[word]
            assert words[position, j] == word


@pytest.mark.parametrize("scores", [[-200.0, 90.0, -200.0], [50.0, 50.0, -torch.inf], [0.0, -torch.inf, 0.0]])
def test_words_that_cannot_be_are_never_drawn(scores: list[float]) -> None:
    logits = torch.tensor([scores])
    words, entropy = draw_words(logits, torch.tensor([1 - 2**-53], dtype=torch.float64), count=64)
    assert (logits[0, words] > logits.max() - 1).all()
    assert entropy.isfinite().all()


def test_value_and_gradient_are_right_on_average(teacher: Tensor) -> None:
    """The mean over evenly spaced offsets equals the mean over all offsets, up to what one step can change."""
    student = torch.randn(POSITIONS, WORDS, dtype=torch.float64, requires_grad=True)
    exact = forward_kl(student, teacher, temperature=TEMPERATURE)
    (wanted,) = torch.autograd.grad(exact.sum(), student)
    values, slopes, offsets = torch.zeros(POSITIONS, dtype=torch.float64), torch.zeros_like(student), 400
    apart = []
    for step in range(offsets):
        offset = torch.full((POSITIONS,), (step + 0.5) / offsets, dtype=torch.float64)
        words, entropy = draw_words(teacher, offset, count=COUNT, temperature=TEMPERATURE)
        found = drawn_kl(student, words, entropy, temperature=TEMPERATURE)
        apart.append((found - exact).abs().max().item())
        values += found.detach() / offsets
        slopes += torch.autograd.grad(found.sum(), student)[0] / offsets
    torch.testing.assert_close(values, exact.detach(), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(slopes, wanted, rtol=0, atol=2e-3)
    assert max(apart) > 0.1  # a single draw is far off


def test_with_many_words_the_distance_is_that_of_the_distributions(teacher: Tensor) -> None:
    student = torch.randn(POSITIONS, WORDS, dtype=torch.float64)
    words, entropy = draw_words(teacher, torch.rand(POSITIONS), count=100_000, temperature=TEMPERATURE)
    found = drawn_kl(student, words, entropy, temperature=TEMPERATURE)
    torch.testing.assert_close(found, forward_kl(student, teacher, temperature=TEMPERATURE), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("rows", [2**17, 2 * WORDS], ids=["at once", "by rows"])
def test_chunks_and_one_pass_change_nothing(
    teacher: Tensor, chunk: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_CACHED", rows)
    words, entropy = draw_words(teacher, torch.rand(POSITIONS), count=COUNT, temperature=TEMPERATURE)
    hidden = torch.randn(POSITIONS, 6, dtype=torch.float64, requires_grad=True)
    head, targets = torch.nn.Linear(6, WORDS).double(), torch.randint(WORDS, (POSITIONS,))
    entropy = entropy.double()
    found = chunked_cross_entropy_and_drawn_kl(
        hidden, head, words, entropy, targets, temperature=TEMPERATURE, chunk=chunk
    )
    logits = head(hidden)
    expected = (
        F.cross_entropy(logits, targets, reduction="none"),
        drawn_kl(logits, words, entropy, temperature=TEMPERATURE),
    )
    weights = torch.rand(2, POSITIONS, dtype=torch.float64)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)
    one, other = (
        torch.autograd.grad(sum((w * part).sum() for w, part in zip(weights, parts)), [hidden, *head.parameters()])
        for parts in (found, expected)
    )
    torch.testing.assert_close(one, other)
