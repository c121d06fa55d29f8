"""The contrastive objective, against a slow loop over pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from understudy.data.batches.pairs.batches import PairBatches
from understudy.data.tokens.encode import Encoded
from understudy.objectives.contrastive import Contrastive


class Bag(nn.Module):
    """The mean of a text's embeddings."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(30, 5).double()

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask[..., None]
        return (self.table(input_ids) * weights).sum(1) / weights.sum(1)


def source(max_tokens: int, labels: np.ndarray, *, side: str = "right", piece: int | None = None) -> PairBatches:
    offsets = np.array([0, 3, 5, 9, 10, 12, 15])
    ids = np.random.default_rng(0).integers(1, 30, offsets[-1]).astype(np.int32)
    encoded = Encoded(ids, offsets, None, 0, side, "")
    names = ("input_ids", "attention_mask")
    return PairBatches(encoded, labels, names=names, batch_size=6, max_tokens=max_tokens, seed=0, piece_tokens=piece)


def loss(model: nn.Module, batches: Any) -> Tensor:
    """As the loop divides it: each term by its count in the whole step."""
    objective = Contrastive(model)
    [window] = batches.windows(0)
    total = torch.zeros((), dtype=torch.float64)
    for batch in window:
        terms = objective(batch)
        assert tuple(term.name for term in terms) == objective.terms
        for term in terms:
            total = total + term.weight * term.sum / max(1, sum(part.counts[term.per] for part in window))
    return total


SINGLE = np.array([0, 1, 0, 1, 1, 2])
MULTI = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0], [0, 1]], np.float32)


@pytest.mark.parametrize("labels", [SINGLE, MULTI], ids=["classes", "several labels"])
@pytest.mark.parametrize("max_tokens", [1000, 12, 1], ids=["whole", "cut", "pair by pair"])
def test_loss_and_gradient_are_those_of_a_loop_over_all_pairs(labels: np.ndarray, max_tokens: int) -> None:
    model = Bag()
    batches = source(max_tokens, labels)
    errors: dict[bool, list[Tensor]] = {True: [], False: []}
    vectors = [
        model.table(torch.from_numpy(batches.encoded.row(i).astype(np.int64))).mean(0) for i in range(len(labels))
    ]
    for i in range(len(labels)):
        for j in range(i):
            same = labels[i] == labels[j] if labels.ndim == 1 else bool((labels[i] * labels[j]).any())
            errors[bool(same)].append((torch.cosine_similarity(vectors[i], vectors[j], dim=0) - float(same)) ** 2)
    expected = (torch.stack(errors[True]).mean() + torch.stack(errors[False]).mean()) / 2
    found = loss(model, batches)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value, model.table.weight)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_are_encoded_in_pieces_with_less_padding(side: str) -> None:
    whole, cut = source(1000, SINGLE, side=side), source(1000, SINGLE, side=side, piece=6)
    [[batch]] = cut.windows(0)
    pieces = list(batch.pieces())  # type: ignore[attr-defined]
    assert len(pieces) > 2
    assert sum(len(piece["input_ids"]) for piece in pieces) == 6
    assert all(piece["attention_mask"].sum(1).max() == piece["input_ids"].shape[1] for piece in pieces)
    assert cut.padding_ratio() < whole.padding_ratio()
    model = Bag()
    torch.testing.assert_close(loss(model, cut), loss(model, whole))


def test_terms_without_a_pair_are_zero_with_a_zero_gradient() -> None:
    model = Bag()
    for labels, empty in ((np.zeros(6, np.int64), 1), (np.arange(6), 0)):
        [[batch]] = source(1000, labels).windows(0)
        term = Contrastive(model)(batch)[empty]  # type: ignore[arg-type]
        assert batch.counts[term.per] == 0
        assert term.sum.item() == 0
        (gradient,) = torch.autograd.grad(term.sum, model.table.weight)
        assert not gradient.any()
