"""Several tasks at once: each batch is of one of them, and its loss is scaled as its task's is."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import Kind
from understudy.models.multitask import MultiTaskModel
from understudy.models.structure.first_token import classifier_logits
from understudy.objectives.supervised import label_term
from understudy.objectives.terms import Term


class MultiTask(nn.Module):
    """The labels of the task that a batch is of; with soft sharing, the distance of its encoder from the others too.

    Args:
        model: all tasks.
        kinds: of each task's labels, by its name.
        weights: of each task's loss.
        distance: weight of the distance between encoders; None if they share one.

    Reference:
        Liu et al. 2019, "MT-DNN", arXiv 1901.11504, algorithm 1.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        kinds: Mapping[str, Kind],
        weights: Mapping[str, float],
        *,
        distance: float | None = None,
    ) -> None:
        super().__init__()
        self.model, self.kinds, self.weights, self.distance = model, dict(kinds), dict(weights), distance

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that every call returns."""
        return ("label_loss",) if self.distance is None else ("label_loss", "encoder_distance")

    def forward(self, batch: Batch) -> list[Term]:
        """The loss of the labelled rows of a micro-batch, by its task's head, times its task's weight."""
        name = batch.task
        logits = classifier_logits(self.model.task(name), batch.inputs)
        terms = [label_term(logits, batch.labels, self.kinds[name], weight=self.weights[name])]
        if self.distance is not None:
            # a term is divided by the rows of the step, and the distance counts once a step
            apart = self.model.distance(name) * batch.counts["rows"]
            terms.append(Term("encoder_distance", self.distance, apart, per="rows"))
        return terms
