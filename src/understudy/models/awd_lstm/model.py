"""AWD-LSTM: a regularised LSTM as a language model, and as a classifier that reads documents of any length."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput, SequenceClassifierOutput

from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.dropout import Masks, State, drop, dropout_mask, run_lstm
from understudy.models.awd_lstm.head import PoolingHead, SmallBatchNorm, aligned, document_spans
from understudy.models.students.student import recorded

_INITIAL = 0.1
"""Embeddings start within plus and minus this."""

_FLOOR = -1.0
"""The states of an LSTM lie in (−1, 1): a floor for the maximum that is finite in every number format."""


@dataclass
class AWDLSTMOutput(ModelOutput):
    """What a language model says of a window.

    Attributes:
        logits: ``(streams, tokens, vocabulary)``.
        state: one ``(h, c)`` a layer, each ``(1, streams, width)``, with their gradient.
        raw: the last layer's states ``(streams, tokens, width)``: for temporal activation regularisation.
        dropped: the same after output dropout, which the logits are made from: for activation regularisation.
    """

    logits: Tensor | None = None
    state: State | None = None
    raw: Tensor | None = None
    dropped: Tensor | None = None


def detached(state: State) -> State:
    """The same memory without its past: what the next window starts from."""
    return [(h.detach(), c.detach()) for h, c in state]


class AWDLSTMPreTrainedModel(PreTrainedModel):
    """What the encoder and both models with a head share: their configuration and how weights start."""

    config_class = AWDLSTMConfig
    base_model_prefix = "awd_lstm"

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        # The guarded functions of transformers leave alone what came from a checkpoint.
        if isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -_INITIAL, _INITIAL)
        elif isinstance(module, nn.LSTM):
            for parameter in module.parameters():
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
        elif isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, SmallBatchNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
            init.zeros_(module.rows_seen)


class AWDLSTMModel(AWDLSTMPreTrainedModel):
    """Embeddings and layers. Weights from state to state are dropped in a functional call: the raw ones are the parameters."""

    def __init__(self, config: AWDLSTMConfig) -> None:
        super().__init__(config)
        config.check_rates()
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(nn.LSTM(below, width) for below, width in pairwise(config.widths))
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of token embeddings."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of token embeddings."""
        self.embeddings = value

    def draw(self, rows: int) -> Masks:
        """What a reading of so many rows drops: nothing of a part that is not training."""
        table, lstms = self.embeddings.weight, self._lstms()
        return Masks(
            words=dropout_mask(table, (len(table), 1), self._rate("embedding_dropout", self.embeddings)),
            inputs=dropout_mask(table, (1, rows, table.shape[1]), self._rate("input_dropout", self.embeddings)),
            hidden=[
                dropout_mask(table, (1, rows, lstm.hidden_size), self._rate("hidden_dropout", lstm))
                for lstm in lstms[:-1]
            ],
            weights=[_dropped(lstm.weight_hh_l0, self._rate("weight_dropout", lstm)) for lstm in lstms],
        )

    def read(
        self, ids: Tensor, state: State | None = None, masks: Masks | None = None, *, absent: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read on from `state`.

        Args:
            ids: ``(tokens, rows)``, time first as torch's LSTM wants it.
            state: what was remembered so far; zero by default.
            masks: what to drop, see :meth:`draw`; nothing by default.
            absent: ``(tokens, rows, 1)``, true at steps before the first token of a row, see
                :func:`understudy.models.awd_lstm.dropout.run_lstm`.

        Returns:
            The last layer's states ``(tokens, rows, width)`` and what is remembered now.
        """
        masks = masks or Masks()
        states = self.embeddings(ids)
        if masks.words is not None:
            states = states * masks.words[ids]
        states = drop(states, masks.inputs)
        after: State = []
        for i, lstm in enumerate(self._lstms()):
            weight = masks.weights[i] if masks.weights else None
            before = state[i] if state is not None else None
            states, remembered = run_lstm(lstm, states, before, hidden_weight=weight, absent=absent)
            after.append(remembered)
            if i < len(masks.hidden):
                states = drop(states, masks.hidden[i])
        return states, after

    def forward(self, input_ids: Tensor, state: State | None = None) -> AWDLSTMOutput:
        """The last layer's states as ``raw``: ``(rows, tokens, width)``, and ``state``."""
        states, after = self.read(input_ids.t(), state, self.draw(len(input_ids)))
        return AWDLSTMOutput(state=after, raw=states.transpose(0, 1))

    def _lstms(self) -> list[Any]:
        return list(self.layers)

    def _rate(self, name: str, part: nn.Module) -> float:
        return self.config.rate(name) if part.training else 0.0


def _dropped(weight: Tensor, rate: float) -> Tensor | None:
    return F.dropout(weight, rate) if rate else None


class AWDLSTMForCausalLM(AWDLSTMPreTrainedModel):
    """The language model: each next token from all before it, over streams whose state is carried from window to window.

    Example:
        >>> sizes = {"vocab_size": 9, "embedding_size": 4, "hidden_size": 6}
        >>> model = AWDLSTMForCausalLM(AWDLSTMConfig(**sizes)).eval()
        >>> first = model(torch.tensor([[5, 6, 7]]))
        >>> second = model(torch.tensor([[8, 1]]), detached(first.state))
        >>> whole = model(torch.tensor([[5, 6, 7, 8, 1]]))
        >>> torch.allclose(second.logits, whole.logits[:, 3:], atol=1e-6)
        True
    """

    _tied_weights_keys = {"lm_head.weight": "awd_lstm.embeddings.weight"}

    def __init__(self, config: AWDLSTMConfig) -> None:
        super().__init__(config)
        self.awd_lstm = AWDLSTMModel(config)
        self.lm_head = nn.Linear(config.widths[-1], config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = value

    def forward(self, input_ids: Tensor, state: State | None = None) -> AWDLSTMOutput:
        """Scores of every next token.

        Args:
            input_ids: ``(streams, tokens)``; reversed already where the model reads backward.
            state: of the window before, detached by the caller (:func:`detached`); zero at the beginning of a stream.
        """
        encoder = self.awd_lstm
        states, after = encoder.read(input_ids.t(), state, encoder.draw(len(input_ids)))
        raw = states.transpose(0, 1).contiguous()  # the logits are forty times as large: they must not need a copy
        rate = self.config.rate("output_dropout") if self.lm_head.training else 0.0
        dropped = drop(raw, dropout_mask(raw, (len(raw), 1, raw.shape[2]), rate))
        return AWDLSTMOutput(logits=self.lm_head(dropped), state=after, raw=raw, dropped=dropped)

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        if module is self.lm_head:  # as the embeddings, which it shares its table with if it is tied
            init.uniform_(module.weight, -_INITIAL, _INITIAL)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class AWDLSTMForSequenceClassification(AWDLSTMPreTrainedModel):
    """The classifier: a document read whole, pooled as its last state, the maximum and the mean of all, and a small head.

    A document is read piece by piece with its state carried on. Only the last ``gradient_tokens`` tokens of each row
    keep what a backward pass needs, so memory does not grow with the document; what comes before counts in the pooled
    vector as a constant. Padding changes nothing: rows are set flush at their ends, and a row's state is zero until its
    first token. With ``backward=True`` each row is read reversed within its own length.

    Example:
        >>> sizes = {"vocab_size": 9, "embedding_size": 4, "hidden_size": 6}
        >>> model = AWDLSTMForSequenceClassification(AWDLSTMConfig(**sizes)).eval()
        >>> alone = model(torch.tensor([[5, 6, 7]])).logits
        >>> padded = model(torch.tensor([[5, 6, 7, 0]]), attention_mask=torch.tensor([[1, 1, 1, 0]])).logits
        >>> torch.allclose(alone, padded, atol=1e-6)
        True

    Reference:
        Howard & Ruder 2018, arXiv 1801.06146, section 3.3 (concat pooling; BPTT for text classification).
    """

    def __init__(self, config: AWDLSTMConfig) -> None:
        super().__init__(config)
        self.awd_lstm = AWDLSTMModel(config)
        self.head = PoolingHead(config)
        self.post_init()

    def pool(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Last state, maximum and mean over the real tokens: ``(rows, 3 * width)``."""
        config, encoder = self.config, self.awd_lstm
        ids, absent, full_from = aligned(input_ids, attention_mask, backward=config.backward)
        tokens, rows = ids.shape
        masks = encoder.draw(rows)
        # an exporter would unroll the pieces, so for it there is one, and its length is not looked at
        learns_from = 0 if recorded() else max(tokens - config.gradient_tokens, 0)
        spans = [(0, tokens)] if recorded() else document_spans(tokens, config.bptt, cut=learns_from)
        learns = torch.is_grad_enabled()
        state: State | None = None
        highest = encoder.embeddings.weight.new_full((rows, config.widths[-1]), _FLOOR)
        total = torch.zeros_like(highest, dtype=torch.promote_types(highest.dtype, torch.float32))
        for begin, end in spans:
            missing = None if absent is None or begin >= full_from else absent[begin:end]
            with torch.set_grad_enabled(learns and begin >= learns_from):
                states, state = encoder.read(ids[begin:end], state, masks, absent=missing)
                present = states if missing is None else states.masked_fill(missing, _FLOOR)
                highest, total = torch.maximum(highest, present.amax(0)), total + states.sum(0, dtype=total.dtype)
                last = states[-1]
        count = tokens if absent is None else (tokens - absent.sum(0)).clamp(min=1)
        return torch.cat([last, highest, (total / count).to(last.dtype)], dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Logits of a batch.

        Args:
            input_ids: ``(rows, tokens)``.
            attention_mask: 1 at real tokens, which must be contiguous in each row; None where nothing is padding.

        Returns:
            ``logits``: ``(rows, outputs)``.
        """
        return SequenceClassifierOutput(logits=self.head(self.pool(input_ids, attention_mask)))
