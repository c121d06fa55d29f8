"""Distances between hidden states, attention and relations, against plain loops and the papers' equations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from understudy.functional.state_distances import (
    attention_mse,
    attention_scores,
    hidden_cosine,
    hidden_mse,
    log_relation,
    relation_kl,
)

ROWS, TOKENS, WIDTH, HEADS = 3, 6, 12, 4
LENGTHS = (6, 3, 1)


@pytest.fixture
def mask() -> Tensor:
    """Rows of 6, 3 and 1 real tokens."""
    return torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]


@pytest.fixture
def packed() -> Tensor:
    """Rows of two texts end to end, then padding."""
    text = torch.tensor([[1, 1, 1, 2, 2, 2], [1, 2, 2, 2, 0, 0], [1, 0, 0, 0, 0, 0]])
    return (text[:, :, None] == text[:, None, :]) & (text > 0)[:, :, None]


def states(seed: int, width: int = WIDTH) -> Tensor:
    return torch.randn(ROWS, TOKENS, width, generator=torch.Generator().manual_seed(seed))


def attention(seed: int) -> Tensor:
    return torch.randn(ROWS, HEADS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(seed))


def slow_relation(vectors: np.ndarray, seen: list[int], token: int) -> np.ndarray:
    """One row of a relation, a dot product at a time: ``(tokens seen,)``."""
    scores = [float(np.dot(vectors[token], vectors[other])) / math.sqrt(vectors.shape[-1]) for other in seen]
    return scipy.special.softmax(np.array(scores))


def slow_relation_kl(student: Tensor, teacher: Tensor, heads: int, pairs: np.ndarray) -> np.ndarray:
    """MiniLMv2's equations (section 3.1) written out, over the tokens that each may attend to."""
    out = np.zeros((ROWS, heads, TOKENS))
    for row in range(ROWS):
        for head in range(heads):
            cut = [
                np.split(part[row].double().numpy(), heads, axis=-1)[head]  # (tokens, width of a relation head)
                for part in (student, teacher)
            ]
            for token in range(TOKENS):
                seen = [other for other in range(TOKENS) if pairs[row, token, other]]
                if token in seen:
                    q, p = (slow_relation(vectors, seen, token) for vectors in cut)
                    out[row, head, token] = scipy.stats.entropy(p, q)
    return out


def test_cosine_is_scipys(mask: Tensor) -> None:
    student, teacher = states(0), states(1)
    found = hidden_cosine(student, teacher, mask)
    for row, length in enumerate(LENGTHS):
        for token in range(TOKENS):
            expected = scipy.spatial.distance.cosine(student[row, token], teacher[row, token])
            assert found[row, token].item() == pytest.approx(expected if token < length else 0.0, abs=1e-6)


def test_cosine_minds_the_direction_alone() -> None:
    student = states(0)
    torch.testing.assert_close(hidden_cosine(3 * student, student), torch.zeros(ROWS, TOKENS), atol=1e-6, rtol=0)
    torch.testing.assert_close(hidden_cosine(-student, student), torch.full((ROWS, TOKENS), 2.0))


def test_mse_is_a_mean_over_the_width(mask: Tensor) -> None:
    student, teacher = states(0), states(1)
    expected = ((student - teacher).double().numpy() ** 2).mean(-1) * mask.numpy()
    np.testing.assert_allclose(hidden_mse(student, teacher, mask), expected, rtol=1e-5)


def test_attention_scores_are_those_of_torch() -> None:
    """softmax(scores) V is what torch's own attention returns."""
    query, key, value = states(0), states(1), states(2)
    cut = [part.view(ROWS, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2) for part in (query, key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(*cut)
    found = attention_scores(query, key, heads=HEADS).softmax(-1) @ cut[2]
    torch.testing.assert_close(found, expected)


def test_scores_and_relations_are_float32_in_mixed_precision() -> None:
    """Near the end of training they are small differences of large numbers."""
    student = states(0)
    teacher = student + 1e-2 * states(1)
    scores, apart = attention_scores(student, teacher, heads=HEADS), relation_kl(student, teacher, heads=HEADS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention_scores(student, teacher, heads=HEADS)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, scores)
        torch.testing.assert_close(relation_kl(student, teacher, heads=HEADS), apart)


@pytest.mark.parametrize("name", ["cosine", "mse", "attention"])
def test_half_precision_is_computed_in_float32(name: str) -> None:
    """For states that are close, as at the end of training, half of float16's digits would be lost."""
    distance, student, _ = distances(None)[name]
    half = student.half()
    near = (half.float() * 1.01).half()
    found = distance(half, near)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distance(half.float(), near.float()), rtol=1e-5, atol=1e-7)


def test_attention_mse_is_tinyberts_over_the_real_tokens(mask: Tensor, packed: Tensor) -> None:
    student, teacher = attention(0), attention(1)
    for given_mask in (mask, packed):
        pairs = packed if given_mask is packed else mask[:, None, :] & mask[:, :, None]
        found = attention_mse(student, teacher, given_mask)
        for row in range(ROWS):
            for token in range(TOKENS):
                seen = pairs[row, token]
                for head in range(HEADS):
                    expected = 0.0
                    if seen[token]:
                        difference = (student - teacher)[row, head, token][seen]
                        expected = float((difference**2).mean())
                    assert found[row, head, token].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(attention_mse(student, teacher), (student - teacher).square().mean(-1))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relation_is_the_papers_loop(heads: int, mask: Tensor, packed: Tensor) -> None:
    student, teacher = states(0, 12), states(1, 20)
    real = (mask[:, None, :] & mask[:, :, None]).numpy()
    everything = np.ones((ROWS, TOKENS, TOKENS), bool)
    for given_mask, pairs in ((mask, real), (packed, packed.numpy()), (None, everything)):
        found = relation_kl(student, teacher, heads=heads, mask=given_mask)
        expected = slow_relation_kl(student, teacher, heads, pairs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_relation_is_a_distribution_over_the_tokens_in_sight(packed: Tensor) -> None:
    shares = log_relation(states(0), heads=2, mask=packed).exp()
    real = packed.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(shares.sum(-1).transpose(1, 2)[real], torch.ones(int(real.sum()), 2))
    hidden = ~packed & real[:, :, None]
    assert (shares.transpose(0, 1)[:, hidden] == 0).all()


def test_the_value_for_two_orthogonal_tokens() -> None:
    """By hand: A = (a, 0), (0, a) with a² / sqrt(2) = log 3 gives rows (3/4, 1/4), compared with uniform rows."""
    a = math.sqrt(math.log(3) * math.sqrt(2))
    teacher = torch.tensor([[[a, 0.0], [0.0, a]]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = relation_kl(torch.zeros(1, 2, 4), teacher, heads=1)
    torch.testing.assert_close(found, torch.full((1, 1, 2), expected))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 999), order=st.permutations(range(HEADS)))
def test_relation_knows_no_order_of_heads(seed: int, order: list[int]) -> None:
    student, teacher = states(seed, 12), states(seed + 1, 20)

    def reordered(vectors: Tensor) -> Tensor:
        cut = vectors.view(ROWS, TOKENS, HEADS, -1)
        return cut[:, :, order].flatten(2)

    before = relation_kl(student, teacher, heads=HEADS)
    after = relation_kl(reordered(student), reordered(teacher), heads=HEADS)
    torch.testing.assert_close(after, before[:, order])
    torch.testing.assert_close(after.sum(1), before.sum(1))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 999))
