"""Chunked losses against torch's own on all logits at once: values, gradients, and what autograd keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.functional import chunks
from understudy.functional.logit_distances import reverse_kl
from understudy.functional.vocabulary_loss import (
    IGNORED,
    chunked_cross_entropy,
    chunked_cross_entropy_and_distillation,
    chunked_distillation,
    positions_at_once,
    vocabulary_scores,
)

POSITIONS, WIDTH, WORDS = 13, 6, 40
CHUNKS = [1, 4, 12, 13, 100]


@pytest.fixture(params=[2**17, 100], ids=["at once", "by rows"])
def _rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs twice: losses of all positions at once, and of two rows at a time."""
    monkeypatch.setattr(chunks, "_CACHED", request.param)


pytestmark = pytest.mark.usefixtures("_rows")


def head_of(width: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(width, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, WORDS)).double()


@pytest.fixture
def student() -> tuple[Tensor, nn.Sequential]:
    torch.manual_seed(0)
    return torch.randn(POSITIONS, WIDTH, dtype=torch.float64, requires_grad=True), head_of(WIDTH, 1)


@pytest.fixture
def teacher() -> tuple[Tensor, nn.Sequential]:
    """A teacher of another width with trainable inputs and weights, so that a gradient into it would show."""
    torch.manual_seed(2)
    return torch.randn(POSITIONS, WIDTH + 3, dtype=torch.float64, requires_grad=True), head_of(WIDTH + 3, 3)


@pytest.fixture
def targets() -> Tensor:
    torch.manual_seed(4)
    words = torch.randint(WORDS, (POSITIONS,))
    words[[2, 9]] = IGNORED
    return words


def gradients(losses: Tensor, hidden: Tensor, head: nn.Module) -> list[Tensor]:
    """Gradients of a sum in which every position has a different weight."""
    weights = torch.arange(1, len(losses) + 1, dtype=torch.float64)
    return list(torch.autograd.grad((weights * losses).sum(), [hidden, *head.parameters()]))


def same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_cross_entropy_is_torchs(student: tuple[Tensor, nn.Sequential], targets: Tensor, chunk: int) -> None:
    hidden, head = student
    expected = F.cross_entropy(head(hidden), targets, reduction="none")
    found = chunked_cross_entropy(hidden, head, targets, chunk=chunk)
    same([found], [expected])
    assert found[2] == found[9] == 0
    same(gradients(found, hidden, head), gradients(expected, hidden, head))


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_is_torchs_divergence(
    student: tuple[Tensor, nn.Sequential], teacher: tuple[Tensor, nn.Sequential], chunk: int, temperature: float
) -> None:
    logits, wanted = student[1](student[0]) / temperature, teacher[1](teacher[0]).detach() / temperature
    divergence = F.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), reduction="none", log_target=True)
    expected = temperature**2 * divergence.sum(-1)
    found = chunked_distillation(*student, *teacher, temperature=temperature, chunk=chunk)
    same([found], [expected])
    same(gradients(found, *student), gradients(expected, *student))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_both_at_once_are_the_two(
    student: tuple[Tensor, nn.Sequential],
    teacher: tuple[Tensor, nn.Sequential],
    targets: Tensor,
    chunk: int,
) -> None:
    entropy, apart = chunked_cross_entropy_and_distillation(
        *student, *teacher, targets, temperature=2.0, distance=reverse_kl, chunk=chunk
    )
    expected = F.cross_entropy(student[1](student[0]), targets, reduction="none")
    distance = reverse_kl(student[1](student[0]), teacher[1](teacher[0]), temperature=2.0)
    same([entropy, apart], [expected, distance])
    same(gradients(entropy + 3 * apart, *student), gradients(expected + 3 * distance, *student))


def test_the_teacher_gets_no_gradient(
    student: tuple[Tensor, nn.Sequential], teacher: tuple[Tensor, nn.Sequential]
) -> None:
    for chunk in (4, 100):
        chunked_distillation(*student, *teacher, chunk=chunk).sum().backward()
    assert teacher[0].grad is None
    assert all(parameter.grad is None for parameter in teacher[1].parameters())
    assert student[0].grad is not None


def test_no_position_is_a_finite_nothing(student: tuple[Tensor, nn.Sequential]) -> None:
    hidden, head = student
    nothing = chunked_cross_entropy(hidden[:0], head, torch.empty(0, dtype=torch.long), chunk=4)
    assert nothing.shape == (0,)
    assert all(not gradient.any() for gradient in torch.autograd.grad(nothing.sum(), list(head.parameters())))


def test_scores_are_losses_and_hits(student: tuple[Tensor, nn.Sequential], targets: Tensor) -> None:
    hidden, head = student
    losses, right = vocabulary_scores(hidden, head, targets, chunk=3)
    same([losses], [F.cross_entropy(head(hidden), targets, reduction="none")])
    assert right.tolist() == [int(row.argmax()) == word for row, word in zip(head(hidden), targets.tolist())]
    assert not losses.requires_grad


def test_half_precision_is_summed_in_full() -> None:
    hidden = torch.randn(3, 4, dtype=torch.bfloat16)
    assert chunked_cross_entropy(hidden, lambda rows: rows, torch.tensor([0, 1, 2])).dtype == torch.float32


class Counted:
    """A head that records how many positions each call had."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        self.head = head
        self.calls: list[int] = []

    def __call__(self, hidden: Tensor) -> Tensor:
        self.calls.append(len(hidden))
        return self.head(hidden)


def kept(run: Callable[[], Tensor]) -> int:
    """How many numbers autograd keeps for the backward pass."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):  # type: ignore[func-returns-value]
        run().sum()
    return sum(sizes)


def test_what_is_kept_does_not_grow_with_positions_times_vocabulary() -> None:
    head = nn.Linear(4, 500)
    hidden = torch.randn(64, 4, requires_grad=True)
    targets = torch.zeros(64, dtype=torch.long)
    whole = kept(lambda: chunked_cross_entropy(hidden, head, targets, chunk=64))
    chunked = kept(lambda: chunked_cross_entropy(hidden, head, targets, chunk=8))
    assert whole > 64 * 500
    assert chunked < 8 * 500


def test_a_chunk_is_computed_twice_only_where_there_are_several(student: tuple[Tensor, nn.Sequential]) -> None:
    targets = torch.zeros(POSITIONS, dtype=torch.long)
    for chunk, forward, backward in ((5, [5, 4, 4], [4, 4, 5]), (POSITIONS, [POSITIONS], [])):
        head = Counted(student[1])
        losses = chunked_cross_entropy(student[0], head, targets, chunk=chunk)
        assert head.calls == forward
        losses.sum().backward()
        assert head.calls[len(forward) :] == backward


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="one vocabulary"):
        chunked_distillation(torch.ones(2, 3), lambda x: x, torch.ones(2, 4), lambda x: x)


def test_a_chunk_of_any_vocabulary_stays_within_64_megabytes() -> None:
    for vocabulary in (100, 30522, 250002):
        assert positions_at_once(vocabulary) * vocabulary * 4 <= 64 * 2**20
    assert positions_at_once(10**8) == 16
