"""The head of ULMFiT's classifier, with a batch-norm that also works for a few rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PRIOR, _MEMORY = 4, 320
"""In :class:`SmallBatchNorm`: how many rows join each batch, and over how many rows the running statistics average."""


class SmallBatchNorm(nn.Module):
    r"""Batch-norm for batches of any size: four more rows, with the running statistics, join each batch.

    .. math:: y = w\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + b

    In training, the mean and the (biased) variance are those of the batch and the four rows together. The running
    statistics are those of the last few hundred rows; they describe the four rows, and are used alone in evaluation.

    For a large batch this is batch-norm. A micro-batch of long documents has few rows: of two rows batch-norm would keep
    only the signs, of one row nothing. As in batch-norm, no value is more than :math:`\sqrt{n + 4}` deviations from the
    mean, and the gradient passes through the batch's share of the statistics. Running statistics alone would not do:
    whatever moves all rows of a batch at once, such as a draw of dropped weights, would make them outliers.

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 1; Ioffe 2017, arXiv 1702.03275, on small batches.

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
        """Standardised rows ``(rows, width)``."""
        if self.training:
            mean, variance = self._batch_statistics(rows.to(torch.promote_types(rows.dtype, torch.float32)))
        else:
            mean, variance = self.running_mean, self.running_var
        return self._standardised(rows, mean, variance)

    @torch.no_grad()
    def begin_with(self, rows: Tensor) -> Tensor:
        """Let the running statistics be those of these rows alone. The rows are given back standardised by them.

        Example:
            >>> norm, rows = SmallBatchNorm(1).eval(), torch.tensor([[1.0], [3.0]])
            >>> bool((norm.begin_with(rows) == norm(rows)).all()), norm.running_mean.item()
            (True, 2.0)
        """
        self.rows_seen.zero_()
        return self._standardised(rows, *self._batch_statistics(rows))

    def _standardised(self, rows: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        # written out, because torch's own does not take rows in half precision with statistics in single precision
        return ((rows - mean) * (self.weight * (variance + self.eps).rsqrt()) + self.bias).to(rows.dtype)

    def _batch_statistics(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance to standardise these rows with. The running statistics are updated with the rows."""
        count, total = len(rows), self.rows_seen + len(rows)
        applied = self._mixed(rows, count / (count + self.rows_seen.clamp(max=_PRIOR)))
        with torch.no_grad():
            share = (count / total).clamp(min=count / (count + _MEMORY))
            mean, variance = self._mixed(rows, share)
            self.running_mean.copy_(mean)
            self.running_var.copy_(variance)
            self.rows_seen.copy_(total)
        return applied

    def _mixed(self, rows: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of a mixture: these rows with this share, the rows seen before with the rest."""
        # the variance of a single row is unknown: it is 1 until there is a second row, and is then forgotten
        before = torch.where(self.rows_seen > 1, self.running_var, 0.0)
        shift = rows.mean(0) - self.running_mean
        mixed = (1 - share) * before + share * (rows.var(0, correction=0) + (1 - share) * shift.square())
        return self.running_mean + share * shift, torch.where(self.rows_seen + len(rows) > 1, mixed, 1.0)


class PoolingHead(nn.Module):
    """The head of ULMFiT's classifier: norm, dropout, a small layer, ReLU; then norm, dropout, the output layer.

    Args:
        config: an ``AWDLSTMConfig``; its dropouts are read at every call.

    Reference:
        Howard & Ruder 2018, arXiv 1801.06146, section 3.3, with :class:`SmallBatchNorm` in place of batch-norm.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = 3 * config.widths[-1]
        self.pooled_norm, self.hidden = SmallBatchNorm(width), nn.Linear(width, config.head_size)
        self.hidden_norm, self.output = SmallBatchNorm(config.head_size), nn.Linear(config.head_size, config.num_labels)

    @property
    def carries_linear(self) -> bool:
        """Whether it can begin as a linear model of what it reads: whether there is a hidden unit for each output."""
        return self.hidden.out_features >= self.output.out_features

    @torch.no_grad()
    def begin_with(self, pooled: Tensor) -> Tensor:
        """Let both norms have the statistics of pooled vectors ``(rows, 3 * width)`` alone.

        Returns:
            What the output layer then reads of them in evaluation, ``(rows, head_size)``.
        """
        return self.hidden_norm.begin_with(self.hidden(self.pooled_norm.begin_with(pooled)).relu())

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(rows, outputs)`` of pooled vectors ``(rows, 3 * width)``."""
        below = F.dropout(self.pooled_norm(pooled), self.config.rate("output_dropout"), self.training)
        above = F.dropout(self.hidden_norm(self.hidden(below).relu()), self.config.rate("head_dropout"), self.training)
        return self.output(above)