def test_a_relation_survives_a_rotation_of_its_head(seed: int) -> None:
    """Only inner products count: an orthogonal matrix within each head changes nothing."""
    teacher = states(seed)
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH // HEADS, WIDTH // HEADS))
    turned = (teacher.view(ROWS, TOKENS, HEADS, -1) @ rotation).flatten(2)
    assert relation_kl(turned, teacher, heads=HEADS).abs().max() < 1e-5


def distances(mask: Tensor | None) -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]]:
    return {
        "cosine": (lambda s, t: hidden_cosine(s, t, mask), states(0), states(1)),
        "mse": (lambda s, t: hidden_mse(s, t, mask), states(0), states(1)),
        "attention": (lambda s, t: attention_mse(s, t, mask), attention(0), attention(1)),
        "relation": (lambda s, t: relation_kl(s, t, heads=2, mask=mask), states(0), states(1)),
    }


NAMES = tuple(distances(None))


@pytest.mark.parametrize("name", NAMES)
def test_equal_inputs_are_at_no_distance(name: str, mask: Tensor, packed: Tensor) -> None:
    for chosen in (None, mask, packed):
        distance, student, _ = distances(chosen)[name]
        torch.testing.assert_close(distance(student, student), torch.zeros_like(distance(student, student)))


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name: str, mask: Tensor) -> None:
    """The numbers at padding do not matter, and a row alone gives the same values as among longer rows."""
    distance, student, teacher = distances(mask)[name]
    expected = distance(student, teacher)
    noisy = [part.clone() for part in (student, teacher)]
    for part in noisy:
        if name == "attention":
            part.masked_fill_(~mask[:, None, None], 1e4)
            part.masked_fill_(~mask[:, None, :, None], -1e4)
        else:
            part[~mask] = 1e4
    torch.testing.assert_close(distance(*noisy), expected)
    assert (expected.transpose(1, -1)[~mask] == 0).all()
    for row, length in enumerate(LENGTHS):
        cut = [
            part[row : row + 1, :, :length, :length] if name == "attention" else part[row : row + 1, :length]
            for part in (student, teacher)
        ]
        alone = distances(None)[name][0](*cut)
        torch.testing.assert_close(alone[0], expected[row, ..., :length])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_the_students_alone(name: str, mask: Tensor, packed: Tensor) -> None:
    for chosen in (mask, packed):
        distance, student, teacher = distances(chosen)[name]
        student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
        with torch.no_grad():
            if name != "attention":
                student[0, 0] = 0.0  # a state of length zero
        distance(student, teacher).sum().backward()
        assert teacher.grad is None
        assert student.grad is not None
        assert student.grad.isfinite().all()
        real = mask if chosen is mask else packed.diagonal(dim1=1, dim2=2)
        if name != "attention":
            assert (student.grad[~real] == 0).all()
        assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_derivatives(name: str, mask: Tensor) -> None:
    distance, student, teacher = distances(mask)[name]
    step, direction = 1e-2, torch.randn(student.shape, generator=torch.Generator().manual_seed(5))
    student = student.requires_grad_()
    distance(student, teacher).sum().backward()
    assert student.grad is not None
    with torch.no_grad():
        ahead, behind = (distance(student + sign * step * direction, teacher).double().sum() for sign in (1, -1))
        slope = (student.grad.double() * direction).sum().item()
    assert (ahead - behind).item() / (2 * step) == pytest.approx(slope, rel=5e-3)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"one shape, but theirs are \(3, 6, 12\) and \(3, 6, 20\)"):
        hidden_mse(states(0), states(1, 20))
    with pytest.raises(ValueError, match="one shape"):
        attention_mse(attention(0), attention(0)[:, :2])
    with pytest.raises(ValueError, match="5 heads must divide the width of the vectors, but that is 12"):
        relation_kl(states(0), states(1, 20), heads=5)
    with pytest.raises(ValueError, match="the same rows and tokens"):
        relation_kl(states(0), states(1)[:, :4], heads=2)
