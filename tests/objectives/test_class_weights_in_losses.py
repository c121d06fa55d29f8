"""The label loss with weights for the classes, against a slow loop and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from understudy.objectives.supervised import label_term

WEIGHTS = (0.5, 3.0, 1.0)


def test_the_term_is_the_sum_of_weighted_rows() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 1, -100, 0])
    term = label_term(logits, labels, "single_label", class_weights=WEIGHTS)
    rows = enumerate(labels.tolist())
    slow = sum(-WEIGHTS[y] * logits[i].log_softmax(-1)[y].item() for i, y in rows if y >= 0)
    assert term.sum.item() == pytest.approx(slow, rel=1e-6)
    assert term.per == "labelled"
    known = labels >= 0
    theirs = F.cross_entropy(logits[known], labels[known], weight=torch.tensor(WEIGHTS), reduction="sum")
    torch.testing.assert_close(term.sum, theirs)
    none = label_term(logits, torch.full((6,), -100), "single_label", class_weights=WEIGHTS)
    assert none.sum.item() == 0


def test_equal_weights_change_nothing() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    plain = label_term(logits, labels, "single_label")
    assert torch.equal(plain.sum, label_term(logits, labels, "single_label", class_weights=(1.0, 1.0, 1.0)).sum)
