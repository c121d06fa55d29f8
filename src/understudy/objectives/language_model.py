"""Causal language modelling: over streams whose recurrent state is carried on, or over independent blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.batches.contract import Batch
from understudy.data.batches.streams import StreamBatch
from understudy.data.tasks import NO_LABEL
from understudy.errors import ModelError
from understudy.evaluation.words import word_scores
from understudy.functional.vocabulary_loss import chunked_cross_entropy
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.awd_lstm.recurrence import State, detached
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.layers import evaluating
from understudy.models.structure.vocabulary_head import VocabularyHead, vocabulary_head
from understudy.objectives.terms import Term

_SCORES = {"cpu": 1 << 27}
"""How many scores over the vocabulary are computed at once, by device; see :func:`tokens_at_once`."""


class RecurrentLM(nn.Module):
    r"""Cross-entropy of the next token, with activation regularisation, over continuous streams.

    .. math:: \frac{1}{n} \sum_{s,t} \Big( -\log p(w_{s,t+1}) + \frac{\alpha}{d} \lVert m \odot h_{s,t} \rVert_2^2 \Big)
              + \frac{\beta}{n'} \sum_{s,t} \frac{1}{d} \lVert h_{s,t} - h_{s,t+1} \rVert_2^2

    where h are the last layer's states (width d), m is their dropout mask, n the number of targets and n' the number of
    pairs of neighbouring targets in a window.

    The recurrent state is carried from window to window without its gradient, one for each micro-batch's streams, and
    is reset at the start of an epoch. It is part of the objective's ``state_dict``, so that a run that is killed inside
    a stream continues there with the same bits.

    Args:
        model: an AWD-LSTM language model, called as ``model(input_ids, state)``.
        alpha: weight of the activation regularisation.
        beta: weight of the temporal activation regularisation.

    Reference:
        Merity, Keskar & Socher 2018, arXiv 1708.02182, section 4.7 (the squared norms are means over the width, as in
        the code published with it).
    """

    terms = ("cross_entropy", "activation", "temporal")

    def __init__(self, model: Any, *, alpha: float = 2.0, beta: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.alpha, self.beta = alpha, beta
        self.carried: dict[int, State] = {}
        """The recurrent states, by the number of a micro-batch's first stream."""

    def forward(self, batch: Batch) -> list[Term]:
        """The terms of one window of some streams: ``cross_entropy`` and ``activation`` per token, ``temporal`` per transition."""
        assert isinstance(batch, StreamBatch), "this objective needs streams that continue from batch to batch"
        assert batch.labels is not None
        if batch.begins:
            self.carried.pop(batch.first, None)
        output = self.model(batch.inputs["input_ids"], self.carried.get(batch.first))
        self.carried[batch.first] = detached(output.state)
        real = batch.labels != NO_LABEL
        dropped = output.dropped.float().square().mean(-1)
        steps = (output.raw[:, 1:] - output.raw[:, :-1]).float().square().mean(-1)
        return [
            Term("cross_entropy", 1.0, _cross_entropy(output.logits, batch.labels), per="tokens"),
            Term("activation", self.alpha, dropped.masked_fill(~real, 0.0).sum(), per="tokens"),
            Term("temporal", self.beta, steps.masked_fill(~real[:, 1:], 0.0).sum(), per="transitions"),
        ]

    def get_extra_state(self) -> dict[str, list[Tensor]]:
        """The recurrent state, as part of ``state_dict``: for each first stream, h and c of every layer in turn."""
        return {str(first): [part for pair in state for part in pair] for first, state in self.carried.items()}

    def set_extra_state(self, state: dict[str, list[Tensor]]) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        device = next(self.model.parameters()).device
        self.carried = {
            int(first): [(h.to(device), c.to(device)) for h, c in zip(parts[::2], parts[1::2])]
            for first, parts in state.items()
        }


class CausalLM(nn.Module):
    r"""Cross-entropy of the next token, over independent blocks.

    .. math:: -\frac{1}{n} \sum_{b,t} \log p(w_{b,t+1} \mid w_{b,1} \dots w_{b,t})

    Args:
        model: any causal language model of transformers.

    Reference:
        Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", equation 1.
    """

    terms = ("cross_entropy",)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.head = next_token_head(model)

    def forward(self, batch: Batch) -> list[Term]:
        """The summed loss of a micro-batch's targets."""
        assert batch.labels is not None
        wanted = batch.labels != NO_LABEL
        states = _read(self.model, self.head, batch)[wanted]
        entropy = chunked_cross_entropy(
            states,
            self.head or _scores_themselves,
            batch.labels[wanted],
            chunk=tokens_at_once(self.model, states.device),
        )
        return [Term("cross_entropy", 1.0, entropy.sum(), per="tokens")]


def next_token_head(model: Any) -> VocabularyHead | None:
    """A causal model's head, from states to scores; None where no chain of modules computes these scores.

    Some models scale or cap their scores. Those of a batch can then only be computed all at once.
    """
    try:
        return vocabulary_head(model)
    except ModelError:
        return None


def _read(model: Any, head: VocabularyHead | None, batch: Batch) -> Tensor:
    """A causal model's output for blocks: the states that its head reads, or the scores where there is no head."""
    if head is None:
        return model(**batch.inputs, use_cache=False).logits
    return hidden_states(model, {**batch.inputs, "use_cache": False})


def _scores_themselves(scores: Tensor) -> Tensor:
    return scores


def tokens_at_once(model: Any, device: torch.device | str) -> int:
    """The tokens of a chunk: as many as have half a gigabyte of scores on a CPU, two gigabytes on an accelerator.

    The chunks of masked language models are smaller, because there only one token in seven has scores. Here small
    chunks would compute the scores of every batch twice.
    """
    return max(1, _SCORES.get(torch.device(device).type, 1 << 29) // int(model.config.vocab_size))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over the targets, in float32."""
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction="sum")


def language_scores(model: Any, batches: Iterable[Batch], *, device: torch.device | str) -> dict[str, float]:
    """How well a model predicts the next token.

    Over streams, the state continues from batch to batch. It is a state of its own: that of training is not touched.

    Args:
        batches: such as :func:`understudy.data.batches.streams.scoring_batches` gives, or blocks.

    Returns:
        ``loss`` (nats a token), ``perplexity`` and ``accuracy``, see
        :func:`understudy.evaluation.words.word_scores`.
    """
    head = None if isinstance(model, AWDLSTMForCausalLM) else next_token_head(model)

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        state: State | None = None
        for batch in batches:
            batch = batch.to(device)
            assert batch.labels is not None
            wanted = batch.labels != NO_LABEL
            if isinstance(batch, StreamBatch):
                output = model(batch.inputs["input_ids"], None if batch.begins else state)
                state, found = output.state, output.logits
            else:
                found = _read(model, head, batch)
            yield found[wanted], batch.labels[wanted]

    with evaluating(model):
        return word_scores(read(), head or _scores_themselves, chunk=tokens_at_once(model, device))
