"""Supervised learning: the loss that fits the kind of labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.batches.contract import Batch
from understudy.data.tasks import NO_LABEL, Kind
from understudy.models.structure.first_token import classifier_logits
from understudy.objectives.terms import Term


def has_label(labels: Tensor) -> Tensor:
    """Which rows have a label: ``(rows,)`` of bool, for class indices, numbers and multi-label rows.

    Example:
        >>> import torch
        >>> has_label(torch.tensor([1, NO_LABEL])).tolist(), has_label(torch.tensor([[0., 1.], [torch.nan] * 2])).tolist()
        ([True, False], [True, False])
    """
    if labels.is_floating_point():
        present = ~labels.isnan()
        return present if labels.ndim == 1 else present.all(-1)
    return labels != NO_LABEL


def label_loss(logits: Tensor, labels: Tensor, kind: Kind, *, class_weights: Sequence[float] | None = None) -> Tensor:
    r"""The loss that fits the kind of task: unreduced, in float32.

    .. math::
        -\log \mathrm{softmax}(z)_y, \quad
        \tfrac1K \textstyle\sum_k \mathrm{BCE}(\sigma(z_k), y_k), \quad (z - y)^2

    Args:
        logits: ``(rows, outputs)``.
        labels: ``(rows,)`` class indices, ``(rows, outputs)`` of 0 and 1, or ``(rows,)`` numbers.
        kind: single_label, multi_label or regression.
        class_weights: what a row of each class counts, of a single-label task; 1 by default.

    Returns:
        ``(rows,)``; in nats for the first two kinds, in squared units of the labels for regression.
    """
    logits = logits.float()
    if kind == "single_label":
        losses = F.cross_entropy(logits, labels, reduction="none")
        return losses if class_weights is None else losses * losses.new_tensor(class_weights)[labels]
    if kind == "multi_label":
        return F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none").mean(-1)
    return (logits.squeeze(-1) - labels.float()).square()


class Supervised(nn.Module):
    """The labels and nothing else.

    Args:
        class_weights: what a row of each class counts; 1 by default. The sum is divided by the number of rows, whatever their
            weights: so the gradient of a row does not depend on the rows beside it.
    """

    terms = ("label_loss",)

    def __init__(self, model: nn.Module, kind: Kind, *, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.kind = kind
        self.class_weights = class_weights

    def forward(self, batch: Batch) -> list[Term]:
        """The loss of the labelled rows of a micro-batch."""
        logits = classifier_logits(self.model, batch.inputs)
        return [label_term(logits, batch.labels, self.kind, class_weights=self.class_weights)]


def label_term(
    logits: Tensor,
    labels: Tensor | None,
    kind: Kind,
    *,
    weight: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Term:
    """The loss of the labelled rows as a term: zero, with a zero gradient, where no row has a label.

    Args:
        weight: of the term.
        class_weights: of the rows, by their class.
    """
    if labels is None:
        return Term("label_loss", weight, logits.float().sum() * 0.0, per="labelled")
    rows = has_label(labels)
    losses = label_loss(logits[rows], labels[rows], kind, class_weights=class_weights)
    return Term("label_loss", weight, losses.sum(), per="labelled")
