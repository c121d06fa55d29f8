"""Functions computed a part at a time against the same functions all at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from understudy.functional import chunks
from understudy.functional.chunks import by_rows, in_chunks


def test_dropout_in_a_head_is_the_same_when_computed_again() -> None:
    """A new mask in the backward pass would give the gradient of another function."""
    hidden = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    drop = nn.Dropout(0.5)
    found = in_chunks(lambda rows: (drop(rows).sum(-1),), hidden, chunk=2)[0]
    (gradient,) = torch.autograd.grad(found.sum(), hidden)
    torch.testing.assert_close(gradient.sum(-1), found.detach())


def test_chunks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk must be positive"):
        in_chunks(lambda x: (x,), torch.ones(3), chunk=0)
    with pytest.raises(ValueError, match="the same number of positions"):
        in_chunks(lambda x, y: (x,), torch.ones(3), torch.ones(2), chunk=1)


def test_rows_by_themselves_are_all_at_once_whatever_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 30, dtype=torch.float64, requires_grad=True)
    others = torch.randn(7, 30, dtype=torch.float64)
    monkeypatch.setattr(chunks, "_CACHED", 90)
    functions: dict[str, Callable[..., tuple[Tensor, ...]]] = {
        "one": lambda x, y: ((x * y).sum(-1).square(),),
        "two": lambda x, y: ((x * y).sum(-1).square(), x.logsumexp(-1) * y[:, 0]),
        "one without a slope somewhere": lambda x, y: (x[:, 0] * y[:, 0].clamp(min=0),),
    }
    for name, function in functions.items():
        found, expected = by_rows(function, logits, others), function(logits, others)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14, msg=name)
        weights = torch.arange(1.0, 8.0, dtype=torch.float64)
        (one,), (other,) = (
            torch.autograd.grad(sum(weights**i * v for i, v in enumerate(values)).sum(), logits)  # type: ignore[union-attr]
            for values in (found, expected)
        )
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14, msg=name)
