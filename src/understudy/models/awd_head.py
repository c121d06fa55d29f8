"""From a document's states to an answer: rows set flush, documents cut into pieces, the head of ULMFiT's classifier."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.student import recorded

_MEMORY = 320
"""Rows over which :class:`RunningNorm` averages: ten batches of 32."""


class Aligned(NamedTuple):
    """Rows set flush at their ends, time first."""

    ids: Tensor
    """``(tokens, rows)``."""
    absent: Tensor | None
    """``(tokens, rows, 1)``, true at the steps before a row's first token; None where there are none."""
    full_from: int
    """The step from which on every row has its token."""


def aligned(input_ids: Tensor, attention_mask: Tensor | None, *, backward: bool) -> Aligned:
    """Every row flush at its end, without steps at which no row has a token; reversed within its length if asked for.

    Args:
        input_ids: ``(rows, tokens)``.
        attention_mask: 1 at real tokens, which must be contiguous in each row; None where nothing is padding.

    Example:
        >>> ids, absent, full_from = aligned(
        ...     torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]), backward=False
        ... )
        >>> ids[full_from:].tolist(), absent[:full_from, :, 0].tolist()
        ([[6, 8], [7, 9]], [[False, True]])
    """
    if attention_mask is None:
        ids = input_ids.t()
        return Aligned(ids.flip(0) if backward else ids, None, 0)
    tokens = input_ids.shape[1]
    length = attention_mask.sum(1, keepdim=True)
    first = attention_mask.argmax(1, keepdim=True)  # padding may stand on the left
    place = torch.arange(tokens, device=input_ids.device) - (tokens - length)  # of a row's own tokens, from 0
    source = first + (length - 1 - place if backward else place)
    ids = input_ids.gather(1, source.clamp(0, tokens - 1)).t()
    absent = (place < 0).t()[..., None]
    if recorded():
        return Aligned(ids, absent, tokens)
    fewest, most = torch.stack(length.aminmax()).tolist()
    most = max(most, 1)  # a step remains where all rows are empty, with a token at none
    if fewest == most:
        return Aligned(ids[tokens - most :], None, 0)
    return Aligned(ids[tokens - most :], absent[tokens - most :], most - fewest)


def pieces(tokens: int, size: int, *, cut: int) -> list[tuple[int, int]]:
    """Begins and ends of the pieces of a document, none longer than `size`; one of them begins at `cut`.

    Example:
        >>> pieces(10, 4, cut=5)
        [(0, 4), (4, 5), (5, 9), (9, 10)]
    """
    begins = [*range(0, cut, size), *range(cut, tokens, size)]
    return list(zip(begins, [*begins[1:], tokens]))


class RunningNorm(nn.Module):
    r"""Batch-norm that standardises by the running mean and variance while it is training too.

    .. math:: y = w\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + b

    The statistics take in a batch before they are applied to it, and weigh rows, not batches: over all rows at first,
    then over a few hundred. A step is therefore nearly the same however its rows are cut into micro-batches, and a row
    alone is nothing special; the statistics of a micro-batch of a few long documents would be noise, and of one
    document there are none. They are constants to the gradient.

    Example:
        >>> norm, rows = RunningNorm(1), torch.tensor([[1.0], [3.0]])
        >>> norm(rows).detach().round(decimals=2).tolist()
        [[-1.0], [1.0]]
        >>> norm(torch.tensor([[2.0]])).item()
        0.0
    """

    running_mean: Tensor
    running_var: Tensor
    rows_seen: Tensor

    def __init__(self, width: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("rows_seen", torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        """Standardised ``(rows, width)``."""
        if self.training:
            self._take_in(rows.detach().float())
        # written out: torch's own takes no rows in half precision with statistics in single
        return (rows - self.running_mean) * (self.weight * (self.running_var + self.eps).rsqrt()) + self.bias

    @torch.no_grad()
    def _take_in(self, rows: Tensor) -> None:
        # the spread of a first row alone is unknown: it is 1 until there is a second, and then as if never set
        known = torch.where(self.rows_seen > 1, self.running_var, torch.zeros_like(self.running_var))
        self.rows_seen += len(rows)
        share = (len(rows) / self.rows_seen).clamp(min=len(rows) / (len(rows) + _MEMORY))
        shift = rows.mean(0) - self.running_mean
        mixed = (1 - share) * known + share * (rows.var(0, correction=0) + (1 - share) * shift.square())
        self.running_mean += share * shift
        self.running_var.copy_(torch.where(self.rows_seen > 1, mixed, torch.ones_like(mixed)))


class PoolingHead(nn.Module):
    """Norm, dropout, a small layer, ReLU; norm, dropout, the output: the head of ULMFiT's classifier.

    Args:
        config: an ``AWDLSTMConfig``; its dropouts are looked up at every call.

    Reference:
        Howard & Ruder 2018, arXiv 1801.06146, section 3.3, with :class:`RunningNorm` for batch-norm.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = 3 * config.widths[-1]
        self.pooled_norm, self.hidden = RunningNorm(width), nn.Linear(width, config.head_size)
        self.hidden_norm, self.output = RunningNorm(config.head_size), nn.Linear(config.head_size, config.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(rows, outputs)`` of pooled vectors ``(rows, 3 * width)``."""
        below = F.dropout(self.pooled_norm(pooled), self.config.rate("output_dropout"), self.training)
        above = F.dropout(self.hidden_norm(self.hidden(below).relu()), self.config.rate("head_dropout"), self.training)
        return self.output(above)
