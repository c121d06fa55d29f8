"""The loss of distillation for classifiers: the labels, and the distance to a teacher's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import Kind
from understudy.models.structure.first_token import classifier_logits
from understudy.objectives.supervised import label_term
from understudy.objectives.terms import Term

Distance = Callable[[Tensor, Tensor], Tensor]
"""From the student's and the teacher's logits, each ``(rows, outputs)``, to ``(rows,)``."""


class DistillClassifier(nn.Module):
    r"""The labels where there are some, the teacher where it answers.

    .. math:: \alpha \, \frac1{|L|} \sum_{i \in L} \ell(s_i, y_i) + (1 - \alpha) \, \frac1{|T|} \sum_{i \in T} d(s_i, t_i)

    Args:
        model: the student.
        kind: the kind of labels.
        distance: unreduced, one number a row.
        alpha: the labels' share, from 0 (only the teacher) to 1 (only the labels).
        class_weights: what the label of each class counts; 1 by default.

    Raises:
        ValueError: if `alpha` is not between 0 and 1.

    Reference:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2; Tang et al. 2019, arXiv 1903.12136 (the squared error
        of logits).
    """

    terms = ("label_loss", "distillation")

    def __init__(
        self,
        model: nn.Module,
        kind: Kind,
        distance: Distance,
        *,
        alpha: float,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, but is {alpha}")
        self.model = model
        self.kind = kind
        self.distance = distance
        self.alpha = alpha
        self.class_weights = class_weights

    def forward(self, batch: Batch) -> list[Term]:
        """The loss of the labelled rows, and the distance to the teacher of the rows that it answers."""
        logits = classifier_logits(self.model, batch.inputs)
        return [
            label_term(logits, batch.labels, self.kind, weight=self.alpha, class_weights=self.class_weights),
            distance_term(logits, batch.teacher_logits, self.distance, weight=1 - self.alpha),
        ]


def distance_term(logits: Tensor, answers: Tensor | None, distance: Distance, *, weight: float) -> Term:
    """The distance to a teacher of the rows that it answers, as a term."""
    assert answers is not None, "this objective needs batches with the teacher's logits"
    taught = ~answers.isnan().any(-1)
    return Term("distillation", weight, distance(logits[taught].float(), answers[taught]).sum(), per="taught")
