"""Several tasks at once: each batch is of one of them, and its losses are scaled as its task's are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import Kind
from understudy.models.multitask import MultiTaskModel
from understudy.models.structure.first_token import classifier_logits
from understudy.objectives.distill import Distance, distance_term
from understudy.objectives.supervised import label_term
from understudy.objectives.terms import Term


class Teaching(NamedTuple):
    """How far a student is from the teacher of one task, and what that counts."""

    distance: Distance
    weight: float


class MultiTask(nn.Module):
    r"""The labels of the task that a batch is of, and its teacher's answers if the tasks have teachers.

    .. math:: \alpha \, w_t \, \ell(s, y) + (1 - \alpha) \, v_t \, d_t(s, \text{teacher}_t)

    Without teachers :math:`\alpha` is 1. With soft sharing the distance of the task's encoder from the others is added.

    Args:
        model: all tasks.
        kinds: of each task's labels, by its name.
        weights: of each task's loss.
        distance: weight of the distance between encoders; None if they share one.
        teaching: of each task, how its teacher teaches; empty without teachers.
        alpha: the labels' share where there are teachers, from 0 to 1.

    Reference:
        Liu et al. 2019, "MT-DNN", arXiv 1901.11504, algorithm 1; Liu et al. 2019, "MT-DNN_KD", arXiv 1904.09482,
        section 4, for the teachers.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        kinds: Mapping[str, Kind],
        weights: Mapping[str, float],
        *,
        distance: float | None = None,
        teaching: Mapping[str, Teaching] | None = None,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        self.model, self.kinds, self.weights, self.distance = model, dict(kinds), dict(weights), distance
        self.teaching, self.alpha = dict(teaching or {}), alpha if teaching else 1.0

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that every call returns."""
        taught = ("distillation",) if self.teaching else ()
        return ("label_loss", *taught, *(() if self.distance is None else ("encoder_distance",)))

    def forward(self, batch: Batch) -> list[Term]:
        """The losses of the rows of a micro-batch, by its task's head, times its task's weights."""
        name = batch.task
        logits = classifier_logits(self.model.task(name), batch.inputs)
        terms = [label_term(logits, batch.labels, self.kinds[name], weight=self.alpha * self.weights[name])]
        if self.teaching:
            distance, weight = self.teaching[name]
            terms.append(distance_term(logits, batch.teacher_logits, distance, weight=(1 - self.alpha) * weight))
        if self.distance is not None:
            # a term is divided by the rows of the step, and the distance counts once a step
            apart = self.model.distance(name) * batch.counts["rows"]
            terms.append(Term("encoder_distance", self.distance, apart, per="rows"))
        return terms
