"""From a document's states to an answer: rows set flush, documents cut into pieces, the head of ULMFiT's classifier."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.students.student import recorded

_PRIOR, _MEMORY = 4, 320
"""Of :class:`SmallBatchNorm`: the rows that join each batch, and those over which the running statistics average."""


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


def document_spans(tokens: int, size: int, *, cut: int) -> list[tuple[int, int]]:
    """Begins and ends of the pieces of a document, none longer than `size`; one of them begins at `cut`.

    Example:
        >>> document_spans(10, 4, cut=5)
        [(0, 4), (4, 5), (5, 9), (9, 10)]
    """
    begins = [*range(0, cut, size), *range(cut, tokens, size)]
    return list(zip(begins, [*begins[1:], tokens]))


class SmallBatchNorm(nn.Module):
    r"""Batch-norm for batches of any size: in each stand four more rows, which have the running statistics.

    .. math:: y = w\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + b

    with the mean and the variance, biased, of the batch and those four rows together; in evaluation, and for the four,
    those of the last few hundred rows. Of a large batch it is batch-norm. Of a few rows, as long documents leave in a
    micro-batch, or of one, batch-norm would leave their signs or nothing. As in batch-norm no value is more than
    :math:`\sqrt{n + 4}` deviations out, and the gradient goes through the batch's share of the statistics; with running
    statistics alone, whatever moves all rows of a batch at once, such as a draw of dropped weights, is an outlier.

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 1; on the trouble with few rows Ioffe 2017, arXiv 1702.03275.

    Example:
        >>> norm, rows = SmallBatchNorm(1), torch.tensor([[1.0], [3.0]])
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
            mean, variance = self._taking_in(rows.to(torch.promote_types(rows.dtype, torch.float32)))
        else:
            mean, variance = self.running_mean, self.running_var
        # written out: torch's own takes no rows in half precision with statistics in single
        return ((rows - mean) * (self.weight * (variance + self.eps).rsqrt()) + self.bias).to(rows.dtype)

    def _taking_in(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics to apply to rows; the running ones then have them in."""
        count, total = len(rows), self.rows_seen + len(rows)
        applied = self._joined(rows, count / (count + self.rows_seen.clamp(max=_PRIOR)))
        with torch.no_grad():
            share = (count / total).clamp(min=count / (count + _MEMORY))
            mean, variance = self._joined(rows, share)
            self.running_mean.copy_(mean)
            self.running_var.copy_(variance)
            self.rows_seen.copy_(total)
        return applied

    def _joined(self, rows: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of a mixture of which the rows have this share, and what was seen before the rest."""
        # of a single row the spread is unknown: it is 1 until there is a second, and then as if never set
        before = torch.where(self.rows_seen > 1, self.running_var, 0.0)
        shift = rows.mean(0) - self.running_mean
        mixed = (1 - share) * before + share * (rows.var(0, correction=0) + (1 - share) * shift.square())
        return self.running_mean + share * shift, torch.where(self.rows_seen + len(rows) > 1, mixed, 1.0)


class PoolingHead(nn.Module):
    """Norm, dropout, a small layer, ReLU; norm, dropout, the output: the head of ULMFiT's classifier.

    Args:
        config: an ``AWDLSTMConfig``; its dropouts are looked up at every call.

    Reference:
        Howard & Ruder 2018, arXiv 1801.06146, section 3.3, with :class:`SmallBatchNorm` for batch-norm.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = 3 * config.widths[-1]
        self.pooled_norm, self.hidden = SmallBatchNorm(width), nn.Linear(width, config.head_size)
        self.hidden_norm, self.output = SmallBatchNorm(config.head_size), nn.Linear(config.head_size, config.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(rows, outputs)`` of pooled vectors ``(rows, 3 * width)``."""
        below = F.dropout(self.pooled_norm(pooled), self.config.rate("output_dropout"), self.training)
        above = F.dropout(self.hidden_norm(self.hidden(below).relu()), self.config.rate("head_dropout"), self.training)
        return self.output(above)
