"""Masked language modelling: the vocabulary head runs on the masked positions only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import NO_LABEL
from understudy.evaluation.words import word_scores
from understudy.functional.vocabulary_loss import chunked_cross_entropy, positions_at_once
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.layers import evaluating
from understudy.models.structure.vocabulary_head import vocabulary_head
from understudy.objectives.terms import Term


class MaskedLM(nn.Module):
    r"""Cross-entropy of the original tokens, over the masked positions.

    .. math:: \frac{1}{|M|} \sum_{i \in M} -\log \mathrm{softmax}(\mathrm{head}(h_i))_{w_i}

    Hidden states are computed for all tokens, scores over the vocabulary for the masked ones only: at 15 % the head
    costs about a seventh. There is no next-sentence task.

    Args:
        model: any masked language model whose head :func:`understudy.models.structure.vocabulary_head.vocabulary_head` finds.
        chunk: the most positions whose scores are computed at once (default: by the size of the vocabulary).

    Reference:
        Devlin et al. 2019, arXiv 1810.04805, section 3.1; without the next-sentence task as in Liu et al. 2019, arXiv
        1907.11692, section 4.2.
    """

    terms = ("masked_lm",)

    def __init__(self, model: Any, *, chunk: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.head = vocabulary_head(model)
        self.chunk = chunk or positions_at_once(self.head.vocabulary)

    def forward(self, batch: Batch) -> list[Term]:
        """The summed loss of a micro-batch's masked positions; zero, with a zero gradient, where none is masked."""
        assert batch.labels is not None, "this objective needs batches that say which tokens were hidden"
        chosen = batch.labels != NO_LABEL
        hidden = hidden_states(self.model, batch.inputs)[chosen]
        losses = chunked_cross_entropy(hidden, self.head, batch.labels[chosen], chunk=self.chunk)
        return [Term("masked_lm", 1.0, losses.sum(), per="masked")]


def masked_scores(
    model: Any, batches: Iterable[Batch], *, device: torch.device | str, chunk: int | None = None
) -> dict[str, float]:
    """How well a model fills in masked tokens.

    Args:
        batches: such as :func:`understudy.data.batches.masked.fixed_batches` gives.
        chunk: as for :class:`MaskedLM`.

    Returns:
        ``loss`` (nats a masked token), ``perplexity`` and ``accuracy``, see
        :func:`understudy.evaluation.words.word_scores`.
    """
    head = vocabulary_head(model)

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches:
            batch = batch.to(device)
            assert batch.labels is not None, "scores need batches that say which tokens were hidden"
            chosen = batch.labels != NO_LABEL
            yield hidden_states(model, batch.inputs)[chosen], batch.labels[chosen]

    with evaluating(model):
        return word_scores(read(), head, chunk=chunk or positions_at_once(head.vocabulary))
