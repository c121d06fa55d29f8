"""Contrastive learning from labels: the vectors of alike texts get the cosine 1, all others the cosine 0."""

from __future__ import annotations

import torch
from torch import nn

from understudy.data.batches.pairs.batches import PairBatch
from understudy.functional.pair_distances import pairwise_cosine_error
from understudy.objectives.terms import Term


class Contrastive(nn.Module):
    """The squared error of the cosines of a step's pairs: alike ones and others weigh the same, however many there are.

    Args:
        model: with a method ``pool``, which maps its inputs to vectors ``(texts, width)``, as
            :class:`understudy.models.students.pooled.PooledClassifier` has. Its head is not trained.

    Reference:
        Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts", arXiv 2209.11055, section 3.1. There each
        pair has a place of its own in a batch; here all pairs of a batch count.
    """

    terms = ("alike", "apart")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: PairBatch) -> list[Term]:
        """The summed errors of the pairs that are alike, and of those that are not."""
        vectors = torch.cat([self.model.pool(**inputs) for inputs in batch.pieces()])  # type: ignore[operator]
        error = pairwise_cosine_error(vectors, batch.alike)
        return [
            Term("alike", 0.5, error[batch.alike].sum(), per="alike"),
            Term("apart", 0.5, error[batch.apart].sum(), per="apart"),
        ]
