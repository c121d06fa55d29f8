"""AWD-LSTM: a regularised LSTM as a language model, and as a classifier that reads documents of any length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.documents import align_rows, document_spans
from understudy.models.awd_lstm.dropout import apply_mask, dropout_mask
from understudy.models.awd_lstm.encoder import INITIAL_RANGE, AWDLSTMModel, AWDLSTMOutput, AWDLSTMPreTrainedModel
from understudy.models.awd_lstm.head import PoolingHead
from understudy.models.awd_lstm.recurrence import State
from understudy.models.students.student import is_traced

_FLOOR = -1.0
"""Below all states of an LSTM, which lie in (−1, 1), and finite in every number format: the floor of the maximum."""


class AWDLSTMForCausalLM(AWDLSTMPreTrainedModel):
    """The language model: it predicts each next token of a stream, and carries its state from window to window.

    Example:
        >>> from understudy.models.awd_lstm.recurrence import detached
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
        """Logits of every next token.

        Args:
            input_ids: ``(streams, tokens)``; already reversed if the model reads backward.
            state: the state after the window before, detached by the caller
                (:func:`understudy.models.awd_lstm.recurrence.detached`); None at the beginning of a stream.
        """
        encoder = self.awd_lstm
        states, after = encoder.read(input_ids.t(), state, encoder.draw(len(input_ids)))
        raw = states.transpose(
            0, 1
        ).contiguous()  # contiguous here, because the logits are forty times as large and must not need a copy
        rate = self.config.rate("output_dropout") if self.lm_head.training else 0.0
        dropped = apply_mask(raw, dropout_mask(raw, (len(raw), 1, raw.shape[2]), rate))
        return AWDLSTMOutput(logits=self.lm_head(dropped), state=after, raw=raw, dropped=dropped)

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        if module is self.lm_head:  # as the embeddings, whose table it shares if it is tied
            init.uniform_(module.weight, -INITIAL_RANGE, INITIAL_RANGE)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class AWDLSTMForSequenceClassification(AWDLSTMPreTrainedModel):
    """The classifier: it reads a document to its end, pools the states (last, maximum, mean), and has a small head.

    A document is read piece by piece, and the state is carried on. Only the last ``gradient_tokens`` tokens of each row
    keep what a backward pass needs, so memory does not grow with the document. The tokens before them count in the
    pooled vector as constants. Padding changes nothing: rows are aligned at their last token, and a row's state is zero
    until its first token. With ``backward=True`` each row is read reversed within its own length.

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
        ids, absent, full_from = align_rows(input_ids, attention_mask, backward=config.backward)
        tokens, rows = ids.shape
        masks = encoder.draw(rows)
        # an exporter would unroll the pieces, so it gets one piece, and the length is not looked at
        learns_from = 0 if is_traced() else max(tokens - config.gradient_tokens, 0)
        spans = [(0, tokens)] if is_traced() else document_spans(tokens, config.bptt, cut=learns_from)
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
            attention_mask: 1 at real tokens, which must be contiguous in each row; None if nothing is padding.

        Returns:
            ``logits``: ``(rows, outputs)``.
        """
        return SequenceClassifierOutput(logits=self.head(self.pool(input_ids, attention_mask)))
