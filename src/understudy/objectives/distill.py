"""Learning from a teacher."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import Kind
from understudy.models.structure.first_token import scores
from understudy.objectives.supervised import label_term
from understudy.objectives.terms import Term

Distance = Callable[[Tensor, Tensor], Tensor]
"""Student's and teacher's logits, each ``(rows, outputs)``, to ``(rows,)``."""


class DistillClassifier(nn.Module):
    r"""Labels where there are some, the teacher wherever it has spoken.

    .. math:: \alpha \, \frac1{|L|} \sum_{i \in L} \ell(s_i, y_i) + (1 - \alpha) \, \frac1{|T|} \sum_{i \in T} d(s_i, t_i)

    Args:
        model: the student.
        kind: what the labels are.
        distance: unreduced, a number a row.
        alpha: the labels' share, from 0 (the teacher alone) to 1.
    """

    terms = ("label_loss", "distillation")

    def __init__(self, model: nn.Module, kind: Kind, distance: Distance, *, alpha: float) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, but is {alpha}")
        self.model = model
        self.kind = kind
        self.distance = distance
        self.alpha = alpha

    def forward(self, batch: Batch) -> list[Term]:
        """The labelled rows' loss and all taught rows' distance to the teacher."""
        logits = scores(self.model, batch.inputs)
        assert batch.teacher_logits is not None, "this objective needs batches with the teacher's logits"
        taught = ~batch.teacher_logits.isnan().any(-1)
        distance = self.distance(logits[taught].float(), batch.teacher_logits[taught])
        return [
            label_term(logits, batch.labels, self.kind, weight=self.alpha),
            Term("distillation", 1 - self.alpha, distance.sum(), per="taught"),
        ]
