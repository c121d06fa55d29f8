"""Learning to fill in what is hidden: the vocabulary head runs on the masked positions alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import NO_LABEL
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS, perplexity
from understudy.functional.vocabulary_loss import chunked_cross_entropy, positions_at_once, vocabulary_scores
from understudy.models.structure.heads import hidden_states, vocabulary_head
from understudy.models.structure.layers import evaluating
from understudy.objectives.terms import Term


class MaskedLM(nn.Module):
    r"""Cross-entropy of the hidden words, over the masked positions.

    .. math:: \frac{1}{|M|} \sum_{i \in M} -\log \mathrm{softmax}(\mathrm{head}(h_i))_{w_i}

    Hidden states are computed of all tokens, scores over the vocabulary of the masked ones only: at 15 % the head
    costs about a seventh. There is no next-sentence task.

    Args:
        model: any masked language model whose head :func:`understudy.models.structure.heads.vocabulary_head` finds.
        chunk: the most positions whose scores are computed at once (default: by the size of the vocabulary).

    Reference:
        Devlin et al. 2019, arXiv 1810.04805, section 3.1; without its second task as in Liu et al. 2019, arXiv
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
    """How well a model fills in what is hidden: mean loss in nats a masked token, its exponential, and accuracy.

    Args:
        batches: such as :func:`understudy.data.batches.masked.fixed_batches` gives.

    Returns:
        ``loss``, ``perplexity`` and ``accuracy`` (the share of masked tokens that the likeliest word is right for);
        NaN throughout where nothing is masked.
    """
    head = vocabulary_head(model)
    chunk = chunk or positions_at_once(head.vocabulary)
    loss = right = 0.0
    count = 0
    with evaluating(model), torch.inference_mode():
        for batch in batches:
            batch = batch.to(device)
            assert batch.labels is not None, "scores need batches that say which tokens were hidden"
            chosen = batch.labels != NO_LABEL
            hidden = hidden_states(model, batch.inputs)[chosen]
            losses, hits = vocabulary_scores(hidden, head, batch.labels[chosen], chunk=chunk)
            loss += losses.cpu().double().sum().item()
            right += hits.sum().item()
            count += len(hits)
    if not count:
        return dict.fromkeys(LANGUAGE_MODEL_METRICS, math.nan)
    return {"loss": loss / count, "perplexity": perplexity(loss / count), "accuracy": right / count}
