"""The body of an AWD-LSTM: embeddings and a stack of LSTM layers under dropout."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.dropout import Masks, apply_mask, dropout_mask
from understudy.models.awd_lstm.head import SmallBatchNorm
from understudy.models.awd_lstm.recurrence import State, run_lstm

INITIAL_RANGE = 0.1
"""Embeddings are initialised uniformly between minus and plus this."""


@dataclass
class AWDLSTMOutput(ModelOutput):
    """The output of an AWD-LSTM for one window of its streams.

    Attributes:
        logits: ``(streams, tokens, vocabulary)``.
        state: one ``(h, c)`` a layer, each ``(1, streams, width)``, with gradient.
        raw: the last layer's states ``(streams, tokens, width)``; temporal activation regularisation needs them.
        dropped: the same after output dropout. The logits are made from them, and activation regularisation needs them.
    """

    logits: Tensor | None = None
    state: State | None = None
    raw: Tensor | None = None
    dropped: Tensor | None = None


class AWDLSTMPreTrainedModel(PreTrainedModel):
    """Base of the encoder and of both models with a head: their configuration, and how weights are initialised."""

    config_class = AWDLSTMConfig
    base_model_prefix = "awd_lstm"

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        # These functions of transformers skip weights that a checkpoint filled.
        if isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -INITIAL_RANGE, INITIAL_RANGE)
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
    """Embeddings and LSTM layers. The parameters are the weights before dropout."""

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
        """Draw the dropout masks of one pass over `rows` rows. Parts in evaluation mode drop nothing."""
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
            state: the state so far; zero by default.
            masks: what to drop, see :meth:`draw`; nothing by default.
            absent: ``(tokens, rows, 1)``, true at steps before the first token of a row, see
                :func:`understudy.models.awd_lstm.recurrence.run_lstm`.

        Returns:
            The last layer's states ``(tokens, rows, width)``, and the new state.
        """
        masks = masks or Masks()
        states = self.embeddings(ids)
        if masks.words is not None:
            states = states * masks.words[ids]
        states = apply_mask(states, masks.inputs)
        after: State = []
        for i, lstm in enumerate(self._lstms()):
            weight = masks.weights[i] if masks.weights else None
            before = state[i] if state is not None else None
            states, layer_state = run_lstm(lstm, states, before, hidden_weight=weight, absent=absent)
            after.append(layer_state)
            if i < len(masks.hidden):
                states = apply_mask(states, masks.hidden[i])
        return states, after

    def forward(self, input_ids: Tensor, state: State | None = None) -> AWDLSTMOutput:
        """The last layer's states as ``raw``, ``(rows, tokens, width)``, and the new ``state``."""
        states, after = self.read(input_ids.t(), state, self.draw(len(input_ids)))
        return AWDLSTMOutput(state=after, raw=states.transpose(0, 1))

    def _lstms(self) -> list[Any]:
        return list(self.layers)

    def _rate(self, name: str, part: nn.Module) -> float:
        return self.config.rate(name) if part.training else 0.0


def _dropped(weight: Tensor, rate: float) -> Tensor | None:
    return F.dropout(weight, rate) if rate else None
