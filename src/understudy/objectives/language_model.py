"""Learning to say the next token: over streams whose state is carried on, or over blocks that stand alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.batches.contract import Batch
from understudy.data.batches.streams import StreamBatch
from understudy.data.tasks import NO_LABEL
from understudy.errors import ModelError
from understudy.functional.metrics import perplexity
from understudy.functional.vocabulary_loss import chunked_cross_entropy, vocabulary_scores
from understudy.models.awd_lstm.dropout import State
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM, detached
from understudy.models.structure.heads import VocabularyHead, hidden_states, vocabulary_head
from understudy.models.structure.layers import evaluating
from understudy.objectives.terms import Term

_SCORES = {"cpu": 1 << 27}
"""Scores over the vocabulary that are computed at once, by device; see :func:`tokens_at_once`."""


class RecurrentLM(nn.Module):
    r"""Cross-entropy of the next token, with activation regularisation, over continuous streams.

    .. math:: \frac{1}{n} \sum_{s,t} \Big( -\log p(w_{s,t+1}) + \frac{\alpha}{d} \lVert m \odot h_{s,t} \rVert_2^2 \Big)
              + \frac{\beta}{n'} \sum_{s,t} \frac{1}{d} \lVert h_{s,t} - h_{s,t+1} \rVert_2^2

    with h the last layer's states (d wide), m their dropout mask, n targets and n' pairs of neighbouring targets in a
    window.

    The recurrent state goes on from window to window without its gradient, one for each micro-batch's streams, and
    begins anew with an epoch. It is part of the objective's ``state_dict``, so that a run that is killed in mid-stream
    reads on as if nothing had been.

    Args:
        model: an AWD-LSTM language model, called as ``model(input_ids, state)``.
        alpha: the weight of activation regularisation.
        beta: that of temporal activation regularisation.

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
        """By the number of a micro-batch's first stream."""

    def forward(self, batch: Batch) -> list[Term]:
        """Terms of one window of some streams: ``cross_entropy`` and ``activation`` a token, ``temporal`` a transition."""
        assert isinstance(batch, StreamBatch), "this objective needs streams that go on from batch to batch"
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
        """The recurrent state, as a part of ``state_dict``: under each first stream h and c of every layer in turn."""
        return {str(first): [part for pair in state for part in pair] for first, state in self.carried.items()}

    def set_extra_state(self, state: dict[str, list[Tensor]]) -> None:
        """Take back what :meth:`get_extra_state` gave."""
        device = next(self.model.parameters()).device
        self.carried = {
            int(first): [(h.to(device), c.to(device)) for h, c in zip(parts[::2], parts[1::2])]
            for first, parts in state.items()
        }


class CausalLM(nn.Module):
    r"""Cross-entropy of the next token, over blocks that each stand alone.

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
    """A causal model's, from states to scores; None where those are more than a chain of modules makes of the states
    (some models scale or cap them), so that a batch's scores can only be computed all at once."""
    try:
        return vocabulary_head(model)
    except ModelError:
        return None


def _read(model: Any, head: VocabularyHead | None, batch: Batch) -> Tensor:
    """What a causal model makes of blocks: states for its head, or without one the scores."""
    if head is None:
        return model(**batch.inputs, use_cache=False).logits
    return hidden_states(model, {**batch.inputs, "use_cache": False})


def _scores_themselves(scores: Tensor) -> Tensor:
    return scores


def tokens_at_once(model: Any, device: torch.device | str) -> int:
    """As many tokens as have half a gigabyte of scores on a processor, two on an accelerator: a chunk of them.

    Of a masked language model, where one token in seven has scores, chunks are smaller. Here that would mean to compute
    every batch's twice.
    """
    return max(1, _SCORES.get(torch.device(device).type, 1 << 29) // int(model.config.vocab_size))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over the targets, in float32."""
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction="sum")


def language_scores(model: Any, batches: Iterable[Batch], *, device: torch.device | str) -> dict[str, float]:
    """How well a model foresees the next token.

    Over streams, the state goes on from batch to batch, in a memory of its own: training's is not touched.

    Args:
        batches: such as :func:`understudy.data.batches.streams.scoring_batches` gives, or blocks.

    Returns:
        ``loss`` (nats a token), ``perplexity`` (its exponential) and ``accuracy`` (the share of tokens that were found
        likeliest).
    """
    loss = right = 0.0
    count = 0
    state: State | None = None
    head = None if isinstance(model, AWDLSTMForCausalLM) else next_token_head(model)
    with evaluating(model), torch.inference_mode():
        for batch in batches:
            batch = batch.to(device)
            assert batch.labels is not None
            wanted = batch.labels != NO_LABEL
            if isinstance(batch, StreamBatch):
                output = model(batch.inputs["input_ids"], None if batch.begins else state)
                state, found = output.state, output.logits
            else:
                found = _read(model, head, batch)
            losses, hits = vocabulary_scores(
                found[wanted],
                head or _scores_themselves,
                batch.labels[wanted],
                chunk=tokens_at_once(model, device),
            )
            loss += losses.cpu().double().sum().item()
            right += hits.sum().item()
            count += batch.counts["tokens"]
    return {
        "loss": loss / count,
        "perplexity": perplexity(loss / count),
        "accuracy": right / count,
    }
